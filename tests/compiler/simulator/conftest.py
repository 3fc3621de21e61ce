"""`simulate` runs a small source on NumPy arrays; `line_of` finds the line that a finding should name."""

import numpy as np
import pytest
from compiler.simulator.kernels import buffer

from gpunet.simulator.engine import load


@pytest.fixture
def simulate():
    """Launch the first kernel of a source. Arrays in `fresh` count as never written."""

    def run(source, grid, block, *args, mode="check", options=(), fresh=(), **launch):
        kernel = next(iter(load(source, "test.cu", options, mode).kernels.values()))
        flags = [np.zeros(a.nbytes, np.uint8) for a in fresh]
        packed = []
        for a in args:
            if isinstance(a, np.ndarray):
                packed.append(buffer(a, next((f for b, f in zip(fresh, flags, strict=True) if b is a), None)))
            else:
                packed.append(np.int32(a) if isinstance(a, int) else a)
        kernel.max_dynamic_shared_size_bytes = 200 * 1024
        return kernel.launch(grid, block, packed, **launch)

    return run


@pytest.fixture
def line_of():
    """Return "test.cu:N" for the line of `source` that holds `mark`."""

    def find(source, mark="// fault"):
        lines = [i for i, line in enumerate(source.splitlines(), 1) if mark in line]
        assert len(lines) == 1
        return f"test.cu:{lines[0]}"

    return find
