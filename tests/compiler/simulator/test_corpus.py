"""The corpus of kernels runs without errors and with right results, and faults planted in them are found.

20 of them are drawn by a seed. `GPUNET_CORPUS=all` runs all, `GPUNET_CORPUS=3` the 20 of seed 3.
"""

import functools
import importlib
import os
import random
import re
from pathlib import Path

import numpy as np
import pytest
from compiler.simulator.corpus import WRONG, Case, Launch, cases_of
from compiler.simulator.kernels import all_together, buffer

from gpunet.simulator.engine import Kernel
from gpunet.simulator.findings import Finding

PAGE = 4096
DRAWN = os.environ.get("GPUNET_CORPUS", "0")
MODULES = {
    path.stem: cases_of(vars(importlib.import_module(f"compiler.simulator.{path.stem}")))
    for path in sorted(Path(__file__).parent.glob("corpus_of_*.py"))
}
CASES = [(module, name) for module, cases in MODULES.items() for name in cases]
CHOSEN = CASES if DRAWN == "all" else sorted(random.Random(int(DRAWN)).sample(CASES, 20))
each_case = pytest.mark.parametrize(("module", "name"), CHOSEN, ids=[name for _, name in CHOSEN])


@functools.cache
def compiled(module: str, planted: bool) -> dict[str, list[Kernel]]:
    """Return the chosen kernels of a module, compiled all at once: without faults, or each with its planted fault."""
    names = [name for m, name in CHOSEN if m == module]
    return all_together({name: MODULES[module][name].launch(planted).source for name in names})


def run(case: Case, kernels: list[Kernel], planted: bool) -> tuple[list[Finding], Launch, float]:
    """Return the errors that are found, the launch, and the largest error relative to the largest expected value."""
    launch = case.launch(planted)
    arguments = [_apart(a) if isinstance(a, np.ndarray) else _scalar(a) for a in launch.arguments]
    packed = [buffer(a) if isinstance(a, np.ndarray) else a for a in arguments]
    grid, block = (np.atleast_1d(n).tolist() for n in (launch.grid, launch.block))
    options = {"shared_bytes": launch.shared, "cooperative": launch.cooperative}
    found = [finding for kernel in kernels for finding in kernel.inspect(grid, block, packed, **options)[1]]
    errors = [_error(arguments[i], e) for i, e in launch.expected.items()]
    return [finding for finding in found if finding.grade == "error"], launch, max(errors)


def _error(result: np.ndarray, expected: np.ndarray) -> float:
    """Return the largest error, relative to the largest expected value; integers must be equal."""
    if result.dtype.kind in "biu":
        return 0 if np.array_equal(result, np.broadcast_to(expected, result.shape)) else np.inf
    return abs(result - expected.astype(np.float64)).max() / abs(expected).max()


def _apart(array: np.ndarray) -> np.ndarray:
    """Return a copy with a page on each side, so that an access out of bounds meets no other argument."""
    memory = np.empty(array.nbytes + 3 * PAGE, np.uint8)
    begin = 2 * PAGE - memory.ctypes.data % PAGE
    copy = memory[begin : begin + array.nbytes].view(array.dtype).reshape(array.shape)
    copy[...] = array
    return copy


def _scalar(value: float | np.generic) -> np.generic:
    return {int: np.int32, float: np.float32}.get(type(value), lambda v: v)(value)


@each_case
def test_a_kernel_is_right_and_has_no_errors(module: str, name: str) -> None:
    found, launch, error = run(MODULES[module][name], compiled(module, False)[name], planted=False)
    assert [str(finding) for finding in found] == []
    assert error <= launch.tolerance


@each_case
def test_a_planted_fault_is_an_error(module: str, name: str) -> None:
    case = MODULES[module][name]
    found, launch, error = run(case, compiled(module, True)[name], planted=True)
    pattern = case.fault[2]
    if pattern == WRONG:
        assert not error <= launch.tolerance
    else:
        assert any(re.search(pattern, finding.text) for finding in found), found
