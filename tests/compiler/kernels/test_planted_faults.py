"""Faults planted in the real kernels: each is caught, by check mode or by comparison with NumPy."""

import pytest
from compiler.kernels.planted import FAULTS, plant

from gpunet.device import kernels_path
from gpunet.errors import KernelError


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name, tmp_path):
    *_, case, caught_by = FAULTS[name]
    case(kernels_path())
    with pytest.raises((KernelError, AssertionError)) as caught:
        plant(name, tmp_path)
    assert caught.match(caught_by) if caught_by != "AssertionError" else caught.errisinstance(AssertionError)
