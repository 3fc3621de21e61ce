from __future__ import annotations

import numpy as np
import pytest

import gpunet as gn
from gpunet import simulator


@pytest.fixture
def torch():
    return pytest.importorskip("torch", reason="PyTorch is not installed; it is in no extra of gpunet")


@pytest.fixture
def jax():
    return pytest.importorskip("jax", reason="JAX is not installed; it is in no extra of gpunet")


class Elsewhere:
    """A DLPack exporter that reports a device type and index, but has no memory."""

    def __init__(self, kind, index=0):
        self.place = kind, index

    def __dlpack__(self, **_):
        raise BufferError("no memory")

    def __dlpack_device__(self):
        return self.place


def test_from_dlpack_shares_memory_with_a_numpy_array():
    x = np.arange(12.0).reshape(3, 4)[:, ::-2]
    y = gn.from_dlpack(x)
    assert np.shares_memory(x, y)
    assert (y == x).all()


@pytest.mark.parametrize("x", [[1.0, 2.0], 3, None])
def test_from_dlpack_refuses_non_arrays(x):
    with pytest.raises(gn.errors.DTypeError, match=type(x).__name__):
        gn.from_dlpack(x)


def test_from_dlpack_names_a_device_that_it_does_not_know():
    with pytest.raises(gn.errors.DeviceError, match="DLPack type 8"):
        gn.from_dlpack(Elsewhere(8))


def test_from_dlpack_reports_why_a_library_does_not_export_an_array():
    with pytest.raises(gn.errors.DTypeError, match=r"Elsewhere.*no memory"):
        gn.from_dlpack(Elsewhere(1))


@pytest.mark.parametrize("kind", [2, 13])
def test_from_dlpack_of_a_gpu_array_asks_for_that_gpu(monkeypatch, kind):
    asked = []
    monkeypatch.setattr("gpunet.interop.dlpack.get_device", lambda spec: asked.append(spec) or gn.Device("cpu", np))
    with pytest.raises(gn.errors.DTypeError):
        gn.from_dlpack(Elsewhere(kind, 3))
    assert asked == ["cuda:3"]


def read_only():
    a = np.arange(6.0)
    a.flags.writeable = False
    return a


@pytest.mark.parametrize(
    "a", [np.arange(6.0)[::-1], np.ones((3, 4))[:, ::-1], read_only(), np.broadcast_to(np.float32(1), (2, 3))]
)
def test_to_dlpack_copies_arrays_that_cannot_be_shared(a):
    safe = gn.interop.to_dlpack(a)
    assert (safe == a).all()
    assert safe.flags.writeable
    assert all(stride >= 0 for stride in safe.strides)
    assert not np.shares_memory(safe, a)


def test_to_dlpack_returns_other_arrays_unchanged():
    model = gn.MLP([4, 8, 3])
    for a in (*model.parameters().values(), np.ones((3, 4)).T, np.ones((3, 4))[:, ::2], simulator.zeros(3)):
        assert gn.interop.to_dlpack(a) is a


def test_to_dlpack_refuses_non_arrays():
    with pytest.raises(gn.errors.DTypeError):
        gn.interop.to_dlpack([1.0])


def test_parameters_go_to_torch_and_back_without_a_copy(torch):
    model = gn.MLP([4, 8, 3])
    for a in model.parameters().values():
        tensor = torch.from_dlpack(a)
        assert tensor.data_ptr() == a.ctypes.data
        assert np.shares_memory(gn.from_dlpack(tensor), a)


def test_arrays_that_torch_refuses_can_be_shared_through_to_dlpack(torch):
    a = np.arange(6.0)[::-1]
    assert torch.from_dlpack(gn.interop.to_dlpack(a)).tolist() == a.tolist()
    frozen = read_only()
    torch.from_dlpack(gn.interop.to_dlpack(frozen)).zero_()
    assert frozen[5] == 5


def test_tensors_that_torch_does_not_export_are_refused(torch):
    for tensor in (torch.ones(3, dtype=torch.bfloat16), torch.ones(3, requires_grad=True)):
        with pytest.raises(gn.errors.DTypeError, match="Tensor"):
            gn.from_dlpack(tensor)


def test_parameters_go_to_jax_and_an_array_of_jax_comes_read_only(jax):
    weight = gn.MLP([64, 64]).parameters()["0.weight"]
    assert (np.asarray(jax.numpy.from_dlpack(weight)) == weight).all()
    y = gn.from_dlpack(jax.numpy.arange(6.0))
    assert y.tolist() == list(range(6))
    assert not y.flags.writeable
