"""Weights from and to PyTorch, without PyTorch: `torch_reference.safetensors` contains the results of its modules."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import safetensors.numpy

import gpunet as gn
from gpunet.interop.torch_layers import EQUIVALENTS
from gpunet.ops.activations import FUNCTIONS

TOLERANCE = 1e-5
REFERENCE = safetensors.numpy.load_file(Path(__file__).parents[2] / "helpers" / "torch_reference.safetensors")


@pytest.fixture
def torch(monkeypatch):
    """Let `to_torch` find a torch whose tensors are NumPy's arrays."""
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(from_numpy=lambda a: a))


def state_of(name):
    """Return the state_dict of a module of the reference."""
    prefix = f"{name}/state/"
    return {key.removeprefix(prefix): a for key, a in REFERENCE.items() if key.startswith(prefix)}


def check_output(model, name, output="y"):
    assert np.abs(model.forward(REFERENCE[f"{name}/x"]) - REFERENCE[f"{name}/{output}"]).max() <= TOLERANCE


def check_given_back(model, name, modules=None):
    """Check that `to_torch` gives the module's state_dict, in which a recurrent layer's biases are one as their sum."""
    given, state = gn.interop.to_torch(model, modules=modules), state_of(name)
    assert given.keys() == state.keys()
    for key, a in given.items():
        if "bias_ih" in key:
            state[key] = state[key] + state[key.replace("_ih", "_hh")]
        expected = np.zeros_like(a) if "bias_hh" in key else state[key]
        assert a.dtype == expected.dtype
        np.testing.assert_array_equal(a, expected)


def samples(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape, np.float32)


def state(*names_and_shapes, seed=0):
    """A state_dict of NumPy arrays."""
    return {name: samples(*shape, seed=seed + i) for i, (name, shape) in enumerate(names_and_shapes)}


def sequential_state():
    return state(("0.weight", (8, 4)), ("0.bias", (8,)), ("2.weight", (3, 8)), ("2.bias", (3,)))


def expected(arrays, first, second, X):
    """What the two linear layers with a ReLU between them, named so, compute."""
    hidden = np.maximum(X @ arrays[f"{first}.weight"].T + arrays[f"{first}.bias"], 0)
    return hidden @ arrays[f"{second}.weight"].T + arrays[f"{second}.bias"]


@pytest.mark.parametrize(
    ("first", "second"),
    [("0", "2"), ("fc1", "fc2"), ("net.fc9", "net.fc10"), ("0.1", "1"), ("layers.2.linear", "layers.10.linear")],
)
def test_modules_come_in_the_order_of_the_numbers_in_their_names(first, second):
    arrays = state(
        (f"{second}.bias", (3,)), (f"{second}.weight", (3, 8)), (f"{first}.weight", (8, 4)), (f"{first}.bias", (8,))
    )
    model, X = gn.MLP([4, 8, 3]), samples(5, 4, seed=9)
    gn.interop.load_torch(model, arrays)
    assert np.abs(model.predict(X) - expected(arrays, first, second, X)).max() <= TOLERANCE


def test_modules_with_other_names_are_listed_in_the_order_of_the_layers():
    arrays = state(("out.weight", (8, 8)), ("out.bias", (8,)), ("hidden.weight", (8, 8)), ("hidden.bias", (8,)))
    model, X = gn.MLP([8, 8, 8]), samples(5, 8, seed=9)
    with pytest.raises(
        gn.errors.ArgumentError,
        match=r"the order of the modules out, hidden is not clear from their names; give modules=",
    ):
        gn.interop.load_torch(model, arrays)
    gn.interop.load_torch(model, arrays, modules=["hidden", "out"])
    assert np.abs(model.predict(X) - expected(arrays, "hidden", "out", X)).max() <= TOLERANCE


@pytest.mark.parametrize("names", [("fc", "fc1"), ("1", "01"), ("conv1", "fc2"), ("0", "0.1")])
def test_names_without_an_order_are_refused(names):
    arrays = state(*((f"{name}.weight", (4, 4)) for name in names))
    model = gn.Sequential(gn.Linear(4, 4, bias=False), gn.Linear(4, 4, bias=False))
    with pytest.raises(gn.errors.ArgumentError, match=r"the order of the modules .* is not clear"):
        gn.interop.load_torch(model, arrays)


