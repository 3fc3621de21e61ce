"""The tests in this folder need a CUDA GPU. Without a usable one, each is skipped with gpunet's own words for why."""

import warnings

import pytest

import gpunet as gn
from gpunet.errors import DeviceError


@pytest.fixture(scope="session", autouse=True)
def cuda():
    """Return the GPU."""
    try:
        with warnings.catch_warnings(action="default"):  # what CuPy has to say when it is imported is no error here
            return gn.get_device("cuda")
    except DeviceError as error:
        pytest.skip(str(error))
