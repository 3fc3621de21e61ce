"""Tests that need a C++ compiler: skipped, with the reason shown, where there is none."""

import pytest

from gpunet.errors import DeviceError
from gpunet.simulator.compiler import find_compiler


@pytest.fixture(scope="session", autouse=True)
def _compiler():
    try:
        find_compiler()
    except DeviceError as error:
        pytest.skip(str(error))