def test_a_safetensors_file_needs_no_torch(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    arrays = sequential_state()
    safetensors.numpy.save_file(arrays, tmp_path / "weights.safetensors")
    model, X = gn.MLP([4, 8, 3]), samples(5, 4, seed=9)
    gn.interop.load_torch(model, tmp_path / "weights.safetensors")
    assert np.abs(model.predict(X) - expected(arrays, "0", "2", X)).max() <= TOLERANCE


def test_a_bare_layer_s_tensors_have_no_module():
    arrays = state(("weight", (3, 4)))
    model = gn.Sequential(gn.Linear(4, 3, bias=False))
    gn.interop.load_torch(model, arrays)
    assert (model[0].params["weight"] == arrays["weight"].T).all()


def test_a_float64_model_keeps_all_digits():
    arrays = {"0.weight": np.random.default_rng(0).standard_normal((3, 4)), "0.bias": np.full(3, 1 / 3)}
    model = gn.MLP([4, 3]).to(dtype="float64")
    gn.interop.load_torch(model, arrays)
    assert (model[0].params["weight"] == arrays["0.weight"].T).all()
    assert (model[0].params["bias"] == 1 / 3).all()


def test_mismatches_are_all_listed_and_nothing_is_changed():
    arrays = sequential_state()
    del arrays["0.bias"]
    arrays["2.weight"] = arrays["2.weight"].T
    arrays["4.scale"], arrays["4.shift"] = samples(3), samples(1)
    model = gn.MLP([4, 8, 3])
    before = {name: a.copy() for name, a in model.parameters().items()}
    with pytest.raises(gn.errors.ArgumentError) as caught:
        gn.interop.load_torch(model, arrays)
    for fault in (
        "missing: 0.bias (8,)",
        "of no layer: 4.scale (3,)",
        "of no layer: 4.shift (1,)",
        "misshaped: 2.weight (8, 3), the model needs (3, 8)",
    ):
        assert fault in str(caught.value)
    assert all((a == before[name]).all() for name, a in model.parameters().items())


def test_tensors_of_other_types_are_refused_and_nothing_is_changed():
    arrays = sequential_state()
    model = gn.MLP([4, 8, 3])
    before = model.parameters()["0.weight"].copy()
    for wrong in (np.ones(3, np.int64), np.ones(3, np.complex64)):
        with pytest.raises(gn.errors.DTypeError, match=rf"2\.bias has dtype {wrong.dtype}; the model needs floats"):
            gn.interop.load_torch(model, {**arrays, "2.bias": wrong})
    assert (model.parameters()["0.weight"] == before).all()


def test_non_state_dicts_are_refused():
    with pytest.raises(gn.errors.ArgumentError, match=r"got MLP; pass module\.state_dict\(\)"):
        gn.interop.load_torch(gn.MLP([4, 3]), gn.MLP([4, 3]))
    checkpoint = {"model": sequential_state(), "epoch": 3}
    with pytest.raises(gn.errors.ArgumentError, match=r"missing: 0\.weight.*of no layer: model.*of no layer: epoch"):
        gn.interop.load_torch(gn.MLP([4, 8, 3]), checkpoint)


def test_a_model_on_another_device_takes_weights_there():
    model, here = gn.MLP([4, 8, 3]).to("sim"), gn.MLP([4, 8, 3])
    for each in (model, here):
        gn.interop.load_torch(each, sequential_state())
    assert all((gn.to_host(a) == here.parameters()[name]).all() for name, a in model.parameters().items())


@pytest.mark.parametrize("modules", [["fc1"], ["fc1", "fc1"], ["fc1", "fc2", "fc3"]])
def test_a_list_of_modules_needs_one_per_layer(modules):
    with pytest.raises(gn.errors.ArgumentError, match="2 different modules"):
        gn.interop.load_torch(gn.MLP([4, 8, 3]), sequential_state(), modules=modules)


class MyLinear(gn.Linear):
    """A user-defined layer, which may compute anything."""


def test_the_error_names_a_layer_without_a_torch_equivalent():
    with pytest.raises(gn.errors.ArgumentError, match=r"layer 0, MyLinear, has no PyTorch equivalent.*Linear"):
        gn.interop.load_torch(gn.Sequential(MyLinear(4, 2)), sequential_state())


def test_pickles_and_damaged_files_are_refused(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(gn.errors.ModelFileError, match=r"weights\.pt.*weights_only=True"):
        gn.interop.load_torch(gn.MLP([4, 8, 3]), tmp_path / "weights.pt")
    with pytest.raises(FileNotFoundError):
        gn.interop.load_torch(gn.MLP([4, 8, 3]), tmp_path / "nothing.safetensors")


def test_without_torch_to_torch_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(gn.errors.MissingPackageError, match="pip install torch"):
        gn.interop.to_torch(gn.MLP([4, 3]))


BEFORE_ACTIVATION = {
    gn.BatchNorm1d: lambda: gn.BatchNorm1d(3),
    gn.BatchNorm2d: lambda: gn.BatchNorm2d(2),
    gn.Conv1d: lambda **options: gn.Conv1d(3, 4, 2, **options),
    gn.Conv2d: lambda **options: gn.Conv2d(2, 3, 2, **options),
    gn.Embedding: lambda: gn.Embedding(7, 4),
    gn.LSTM: lambda: gn.LSTM(3, 4),
    gn.LayerNorm: lambda: gn.LayerNorm(4),
    gn.Linear: lambda **options: gn.Linear(3, 4, **options),
    gn.MultiHeadAttention: lambda: gn.MultiHeadAttention(4, 2),
    gn.RMSNorm: lambda: gn.RMSNorm(4),
    gn.RNN: lambda: gn.RNN(3, 4),
}
"""The layers of the reference, which are followed by an activation and `Linear(4, 2)`."""

OWN_ACTIVATION = [cls for cls in BEFORE_ACTIVATION if "activation" in inspect.signature(cls).parameters]


def test_every_layer_with_a_torch_equivalent_is_tested():
    assert BEFORE_ACTIVATION.keys() | {gn.TransformerEncoderLayer} == EQUIVALENTS.keys()


@pytest.mark.parametrize("activation", FUNCTIONS)
@pytest.mark.parametrize("layer", BEFORE_ACTIVATION, ids=lambda layer: layer.__name__)
def test_every_layer_before_every_activation_computes_what_torch_does(torch, layer, activation):
    model = gn.Sequential(BEFORE_ACTIVATION[layer](), FUNCTIONS[activation](), gn.Linear(4, 2))
    gn.interop.load_torch(model, state_of(layer.__name__))
    check_output(model, layer.__name__, f"y/{activation}")
    check_given_back(model, layer.__name__)


@pytest.mark.parametrize("activation", [name for name in FUNCTIONS if name != "identity"])
@pytest.mark.parametrize("layer", OWN_ACTIVATION, ids=lambda layer: layer.__name__)
def test_an_activation_of_a_layer_is_a_module_of_its_own_in_torch(torch, layer, activation):
    model = gn.Sequential(BEFORE_ACTIVATION[layer](activation=activation), gn.Linear(4, 2))
    gn.interop.load_torch(model, state_of(layer.__name__))
    check_output(model, layer.__name__, f"y/{activation}")
    check_given_back(model, layer.__name__)


@pytest.mark.parametrize("activation", FUNCTIONS)
def test_an_encoder_layer_with_any_activation_is_one_module(torch, activation):
    model = gn.Sequential(gn.TransformerEncoderLayer(4, 2, 6, activation=activation), gn.Linear(4, 2))
    gn.interop.load_torch(model, state_of("TransformerEncoderLayer"))
    check_output(model, "TransformerEncoderLayer", f"y/{activation}")
    check_given_back(model, "TransformerEncoderLayer")


def test_every_module_of_the_reference_is_compared_with():
    layers = {cls.__name__ for cls in EQUIVALENTS}
    assert {key.partition("/")[0] for key in REFERENCE} == layers | NETWORKS.keys()


def encoder_layer():
    return gn.TransformerEncoderLayer(4, 2, 6)


NETWORKS = {
    "attention without bias": (lambda: [gn.MultiHeadAttention(4, 2, bias=False)], ["attention"]),
    "batch norm 1d": (
        lambda: [gn.Linear(3, 4), gn.BatchNorm1d(4, eps=1e-3), gn.BatchNorm1d(4, affine=False)],
        ["0", "1", "2"],
    ),
    "batch norm 2d": (lambda: [gn.BatchNorm2d(2), gn.BatchNorm2d(2, track_running_stats=False)], ["0", "1"]),
    "convolutions": (
        lambda: [
            gn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2, activation="relu"),
            gn.MaxPool2d(2),
            gn.Conv2d(6, 5, 2, bias=False),
            gn.Tanh(),
            gn.GlobalAvgPool2d(),
            gn.Linear(5, 3),
        ],
        ["0", "3", "7"],
    ),
    "encoder": (lambda: [encoder_layer(), encoder_layer()], ["layers.0", "layers.1"]),
    "encoder in a network": (
        lambda: [gn.Embedding(7, 4), encoder_layer(), encoder_layer(), gn.LayerNorm(4), gn.Linear(4, 2)],
        ["emb", "enc.layers.0", "enc.layers.1", "enc.norm", "out"],
    ),
    "encoder in a sequence": (
        lambda: [gn.Embedding(7, 4), encoder_layer(), encoder_layer(), gn.Flatten(), gn.Linear(12, 2)],
        ["0", "1.layers.0", "1.layers.1", "3"],
    ),
    "encoder layer": (lambda: [encoder_layer()], [""]),
    "encoder layer as an attribute": (lambda: [encoder_layer()], ["enc"]),
    "layer norms": (
        lambda: [gn.LayerNorm((3, 4), eps=1e-3), gn.Linear(4, 4), gn.ReLU(), gn.LayerNorm(4, bias=False)],
        ["0", "1", "3"],
    ),
    "linear layers": (
        lambda: [gn.Linear(3, 4, activation="gelu"), gn.Dropout(0.5), gn.Linear(4, 4, bias=False), gn.Linear(4, 2)],
        ["0", "3", "4"],
    ),
    "rnn of rectifiers": (lambda: [gn.RNN(3, 4, "relu", bias=False)], ["0"]),
}
"""The layers of the reference's networks, and the modules that hold their weights."""


@pytest.mark.parametrize("name", NETWORKS)
def test_a_network_computes_what_torch_does_and_its_weights_go_back(torch, name):
    layers, modules = NETWORKS[name]
    model = gn.Sequential(*layers())
    gn.interop.load_torch(model, state_of(name), modules=modules)
    check_output(model, name)
    check_given_back(model, name, modules)


@pytest.mark.parametrize("name", [name for name in NETWORKS if name != "encoder in a network"])
def test_names_with_numbers_need_no_list_of_modules(name):
    model = gn.Sequential(*NETWORKS[name][0]())
    gn.interop.load_torch(model, state_of(name))
    check_output(model, name)


def test_an_encoder_among_modules_without_an_order_asks_for_its_layers_as_modules():
    model = gn.Sequential(*NETWORKS["encoder in a network"][0]())
    with pytest.raises(
        gn.errors.ArgumentError,
        match=r"the order of the modules (\S+, )*enc\.layers\.0, .*not clear from their names; give modules=",
    ):
        gn.interop.load_torch(model, state_of("encoder in a network"))


def test_a_missing_tensor_of_an_encoder_layer_is_named():
    state = state_of("encoder layer as an attribute")
    del state["enc.linear1.bias"]
    with pytest.raises(gn.errors.ArgumentError, match=r"missing: enc\.linear1\.bias \(6,\)\.$"):
        gn.interop.load_torch(gn.Sequential(encoder_layer()), state)


def test_to_torch_names_tensors_as_the_module_does_and_copies_them(torch):
    model = gn.MLP([4, 8, 3])
    tensors = gn.interop.to_torch(model)
    assert list(tensors) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(gn.interop.to_torch(model, modules=["a", "b"])) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    before = model[0].params["weight"].copy()
    tensors["0.weight"].fill(0)
    tensors["0.bias"].fill(1)
    assert (model[0].params["weight"] == before).all()
    assert (model[0].params["bias"] == 0).all()


class BFloat16Tensor:
    """A torch tensor of bfloat16 that requires gradients, as far as `load_torch` looks at one."""

    def __init__(self, values, attached=True):
        self.values, self.shape, self.attached = values, values.shape, attached

    def detach(self):
        return BFloat16Tensor(self.values, attached=False)

    def cpu(self):
        return self

    def is_floating_point(self):
        return True

    def double(self):
        assert not self.attached
        return self.values.astype(np.float64)


def test_bfloat16_tensors_and_those_that_require_gradients_are_taken():
    weight = np.arange(12.0).reshape(3, 4)
    model = gn.Sequential(gn.Linear(4, 3, bias=False))
    gn.interop.load_torch(model, {"weight": BFloat16Tensor(weight)})
    assert (model[0].params["weight"] == weight.T).all()


def test_a_bfloat16_file_is_refused_with_the_way_around(tmp_path):
    path = tmp_path / "weights.safetensors"
    header = json.dumps({"weight": {"dtype": "BF16", "shape": [3, 4], "data_offsets": [0, 24]}}).encode()
    path.write_bytes(len(header).to_bytes(8, "little") + header + bytes(24))
    with pytest.raises(gn.errors.DTypeError, match=r"BF16.*safetensors\.torch\.load_file"):
        gn.interop.load_torch(gn.Sequential(gn.Linear(4, 3, bias=False)), path)
