"""Multi-head attention, transformer layers and positions: results, gradients, and use in a model."""

import copy
import pickle

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, ShapeError, StateError

RNG = np.random.default_rng(0)
TOLERANCE = {"float32": 1e-5, "float64": 1e-9}
WORDS = RNG.integers(0, 7, (60, 5))
LATER = np.where(WORDS[:, ::-1] > 3, 1, 0)


def model(dropout=0.1, **options):
    """Return a model for sequences of indices with an output per position."""
    return gn.Sequential(
        gn.Embedding(7, 8, rng=0),
        gn.SinusoidalPositions(),
        gn.TransformerEncoderLayer(8, 2, 12, dropout, "gelu", rng=1, **options),
        gn.LayerNorm(8),
        gn.Linear(8, 2, rng=2),
    )


def trainer(executor="auto", dtype="float32"):
    return gn.Trainer(model().to(dtype=dtype), optimizer=gn.Adam(0.01), seed=3, executor=executor)


def with_biases(layer):
    """Fill the parameters that start at zero or one with random numbers."""
    for leaf in layer.leaves().values():
        if "bias" in leaf.params:
            leaf.params["bias"] = RNG.standard_normal(leaf.params["bias"].shape)
    return layer


def by_hand(layer, x, context, mask=None):
    """Return what multi-head attention is, head by head, in float64."""
    q, kv, out = (
        {name: a.astype(float) for name, a in inner.params.items()}
        for inner in (layer.q_proj, layer.kv_proj, layer.out_proj)
    )
    size = layer.embed_dim // layer.num_heads
    answers = np.zeros(x.shape)
    for row in range(len(x)):
        for head in range(layer.num_heads):
            part = slice(head * size, (head + 1) * size)
            later = slice(layer.embed_dim + part.start, layer.embed_dim + part.stop)
            queries = x[row] @ q["weight"][:, part] + q.get("bias", np.zeros(layer.embed_dim))[part]
            keys, values = (
                context[row] @ kv["weight"][:, s] + kv.get("bias", np.zeros(2 * layer.embed_dim))[s]
                for s in (part, later)
            )
            scores = np.exp(queries @ keys.T / np.sqrt(size))
            if mask is not None:
                scores = scores * mask[row, head]
            answers[row, :, part] = scores / scores.sum(axis=1, keepdims=True) @ values
    return answers @ out["weight"] + out.get("bias", 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("embed_dim", "num_heads", "length"), [(8, 2, 5), (6, 1, 1), (12, 3, 4), (4, 4, 7)])
def test_multi_head_attention_is_attention_head_by_head(embed_dim, num_heads, length, bias, dtype):
    layer = with_biases(gn.MultiHeadAttention(embed_dim, num_heads, bias=bias, rng=0)).to(dtype=dtype)
    x = RNG.standard_normal((3, length, embed_dim)).astype(dtype)
    context = RNG.standard_normal((3, 6, embed_dim)).astype(dtype)
    mask = np.arange(6) <= RNG.integers(0, 6, (3, num_heads, length, 1))
    tolerance = {"rtol": TOLERANCE[dtype], "atol": TOLERANCE[dtype]}
    assert_allclose(layer.forward(x), by_hand(layer, x, x), **tolerance)
    assert_allclose(layer.forward(x, context=context), by_hand(layer, x, context), **tolerance)
    assert_allclose(layer.forward(x, None, context, mask), by_hand(layer, x, context, mask), **tolerance)
    layer = gn.MultiHeadAttention(embed_dim, num_heads, bias=bias, causal=True, rng=0).to(dtype=dtype)
    earlier = np.broadcast_to(np.tri(length, dtype=bool), (3, num_heads, length, length))
    assert_allclose(layer.forward(x), by_hand(layer, x, x, earlier), **tolerance)


def gradient_error(layer, *inputs, forward):
    """Check the gradients of the inputs and of all parameters."""
    store, tape = layer.to(dtype="float64").store, gn.Tape(seed=3)

    def output(params, *inputs):
        store.params[...] = params
        tape.reset(step=0)
        return forward(layer, tape, *inputs)

    params = RNG.standard_normal(store.params.shape)
    dy = RNG.standard_normal(output(params, *inputs).shape)
    gradients = layer.backward(dy, tape)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    claimed = [a.copy() for a in (store.grads, *gradients)]
    return directional_error(lambda *point: float((dy * output(*point)).sum()), [params, *inputs], claimed)


X, CONTEXT = RNG.standard_normal((2, 5, 8)), RNG.standard_normal((2, 3, 8))
MASK = RNG.random((2, 1, 5, 3)) < 0.5


