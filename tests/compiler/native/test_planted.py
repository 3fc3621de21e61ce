"""The comparison with NumPy finds each fault planted in the CPU kernels."""

import pytest
from compiler.native.calls import FOLDER
from compiler.native.planted_natively import FAULTS, plant


@pytest.mark.parametrize("name", FAULTS)
def test_a_planted_fault_is_caught(name, tmp_path):
    *_, case = FAULTS[name]
    case(FOLDER)
    with pytest.raises(AssertionError) as caught:
        plant(name, tmp_path)
    assert "update the planted fault" not in str(caught.value)
