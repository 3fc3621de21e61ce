"""Exchange arrays with other libraries by DLPack on a real GPU."""

import numpy as np
import pytest

import gpunet as gn

pytestmark = pytest.mark.cuda


def test_an_array_of_the_gpu_is_shared(cuda):
    x = cuda.asarray(np.arange(6.0))
    y = gn.from_dlpack(x)
    assert isinstance(y, cuda.xp.ndarray)
    assert y.data.ptr == x.data.ptr


def test_what_cannot_be_handed_over_is_copied(cuda):
    x = cuda.asarray(np.arange(6.0))
    assert gn.interop.to_dlpack(x) is x
    safe = gn.interop.to_dlpack(x[::-1])
    assert safe.strides == x.strides
    assert gn.to_host(safe).tolist() == [5, 4, 3, 2, 1, 0]


def test_parameters_go_to_torch_and_back_without_a_copy(cuda):
    torch = pytest.importorskip("torch", reason="PyTorch is not installed; it is in no extra of gpunet")
    if not torch.cuda.is_available():
        pytest.skip("this PyTorch has no CUDA")
    for a in gn.MLP([4, 8, 3]).to(cuda).parameters().values():
        tensor = torch.from_dlpack(a)
        assert tensor.data_ptr() == a.data.ptr
        assert gn.from_dlpack(tensor).data.ptr == a.data.ptr
