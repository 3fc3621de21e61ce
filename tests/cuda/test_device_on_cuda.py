"""The array-module shim on a real GPU."""

import numpy as np
import pytest

import gpunet as gn
from gpunet import device as shim
from gpunet.errors import DeviceError, DeviceMismatchError

pytestmark = pytest.mark.cuda


def test_auto_takes_the_gpu(cuda):
    assert gn.get_device("auto") is cuda
    assert shim.auto_reason() == "a kernel compiled and ran on the GPU"


def test_a_block_makes_parameters_on_the_gpu(cuda):
    with gn.use_device("cuda"):
        model = gn.MLP([3, 2])
    assert model.device is cuda
    assert shim.device_of(model.store.grads) is cuda


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, bool])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (4, 5)])
def test_an_array_goes_there_and_back_and_the_way_back_is_counted(cuda, dtype, shape):
    host = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    there = cuda.asarray(host)
    assert gn.array_module(there) is cuda.xp
    before = cuda.host_reads
    back = cuda.to_host(there)
    assert cuda.host_reads == before + 1
    assert type(back) is np.ndarray
    assert back.dtype == dtype
    np.testing.assert_array_equal(back, host)


@pytest.mark.parametrize("odd", [np.asfortranarray, lambda a: a[::-1, ::2], lambda a: a.astype(">f4")])
def test_odd_host_arrays_arrive_as_what_they_are(cuda, odd):
    host = odd(np.arange(12, dtype=np.float32).reshape(3, 4))
    np.testing.assert_array_equal(cuda.to_host(cuda.asarray(host, np.float32)), host)


def test_arrays_of_two_devices_are_refused_by_name(cuda):
    x = np.eye(3, dtype=np.float32)
    with pytest.raises(DeviceMismatchError, match="x is on cpu, weight is on cuda:0"):
        gn.ops.linear(x, cuda.asarray(x))


def test_a_gpu_too_many_is_refused(cuda):
    count = cuda.xp.cuda.runtime.getDeviceCount()
    with pytest.raises(DeviceError, match=f"this machine has {count} GPU"):
        gn.get_device(f"cuda:{count}")


def test_waiting_for_the_gpu_returns(cuda):
    cuda.synchronize()
