"""Frozen layers do not change, bit for bit, and compute no gradients."""

import copy

import grouped_trainings as grouped
import numpy as np
import pytest
from every_layer import EXAMPLES
from own_layers import Scale
from problems import classification, weights

import gpunet as gn
from gpunet.errors import ArgumentError, GpunetWarning
from gpunet.tape import Tape

X, Y = classification(32)

EXECUTORS = "eager", "numpy"

OPTIMIZERS = {
    "sgd": lambda: gn.SGD(0.1, momentum=0.9, weight_decay=0.1),
    "adamw": lambda: gn.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: gn.RMSprop(0.01, momentum=0.9, weight_decay=0.1),
}


def net():
    return gn.MLP([5, 8, 6, 3], "tanh", seed=0)


def parts(model):
    return [np.concatenate([gn.to_host(a).ravel() for a in leaf.params.values()]) for leaf in model.layers]


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_neither_momentum_nor_decay_changes_what_is_frozen(optimizer, executor):
    trainer = gn.Trainer(net(), optimizer=OPTIMIZERS[optimizer](), executor=executor)
    trainer.fit(X, Y, epochs=2, batch_size=8)
    trainer.model.freeze("1.*")
    before = parts(trainer.model)
    trainer.fit(X, Y, epochs=2, batch_size=8)
    same = [np.array_equal(*pair) for pair in zip(before, parts(trainer.model), strict=True)]
    assert same == [False, True, False]
    trainer.model.unfreeze()
    trainer.fit(X, Y, epochs=1, batch_size=8)
    assert not np.array_equal(before[1], parts(trainer.model)[1])


def products(model):
    """Return how many matrix products there are in the recorded step of a model, and how many sums of columns."""
    trainer = gn.Trainer(model, executor="numpy")
    trainer.step(X, Y)
    results = [node.shapes[-1] for node in trainer.explain().nodes if node.kernel == "dot"]
    return sum(len(shape) == 2 and 1 not in shape for shape in results), sum(len(shape) == 1 for shape in results)


@pytest.mark.parametrize(
    ("frozen", "expected"),
    [
        ((), (8, 3)),  # three forward, three dW, two dx; three db
        (("1.*",), (7, 2)),
        (("2.*",), (7, 2)),
        (("0.*",), (6, 2)),
        (("0.*", "1.*"), (4, 1)),
        (("*",), (3, 0)),
    ],
)
def test_frozen_layers_compute_no_weight_gradients_and_backward_stops_early(frozen, expected):
    assert products(net().freeze(*frozen) if frozen else net()) == expected


@pytest.mark.parametrize("name", EXAMPLES)
@pytest.mark.parametrize("input_gradient", [True, False])
def test_a_frozen_layer_passes_the_gradient_down_and_stores_none(name, input_gradient):
    make, x = EXAMPLES[name]
    results = []
    for frozen in (False, True):
        layer = gn.Sequential(make()).to(dtype="float64")
        layer.trainable = not frozen
        tape = Tape(0)
        tape.reset(step=0)
        given = x if x.dtype.kind == "i" else x.astype("float64")
        dy = np.random.default_rng(0).standard_normal(layer.forward(given, tape).shape)
        results.append(layer.backward(dy, tape, input_gradient=input_gradient and x.dtype.kind == "f"))
    assert not layer.store.grads.any()
    if not name.startswith("BatchNorm"):  # whose statistics are constants where it is frozen: see below
        np.testing.assert_array_equal(*results)


def test_the_gradient_through_a_frozen_batch_norm_is_that_of_its_running_statistics():
    layer = gn.BatchNorm1d(3).to(dtype="float64")
    layer.buffers["running_mean"], layer.buffers["running_var"] = [1, 2, 3], [0.5, 1, 2]
    layer.params["weight"] = [1, -2, 3]
    layer.trainable = False
    tape, x = Tape(0), np.random.default_rng(0).standard_normal((4, 3))
    dy, h = np.random.default_rng(1).standard_normal((4, 3)), 1e-5
    np.testing.assert_array_equal(layer.forward(x, tape), layer.forward(x))
    differences = [((layer.forward(x + h * e) - layer.forward(x - h * e)) * dy).sum() / (2 * h) for e in units(x)]
    np.testing.assert_allclose(layer.backward(dy, tape).ravel(), differences, rtol=1e-8)


def units(x):
    return np.eye(x.size).reshape(-1, *x.shape)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_frozen_batch_norm_keeps_its_statistics_and_takes_a_batch_of_one(executor):
    model = gn.Sequential(gn.Linear(5, 4), gn.BatchNorm1d(4), gn.Linear(4, 3))
    trainer = gn.Trainer(model, executor=executor)
    trainer.fit(X, Y, epochs=1, batch_size=8)
    before = model.store.buffers.copy()
    model[1].trainable = False
    trainer.fit(X, Y, epochs=1, batch_size=31)
    np.testing.assert_array_equal(model.store.buffers, before)
    model[1].trainable = True
    trainer.fit(X, Y, epochs=1, batch_size=8)
    assert not np.array_equal(model.store.buffers, before)


