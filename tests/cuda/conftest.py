"""The tests in this folder need a CUDA GPU. Without one, each is skipped, with the reason that gpunet gives."""

import warnings

import pytest

import gpunet as gn
from gpunet.errors import DeviceError


@pytest.fixture(scope="session", autouse=True)
def cuda():
    """Return the GPU."""
    try:
        with warnings.catch_warnings(action="default"):  # CuPy's warnings at import are no errors here
            return gn.get_device("cuda")
    except DeviceError as error:
        pytest.skip(str(error))