@pytest.mark.parametrize("options", [{}, {"bias": False}, {"causal": True}], ids=str)
def test_the_gradients_of_self_attention(options):
    layer = gn.MultiHeadAttention(8, 2, **options)
    assert gradient_error(layer, X, forward=lambda layer, tape, x: layer.forward(x, tape)) < 1e-8


def test_the_gradients_of_cross_attention_are_those_of_both_inputs():
    def forward(layer, tape, x, context):
        return layer.forward(x, tape, context, MASK)

    assert gradient_error(gn.MultiHeadAttention(8, 4), X, CONTEXT, forward=forward) < 1e-8


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_the_gradients_of_a_transformer_layer(dropout):
    layer = gn.TransformerEncoderLayer(8, 2, 12, dropout, "gelu", causal=True)
    assert gradient_error(layer, X, forward=lambda layer, tape, x: layer.forward(x, tape)) < 1e-7


def test_the_gradients_of_positions():
    layer = gn.Sequential(gn.SinusoidalPositions(), gn.Linear(8, 2, activation="tanh"))
    assert gradient_error(layer, X, forward=lambda layer, tape, x: layer.forward(x, tape)) < 1e-8


def test_parameter_gradients_do_not_depend_on_input_gradient():
    layer, tape = gn.MultiHeadAttention(8, 2, rng=0).to(dtype="float64"), gn.Tape()
    layer.backward(np.ones(layer.forward(X, tape).shape), tape)
    expected = layer.store.grads.copy()
    layer.store.grads.fill(np.nan)
    dy = np.ones(layer.forward(X, tape).shape)
    assert layer.backward(dy, tape, input_gradient=False) is None
    for key, view in layer.store.views(layer.store.grads).items():
        assert_array_equal(view, layer.store.views(expected)[key])


