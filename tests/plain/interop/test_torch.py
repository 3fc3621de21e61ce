from __future__ import annotations

import sys

import numpy as np
import pytest
import safetensors.numpy

import gpunet as gn
from gpunet.interop.torch_layers import TWINS

TOLERANCE = 1e-5


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed; it is in no extra of gpunet")


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


def test_modules_of_other_names_are_given_in_the_order_of_the_layers():
    arrays = state(("out.weight", (8, 8)), ("out.bias", (8,)), ("hidden.weight", (8, 8)), ("hidden.bias", (8,)))
    model, X = gn.MLP([8, 8, 8]), samples(5, 8, seed=9)
    with pytest.raises(gn.errors.ArgumentError, match=r"no order of the modules out, hidden; give modules="):
        gn.interop.load_torch(model, arrays)
    gn.interop.load_torch(model, arrays, modules=["hidden", "out"])
    assert np.abs(model.predict(X) - expected(arrays, "hidden", "out", X)).max() <= TOLERANCE


@pytest.mark.parametrize("names", [("fc", "fc1"), ("1", "01"), ("conv1", "fc2"), ("0", "0.1")])
def test_names_that_tell_no_order_are_refused(names):
    arrays = state(*((f"{name}.weight", (4, 4)) for name in names))
    model = gn.Sequential(gn.Linear(4, 4, bias=False), gn.Linear(4, 4, bias=False))
    with pytest.raises(gn.errors.ArgumentError, match="no order of the modules"):
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
        with pytest.raises(gn.errors.DTypeError, match=rf"2\.bias is of type {wrong.dtype}"):
            gn.interop.load_torch(model, {**arrays, "2.bias": wrong})
    assert (model.parameters()["0.weight"] == before).all()


def test_what_is_no_state_dict_is_refused():
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
def test_modules_that_are_not_one_for_each_layer_are_refused(modules):
    with pytest.raises(gn.errors.ArgumentError, match="2 different modules"):
        gn.interop.load_torch(gn.MLP([4, 8, 3]), sequential_state(), modules=modules)


class MyLinear(gn.Linear):
    """A layer of one's own, which may compute what it likes."""


def test_a_layer_without_a_twin_is_named():
    with pytest.raises(gn.errors.ArgumentError, match=r"layer 0, MyLinear, has no PyTorch twin.*Linear"):
        gn.interop.load_torch(gn.Sequential(MyLinear(4, 2)), sequential_state())


def test_files_that_are_pickles_or_damaged_are_refused(tmp_path):
    (tmp_path / "weights.pt").write_bytes(b"PK\x03\x04 a pickle")
    with pytest.raises(gn.errors.ModelFileError, match=r"weights\.pt.*weights_only=True"):
        gn.interop.load_torch(gn.MLP([4, 8, 3]), tmp_path / "weights.pt")
    with pytest.raises(FileNotFoundError):
        gn.interop.load_torch(gn.MLP([4, 8, 3]), tmp_path / "nothing.safetensors")


def test_without_torch_to_torch_says_what_is_missing(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(gn.errors.MissingPackageError, match="pip install torch"):
        gn.interop.to_torch(gn.MLP([4, 3]))


def linear(torch):
    nn = torch.nn
    twin = nn.Sequential(nn.Linear(6, 8), nn.GELU(), nn.Dropout(0.5), nn.Linear(8, 8, bias=False), nn.Linear(8, 3))
    model = gn.Sequential(
        gn.Linear(6, 8, activation="gelu"), gn.Dropout(0.5), gn.Linear(8, 8, bias=False), gn.Linear(8, 3)
    )
    return twin, model, samples(5, 6)


def batch_norm_1d(torch):
    twin = torch.nn.Sequential(torch.nn.Linear(4, 6), torch.nn.BatchNorm1d(6), torch.nn.BatchNorm1d(6, affine=False))
    model = gn.Sequential(gn.Linear(4, 6), gn.BatchNorm1d(6), gn.BatchNorm1d(6, affine=False))
    twin(torch.from_numpy(1 + samples(50, 4)))  # in training mode, which moves the running statistics
    return twin, model, samples(5, 4)


def batch_norm_2d(torch):
    twin = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.BatchNorm2d(3, track_running_stats=False))
    twin(torch.from_numpy(1 + samples(50, 3, 2, 2)))
    model = gn.Sequential(gn.BatchNorm2d(3), gn.BatchNorm2d(3, track_running_stats=False))
    return twin, model, samples(5, 3, 2, 2)


def convolution(torch):
    twin = torch.nn.Sequential(
        torch.nn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2),
        torch.nn.ReLU(),
        torch.nn.MaxPool2d(2),
        torch.nn.Conv2d(6, 5, 2, bias=False),
        torch.nn.AdaptiveAvgPool2d(1),
        torch.nn.Flatten(),
        torch.nn.Linear(5, 3),
    )
    model = gn.Sequential(
        gn.Conv2d(4, 6, (3, 2), stride=2, padding=1, groups=2),
        gn.ReLU(),
        gn.MaxPool2d(2),
        gn.Conv2d(6, 5, 2, bias=False),
        gn.GlobalAvgPool2d(),
        gn.Linear(5, 3),
    )
    return twin, model, samples(5, 4, 9, 9)


def sequence_convolution(torch):
    twin = torch.nn.Sequential(torch.nn.Conv1d(4, 6, 3, padding=1), torch.nn.ReLU())
    return twin, gn.Sequential(gn.Conv1d(4, 6, 3, padding=1), gn.ReLU()), samples(5, 4, 9)


