"""`simulate` runs a small source on NumPy arrays; `line_of` finds the line that a finding should name."""

import pytest
from compiler.simulator import kernels


@pytest.fixture
def simulate():
    return kernels.simulate


@pytest.fixture
def line_of():
    """Return "test.cu:N" for the line of `source` that holds `mark`."""

    def find(source, mark="// fault"):
        lines = [i for i, line in enumerate(source.splitlines(), 1) if mark in line]
        assert len(lines) == 1
        return f"test.cu:{lines[0]}"

    return find
