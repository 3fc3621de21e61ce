"""The cosine embedding loss, alone and in training."""

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, ShapeError

RNG = np.random.default_rng(0)
PAIRS = RNG.standard_normal((6, 2, 3))
TARGET = np.array([1.0, -1, 1, -1, -1, 1])


@pytest.mark.parametrize("margin", [0.0, 0.3, -0.5])
@pytest.mark.parametrize("weight", [None, np.array([0.0, 1, 2, 3, 0.5, 1])], ids=["alike", "weighted"])
def test_value_and_gradient_match_the_formula(margin, weight):
    loss = gn.CosineEmbeddingLoss(margin)
    terms = []
    for (a, b), t in zip(PAIRS, TARGET, strict=True):
        c = a @ b / np.sqrt((a @ a) * (b @ b))
        terms.append(1 - c if t == 1 else max(0, c - margin))
    value, gradient = loss.value_and_grad(PAIRS, TARGET, weight)
    assert value == pytest.approx(np.average(terms, weights=weight), rel=1e-12)
    assert directional_error(lambda p: float(loss.value(p, TARGET, weight)), [PAIRS], [gradient]) < 1e-8


def test_zero_vectors_zero_rows_and_zero_weights_give_a_finite_loss():
    loss = gn.CosineEmbeddingLoss(0.1)
    zeros = np.zeros((2, 2, 3))
    assert loss.value(zeros, np.array([1.0, -1])) == 0.5
    assert np.isfinite(loss.value_and_grad(zeros, np.array([1.0, -1]))[1]).all()
    assert loss.value(PAIRS[:0], TARGET[:0]) == 0
    value, gradient = loss.value_and_grad(PAIRS, TARGET, np.zeros(6))
    assert value == 0
    assert not gradient.any()


def test_mismatched_shapes_raise():
    loss = gn.CosineEmbeddingLoss()
    with pytest.raises(ShapeError, match=r"pairs must be \(rows, 2, features\), got shape \(6, 3\)"):
        loss.value(PAIRS[:, 0], TARGET)
    with pytest.raises(ShapeError, match=r"target has shape \(5,\), expected \(6,\)"):
        loss.value(PAIRS, TARGET[:5])
    with pytest.raises(ArgumentError, match=r"margin must lie in \[-1, 1\], got 2"):
        gn.CosineEmbeddingLoss(2)


def pair_trainer(**options):
    return gn.Trainer(
        gn.Sequential(gn.Embedding(10, 4, rng=0)), loss=gn.CosineEmbeddingLoss(0.2), optimizer=gn.Adam(0.05), **options
    )


X = RNG.integers(0, 10, (200, 2))
Y = np.where(X[:, 0] % 2 == X[:, 1] % 2, 1, -1)


def test_a_model_of_pairs_learns_and_predicts_their_cosines(tmp_path):
    one = pair_trainer()
    one.fit(X, Y, epochs=20, validation=0.2)
    assert one.history["val_loss"][-1] < 0.1 * one.history["val_loss"][0]
    cosines = one.predict(X)
    assert cosines.shape == (200,)
    assert ((cosines > 0.5) == (Y == 1)).all()
    assert set(one.evaluate(X, Y)) == {"loss"}
    one.save(tmp_path / "training")
    again = gn.Trainer.resume(tmp_path / "training")
    assert_array_equal(again.predict(X), cosines)
    for trainer in (one, again):
        trainer.fit(X, Y, epochs=1)
    assert_array_equal(again.model.store.params, one.model.store.params)


@pytest.mark.parametrize("weight", [None, np.linspace(0, 2, 200)], ids=["alike", "weighted"])
def test_a_replayed_step_gives_the_bits_of_an_eager_one(weight):
    pair = [pair_trainer(executor=executor) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(X, Y, epochs=3, batch_size=30, sample_weight=weight)
    assert_array_equal(pair[0].model.store.params, pair[1].model.store.params)


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.where(Y == 1, 1, 0), DataError, r"needs targets of 1 \(similar\) or -1"),
        (Y.astype(str), DataError, "y"),
        (Y[:, None], ShapeError, r"y has shape \(200, 1\)"),
    ],
)
def test_targets_other_than_1_and_minus_1_raise(y, error, message):
    with pytest.raises((error, TypeError), match=message):
        pair_trainer().fit(X, y)


def test_a_model_whose_output_is_not_a_pair_raises():
    one = gn.Trainer(gn.Sequential(gn.Embedding(10, 4)), loss=gn.CosineEmbeddingLoss())
    with pytest.raises(ShapeError, match=r"needs output rows of shape \(2, features\), got \(3, 4\)"):
        one.fit(RNG.integers(0, 10, (200, 3)), Y)


@pytest.mark.parametrize("margin", [0.0, 0.3])
def test_value_and_gradient_match_pytorch(margin):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    pairs = PAIRS.copy()
    pairs[0, 1] = 0
    theirs = [torch.tensor(pairs[:, k], requires_grad=True) for k in (0, 1)]
    expected = torch.nn.CosineEmbeddingLoss(margin)(*theirs, torch.from_numpy(TARGET))
    expected.backward()
    value, gradient = gn.CosineEmbeddingLoss(margin).value_and_grad(pairs, TARGET)
    assert_allclose(value, expected.item(), rtol=1e-9)
    for k in (0, 1):
        assert_allclose(gradient[:, k], theirs[k].grad.numpy(), rtol=1e-9, atol=1e-9)