def attention(torch):
    class Attention(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.attention = torch.nn.MultiheadAttention(8, 2, batch_first=True)

        def forward(self, x):
            return self.attention(x, x, x, need_weights=False)[0]

    return torch.nn.Sequential(Attention()), gn.Sequential(gn.MultiHeadAttention(8, 2)), samples(5, 4, 8)


def normalisation(torch):
    nn = torch.nn
    twin = nn.Sequential(nn.LayerNorm((4, 6), eps=1e-3), nn.Linear(6, 6), nn.ReLU(), nn.LayerNorm(6, bias=False))
    layers = gn.LayerNorm((4, 6), eps=1e-3), gn.Linear(6, 6), gn.ReLU(), gn.LayerNorm(6, bias=False)
    return twin, gn.Sequential(*layers), samples(5, 4, 6)


def rms_normalisation(torch):
    return torch.nn.Sequential(torch.nn.RMSNorm(6)), gn.Sequential(gn.RMSNorm(6)), samples(5, 6)


def transformer(torch):
    nn = torch.nn
    block = nn.TransformerEncoderLayer(8, 2, 16, activation="gelu", batch_first=True, norm_first=True)
    twin = nn.Sequential(nn.Embedding(9, 8), block, nn.Flatten(), nn.Linear(48, 3))
    layers = gn.Embedding(9, 8), gn.TransformerEncoderLayer(8, 2, 16, activation="gelu"), gn.Flatten(), gn.Linear(48, 3)
    return twin, gn.Sequential(*layers), np.random.default_rng(0).integers(0, 9, (5, 6))


class Outputs:
    """Mixed into a recurrent module of torch, makes it one that returns its outputs alone."""

    def forward(self, x):
        return super().forward(x)[0]


def lstm(torch):
    twin = type("LSTM", (Outputs, torch.nn.LSTM), {})(4, 6, batch_first=True)
    return torch.nn.Sequential(twin), gn.Sequential(gn.LSTM(4, 6)), samples(5, 7, 4)


def rnn(torch):
    twin = type("RNN", (Outputs, torch.nn.RNN), {})(4, 6, batch_first=True, nonlinearity="relu", bias=False)
    return torch.nn.Sequential(twin), gn.Sequential(gn.RNN(4, 6, "relu", bias=False)), samples(5, 7, 4)


PAIRS = {
    gn.BatchNorm1d: batch_norm_1d,
    gn.BatchNorm2d: batch_norm_2d,
    gn.Conv1d: sequence_convolution,
    gn.Conv2d: convolution,
    gn.Embedding: transformer,
    gn.LSTM: lstm,
    gn.LayerNorm: normalisation,
    gn.Linear: linear,
    gn.MultiHeadAttention: attention,
    gn.RMSNorm: rms_normalisation,
    gn.RNN: rnn,
}
"""For each layer with a PyTorch twin: a torch module, the same model, and an input."""


def test_every_layer_with_a_twin_is_tested():
    assert PAIRS.keys() == TWINS.keys()


@pytest.mark.parametrize("layer", PAIRS, ids=lambda layer: layer.__name__)
def test_outputs_equal_those_of_torch_after_load_torch_and_back(torch, layer):
    torch.manual_seed(0)
    twin, model, X = PAIRS[layer](torch)
    twin.eval()
    gn.interop.load_torch(model, twin.state_dict())
    with torch.no_grad():
        y = twin(torch.from_numpy(X)).numpy()
    assert np.abs(model.forward(X) - y).max() <= TOLERANCE

    for leaf in model.leaves().values():
        for name, a in leaf.params.items():
            leaf.params[name] = 0.3 * samples(*a.shape, seed=3)
    modules = ["0.attention"] if layer is gn.MultiHeadAttention else None
    twin.load_state_dict(gn.interop.to_torch(model, modules=modules))
    with torch.no_grad():
        y = twin(torch.from_numpy(X)).numpy()
    assert np.abs(model.forward(X) - y).max() <= TOLERANCE


def test_to_torch_names_tensors_as_the_module_does_and_copies_them(torch):
    model = gn.MLP([4, 8, 3])
    tensors = gn.interop.to_torch(model)
    assert list(tensors) == ["0.weight", "0.bias", "2.weight", "2.bias"]
    assert list(gn.interop.to_torch(model, modules=["a", "b"])) == ["a.weight", "a.bias", "b.weight", "b.bias"]
    before = model[0].params["weight"].copy()
    tensors["0.weight"].zero_()
    tensors["0.bias"].fill_(1)
    assert (model[0].params["weight"] == before).all()
    assert (model[0].params["bias"] == 0).all()


def test_bfloat16_tensors_and_those_that_require_gradients_are_taken(torch):
    module = torch.nn.Linear(4, 3).to(torch.bfloat16)
    model = gn.Sequential(gn.Linear(4, 3))
    gn.interop.load_torch(model, dict(module.named_parameters()))
    assert (model[0].params["weight"] == module.weight.detach().float().numpy().T).all()


def test_a_bfloat16_file_is_refused_with_the_way_around(torch, tmp_path):
    from safetensors.torch import load_file, save_file

    module, path = torch.nn.Linear(4, 3).to(torch.bfloat16), tmp_path / "weights.safetensors"
    save_file(module.state_dict(), path)
    model = gn.Sequential(gn.Linear(4, 3))
    with pytest.raises(gn.errors.DTypeError, match=r"BF16.*safetensors\.torch\.load_file"):
        gn.interop.load_torch(model, path)
    gn.interop.load_torch(model, load_file(path))


def test_complex_tensors_are_refused(torch):
    tensors = {"0.weight": torch.ones(3, 4, dtype=torch.complex64), "0.bias": torch.ones(3)}
    with pytest.raises(gn.errors.DTypeError, match=r"0\.weight is of type complex64"):
        gn.interop.load_torch(gn.MLP([4, 3]), tensors)