@pytest.mark.parametrize("executor", EXECUTORS)
def test_a_frozen_user_layer_is_not_part_of_the_clipped_norm(executor):
    def trained(*layers):
        model = gn.Sequential(*layers)
        trainer = gn.Trainer(model.freeze("1.*"), optimizer=gn.SGD(0.1, clip_norm=0.1), executor=executor)
        for _ in range(5):
            trainer.step(X, Y)
        return model

    with_scale = trained(gn.Linear(5, 3, rng=0), Scale(3), gn.Linear(3, 3, rng=1))
    scaled = gn.Linear(3, 3, bias=False)
    scaled.params["weight"] = 1.5 * np.eye(3)
    with_linear = trained(gn.Linear(5, 3, rng=0), scaled, gn.Linear(3, 3, rng=1))
    assert not with_scale.store.views(with_scale.store.grads)["1.scale"].any()
    np.testing.assert_array_equal(with_scale[1].params["scale"], np.full(3, 1.5, np.float32))
    for place in (0, 2):
        found, expected = (model[place].params["weight"] for model in (with_scale, with_linear))
        np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)


def test_a_completely_frozen_model_is_unchanged_and_warns():
    model = net().freeze()
    assert not model.trainable
    with pytest.warns(
        GpunetWarning, match="all layers are frozen, so training changes nothing; unfreeze them with model.unfreeze"
    ) as caught:
        gn.Trainer(model, optimizer=gn.AdamW(0.1)).fit(X, Y, epochs=2)
    assert [warning.filename for warning in caught] == [__file__]
    np.testing.assert_array_equal(weights(model), weights(net()))


def test_layers_stay_frozen_in_files_copies_and_other_models(tmp_path):
    model = net().freeze("0.*", "2")
    model.save(tmp_path / "model")
    for twin in (gn.load(tmp_path / "model"), copy.deepcopy(model), model.to(dtype="float64")):
        assert [layer.trainable for layer in twin.layers] == [False, True, False]
    assert [layer.trainable for layer in gn.Sequential(*model.layers).layers] == [False, True, False]


def test_the_path_of_a_nested_layer_freezes_all_layers_inside():
    layers = gn.Linear(5, 8, rng=0), gn.TransformerEncoderLayer(8, 2, 16, rng=1), gn.Residual(gn.Linear(8, 8, rng=2))
    model = gn.Sequential(*layers)
    model.freeze("1")
    assert [layer.trainable for layer in model.layers] == [True, False, True]
    model.unfreeze().freeze("1.self_attn", "2")
    frozen = [path for path, leaf in model.leaves().items() if not leaf.trainable]
    assert frozen
    assert all(path.startswith(("1.self_attn", "2")) for path in frozen)
    assert model[1].trainable


@pytest.mark.parametrize("given", ["no", 1, None])
def test_only_a_boolean_says_whether_a_layer_is_trainable(given):
    model = net()
    with pytest.raises(ArgumentError, match="trainable must be True or False, got"):
        model[0].trainable = given
    assert model[0].trainable


def test_the_gradients_of_frozen_layers_are_zero():
    model = net()
    trainer = gn.Trainer(model, executor="eager")
    trainer.step(X, Y)
    assert model.gradients()["1.weight"].any()
    model.freeze("1.*")
    for _ in range(2):
        assert not model.gradients()["1.weight"].any()
        assert not model.store.views(model.store.grads)["1.weight"].any()  # part of the norm that clips
        trainer.step(X, Y)
    assert model.gradients()["0.weight"].any()


def test_a_summary_counts_the_frozen_parameters():
    assert "123 parameters, 48 of them frozen, float32" in net().freeze("0.*").summary()
    assert "123 parameters, float32" in net().summary()


def test_a_layer_inside_another_one_is_frozen_by_its_path():
    model = gn.Sequential(gn.Residual(gn.Linear(4, 4), gn.LayerNorm(4)), gn.MultiHeadAttention(4, 2))
    model.freeze("0.1", "1.*")
    frozen = [path for path, leaf in model.leaves().items() if not leaf.trainable]
    assert frozen == ["0.1", "1.q_proj", "1.kv_proj", "1.out_proj"]
    assert model[0].trainable
    assert not model[1].trainable
    model[1].trainable = True
    assert model[1].q_proj.trainable


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("3.*", r"'3\.\*' matches no layer with parameters; their names are '0', '1', '2'\.$"),
        (
            "*.bias",
            r"'\*\.bias' matches only a part of layer '0', which has 0.weight, 0.bias. A layer .* whole: use '0'",
        ),
        (["0.*"], r"freeze takes names of layers, as in freeze\('0', '1.\*'\), got \['0.\*'\]"),
        (None, "freeze takes names of layers, .* got None"),
        (3, "freeze takes names of layers, .* got 3"),
    ],
)
def test_a_pattern_that_matches_no_layer_is_an_error_and_freezes_nothing(pattern, message):
    model = net()
    with pytest.raises(gn.errors.ArgumentError, match=message):
        model.freeze("0.*", pattern)
    assert all(layer.trainable for layer in model.layers)


def test_gradients_of_a_frozen_layer_are_checked_as_if_it_were_trained():
    gn.check_gradients(net().freeze("0.*"), (4, 5))


def test_frozen_layers_are_still_frozen_after_a_resume(tmp_path):
    trainer = grouped.fit(grouped.trainer("Adam, all but the last layer frozen, clipped", "numpy"))
    trainer.save(tmp_path / "run")
    assert [leaf.trainable for leaf in gn.Trainer.resume(tmp_path / "run").model.layers][::2] == [False, True, True]