def into_pytorchs(layer, theirs, torch):
    """Copy the weights of a MultiHeadAttention into PyTorch's, as described in its docstring."""
    with torch.no_grad():
        for name in ("weight", "bias"):
            if name in layer.q_proj.params:
                both = np.concatenate([layer.q_proj.params[name].T, layer.kv_proj.params[name].T])
                getattr(theirs, f"in_proj_{name}").copy_(torch.tensor(both))
                getattr(theirs.out_proj, name).copy_(torch.tensor(layer.out_proj.params[name].T.copy()))


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("crossed", [False, True])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize(("embed_dim", "num_heads", "length"), [(8, 2, 5), (6, 1, 1), (12, 3, 9)])
def test_multi_head_attention_and_its_gradients_are_pytorchs(embed_dim, num_heads, length, bias, crossed, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    layer = with_biases(gn.MultiHeadAttention(embed_dim, num_heads, bias=bias, rng=0)).to(dtype=dtype)
    theirs = torch.nn.MultiheadAttention(embed_dim, num_heads, bias=bias, batch_first=True, dtype=getattr(torch, dtype))
    into_pytorchs(layer, theirs, torch)
    x, context = (RNG.standard_normal((3, n, embed_dim)).astype(dtype) for n in (length, 4))
    mask = np.tri(length, 4 if crossed else length, dtype=bool)
    ours = [x, context] if crossed else [x]
    tensors = [torch.tensor(a, requires_grad=True) for a in ours]
    y, _ = theirs(tensors[0], tensors[-1], tensors[-1], attn_mask=torch.tensor(~mask), need_weights=False)
    dy = RNG.standard_normal(y.shape).astype(dtype)
    y.backward(torch.tensor(dy))
    tape = gn.Tape()
    own = layer.forward(x, tape, context if crossed else None, mask)
    dx = layer.backward(dy, tape)
    pairs = [(own, y.detach()), *zip(dx if crossed else (dx,), (t.grad for t in tensors), strict=True)]
    pairs.append((layer.q_proj.grads["weight"].T, theirs.in_proj_weight.grad[:embed_dim]))
    pairs.append((layer.kv_proj.grads["weight"].T, theirs.in_proj_weight.grad[embed_dim:]))
    pairs.append((layer.out_proj.grads["weight"].T, theirs.out_proj.weight.grad))
    if bias:
        pairs.append((layer.q_proj.grads["bias"], theirs.in_proj_bias.grad[:embed_dim]))
        pairs.append((layer.kv_proj.grads["bias"], theirs.in_proj_bias.grad[embed_dim:]))
        pairs.append((layer.out_proj.grads["bias"], theirs.out_proj.bias.grad))
    for a, b in pairs:
        assert a.dtype == dtype
        assert_allclose(a, b.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("activation", ["relu", "gelu"])
def test_a_transformer_layer_and_its_gradients_are_pytorchs(activation, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    layer = with_biases(gn.TransformerEncoderLayer(8, 2, 20, 0.0, activation, rng=0)).to(dtype=dtype)
    theirs = torch.nn.TransformerEncoderLayer(
        8, 2, 20, 0.0, activation, batch_first=True, norm_first=True, dtype=getattr(torch, dtype)
    )
    into_pytorchs(layer.self_attn, theirs.self_attn, torch)
    names = ("norm1", "norm2", "linear1", "linear2")
    with torch.no_grad():
        for name in names:
            for which, a in getattr(layer, name).params.items():
                getattr(getattr(theirs, name), which).copy_(torch.tensor(a.T.copy()))
    x, dy = (RNG.standard_normal((3, 6, 8)).astype(dtype) for _ in range(2))
    there, tape = torch.tensor(x, requires_grad=True), gn.Tape()
    y = theirs(there)
    y.backward(torch.tensor(dy))
    pairs = [(layer.forward(x, tape), y.detach()), (layer.backward(dy, tape), there.grad)]
    for name in names:
        for which, a in getattr(layer, name).grads.items():
            pairs.append((a.T, getattr(getattr(theirs, name), which).grad))
    for a, b in pairs:
        assert_allclose(a, b.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


def test_pytorchs_defaults_are_ours():
    layer = gn.TransformerEncoderLayer(16, 4)
    assert repr(layer) == "TransformerEncoderLayer(16, 4, 2048, dropout=0.1, activation=ReLU())"
    assert layer.dropout.p == 0.1
    assert not layer.self_attn.causal


@pytest.mark.parametrize(("length", "features"), [(1, 1), (5, 6), (9, 7), (17, 2)])
def test_positions_are_sines_and_cosines(length, features):
    expected = np.zeros((length, features))
    for t in range(length):
        for i in range(features):
            angle = t / 10000 ** ((i - i % 2) / features)
            expected[t, i] = np.cos(angle) if i % 2 else np.sin(angle)
    x = RNG.standard_normal((2, length, features))
    assert_allclose(gn.SinusoidalPositions().forward(x), x + expected, rtol=1e-12)


@pytest.mark.parametrize(
    "make", [lambda: gn.MultiHeadAttention(8, 2, rng=7), lambda: gn.TransformerEncoderLayer(8, 2, rng=7)]
)
def test_the_same_seed_gives_the_same_weights(make):
    assert_array_equal(make().store.params, make().store.params)


def test_a_model_of_sequences_learns_predicts_and_is_saved(tmp_path):
    one = trainer()
    one.fit(WORDS, LATER, epochs=40, batch_size=20, validation=0.2)
    assert one.history["loss"][-1] < 0.5 * one.history["loss"][0]
    assert one.evaluate(WORDS, LATER)["accuracy"] == (one.predict(WORDS) == LATER).mean()
    assert one.model.predict_proba(WORDS).shape == (60, 5, 2)
    one.model.save(tmp_path / "model.safetensors")
    loaded = gn.load(tmp_path / "model.safetensors")
    assert repr(loaded) == repr(one.model)
    for other in (loaded, pickle.loads(pickle.dumps(one.model)), copy.deepcopy(one.model)):
        assert_array_equal(other.outputs(WORDS), one.model.outputs(WORDS))


def test_training_resumes_bit_for_bit(tmp_path):
    whole, half = trainer(), trainer()
    whole.fit(WORDS, LATER, epochs=4, batch_size=16)
    half.fit(WORDS, LATER, epochs=2, batch_size=16)
    half.save(tmp_path / "half")
    resumed = gn.Trainer.resume(tmp_path / "half")
    resumed.fit(WORDS, LATER, epochs=2, batch_size=16)
    assert_array_equal(resumed.model.store.params, whole.model.store.params)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("causal", [False, True])
def test_a_replayed_step_equals_an_eager_step_bitwise(causal, dtype):
    pair = [gn.Trainer(model(causal=causal).to(dtype=dtype), executor=executor) for executor in ("numpy", "eager")]
    for one in pair:
        one.fit(WORDS, LATER, epochs=3, batch_size=16, sample_weight=np.linspace(0, 2, 60))
    assert_array_equal(pair[0].model.store.params, pair[1].model.store.params)
    assert pair[0].history["loss"] == pair[1].history["loss"]
    assert pair[0].history["accuracy"] == pair[1].history["accuracy"]


def test_the_parameters_have_pytorchs_names():
    names = [name.removeprefix("2.") for name in model().parameters() if name.startswith("2.")]
    layers = ["norm1", "self_attn.q_proj", "self_attn.kv_proj", "self_attn.out_proj", "norm2", "linear1", "linear2"]
    assert names == [f"{layer}.{name}" for layer in layers for name in ("weight", "bias")]


def test_the_summary_shows_no_number_of_positions():
    rows = model().summary().splitlines()
    assert rows[3].split()[-2:] == ["?", "532"]
    assert gn.Sequential(gn.TransformerEncoderLayer(8, 2), gn.Linear(8, 2)).summary()


def test_empty_batches_give_zero_gradients_also_without_positions():
    for shape in ((0, 5, 8), (2, 0, 8)):
        layer, tape = gn.TransformerEncoderLayer(8, 2, 12, rng=0).to(dtype="float64"), gn.Tape()
        layer.store.grads.fill(np.nan)
        y = gn.SinusoidalPositions().forward(layer.forward(np.ones(shape), tape))
        assert layer.backward(y, tape).shape == y.shape == shape
        for leaf in layer.leaves().values():
            assert all((a == 0).all() for a in leaf.grads.values())


def test_a_step_on_a_tape_is_the_same_in_the_same_memory():
    layer, tape, x = gn.TransformerEncoderLayer(8, 2, 12, rng=0), gn.Tape(), X.astype(np.float32)
    results = []
    for _ in range(2):
        tape.reset(step=0)
        y = layer.forward(x, tape)
        results.append((y, layer.backward(x, tape), y.copy()))
    first, second = results
    assert np.shares_memory(first[0], second[0])
    assert np.shares_memory(first[1], second[1])
    assert_array_equal(first[2], second[2])


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: gn.MultiHeadAttention(10, 3), "embed_dim must be a multiple of num_heads, got 10 and 3"),
        (lambda: gn.MultiHeadAttention(8, 0), "num_heads must be a whole number of at least 1, got 0"),
        (lambda: gn.MultiHeadAttention(8.5, 2), "embed_dim must be a whole number .* got 8.5"),
        (lambda: gn.TransformerEncoderLayer(10, 3), "embed_dim must be a multiple of num_heads, got 10 and 3"),
        (lambda: gn.TransformerEncoderLayer(8, 2, dropout=2), "p must lie in .* got 2"),
        (lambda: gn.TransformerEncoderLayer(8, 2, activation="rélu"), "unknown activation 'rélu'"),
    ],
)
def test_invalid_arguments_are_refused(call, message):
    with pytest.raises(ArgumentError, match=message):
        call()


LAYER = gn.MultiHeadAttention(8, 2)
SMALL = X.astype(np.float32)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: LAYER.forward(SMALL[..., :6]),
            r"MultiHeadAttention\(8, 2\): the input must be .* got shape \(2, 5, 6\)",
        ),
        (lambda: LAYER.forward(SMALL[0]), r"\(rows, positions, 8\), got shape \(5, 8\)"),
        (lambda: LAYER.forward(SMALL, context=SMALL[..., :4]), r"the context must be .* got shape \(2, 5, 4\)"),
        (lambda: LAYER.forward(SMALL, context=SMALL[:1]), "the input has 2 rows, the context 1"),
        (
            lambda: LAYER.forward(SMALL, mask=np.ones((5, 4), bool)),
            r"MultiHeadAttention\(8, 2\): mask of shape \(5, 4\) does not .* \(2, 2, 5, 5\)",
        ),
        (lambda: LAYER.output_shape((8,)), r"must be \(positions, 8\), got shape \(8,\)"),
        (lambda: gn.SinusoidalPositions().forward(SMALL[0]), r"\(positions, features\), got shape \(8,\)"),
        (lambda: model().output_shape(()), r"layer 1, SinusoidalPositions\(\): .* got shape \(8,\)"),
    ],
)
def test_wrong_shapes_are_reported_with_layer_actual_and_expected_shape(call, message):
    with pytest.raises(ShapeError, match=message):
        call()


def test_backward_without_a_forward_is_refused():
    for layer in (LAYER, gn.SinusoidalPositions(), gn.TransformerEncoderLayer(8, 2)):
        with pytest.raises(StateError, match="backward without a forward"):
            layer.backward(SMALL, gn.Tape())


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (LATER[:, 0], ShapeError, r"y has shape \(60,\); expected \(samples, 5\), one label for each position"),
        (
            np.where(WORDS[1, 2] == WORDS, 2, LATER),
            DataError,
            r"y is 2 at row \d, column \d; 2 classes have labels 0 to 1",
        ),
    ],
)
def test_labels_that_do_not_match_the_positions_are_refused(y, error, message):
    with pytest.raises(error, match=message):
        trainer().fit(WORDS, y)
