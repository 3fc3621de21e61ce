"""Skip the tests of native kernels, with the reason, if no compiler is found."""

import pytest

from gpunet.native.compiler import why_unavailable


@pytest.fixture(scope="session", autouse=True)
def _compiler():
    if reason := why_unavailable():
        pytest.skip(reason)
