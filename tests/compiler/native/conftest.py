"""Tests of native kernels: skipped, with the reason shown, where they cannot be compiled."""

import pytest

from gpunet.native.compiler import why_unavailable


@pytest.fixture(scope="session", autouse=True)
def _compiler():
    if reason := why_unavailable():
        pytest.skip(reason)
