"""The kernels of a layer compared with the library path: matrix products, bias and activation.

A round here includes the host's time. `gpunet bench` measures device time, cold caches and ceilings.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import pytest

import gpunet as gn
from benchmarks.conftest import Compare
from gpunet.bench import gate
from gpunet.bench.case import Case
from gpunet.bench.cases import OPS
from gpunet.bench.measure import place
from gpunet.ops._matmul_plan import KERNEL_NAMES

PRODUCTS = ("256", "128x128x784")
ARRAYS = ("128x512", "4096x1024")
ROUNDS, ROUND_FLOPS, ROUND_BYTES = 40, 2e8, 2e7


def cases_of(op: str, size: str) -> list[Case]:
    return list(OPS[op].cases(OPS[op].parse(size), np.dtype(np.float32)))


def calls(case: Case, kernels: Sequence[str], device: gn.Device, count: int) -> list[Callable[[], None]]:
    """Return, for each kernel, a function that runs `count` calls; check the results first."""
    inputs = case.draw()
    expected = gate.reference(case, inputs)

    def rounds(kernel: str) -> Callable[[], None]:
        call = place(case.kernels[kernel], device, inputs)
        results = [device.to_host(a) for a in call()]
        assert not gate.fault(results, expected, terms=case.terms, eps=gate.eps_of(case, kernel))

        def round_() -> None:
            for _ in range(count):
                call()
            device.synchronize()

        return round_

    return [rounds(kernel) for kernel in kernels]


@pytest.mark.parametrize("size", PRODUCTS)
@pytest.mark.parametrize("layout", ["NN", "NT", "TN"])
def test_matmul_against_numpy(compare: Compare, size: str, layout: str) -> None:
    (case,) = (case for case in cases_of("matmul", size) if case.variant == layout)
    count = max(1, round(ROUND_FLOPS / case.flops))
    (ours,) = calls(case, ["blas"], gn.get_device("cpu"), count)
    a, b = (a.T if letter == "T" else a for a, letter in zip(case.draw().values(), layout, strict=True))
    out = np.empty((len(a), b.shape[1]), np.float32)

    def numpy() -> None:
        for _ in range(count):
            np.matmul(a, b, out=out)

    compare(f"matmul {layout}, {case.size}", ours, numpy, rounds=ROUNDS, limit=1.1, steps=count)


@pytest.mark.parametrize("size", [*PRODUCTS, "1024", "4096"])
@pytest.mark.parametrize("kernel", KERNEL_NAMES)
def test_matmul_kernels_against_the_library(compare: Compare, gpu: gn.Device, kernel: str, size: str) -> None:
    case = cases_of("matmul", size)[0]
    if kernel not in case.kernels_on(gpu):
        pytest.skip(f"{gpu.name} cannot run {kernel}")
    count = max(1, min(200, round(1e11 / case.flops)))
    blas, ours = calls(case, ["blas", kernel], gpu, count)
    compare(f"matmul {kernel}, {case.size}, {gpu.name}", ours, blas, rounds=ROUNDS, limit=None, steps=count)


@pytest.mark.parametrize("size", ARRAYS)
@pytest.mark.parametrize("variant", ["forward", "backward"])
def test_bias_activation_against_array_code(compare: Compare, device: gn.Device, variant: str, size: str) -> None:
    (case,) = (case for case in cases_of("bias-activation", size) if case.variant == variant)
    count = max(1, round(ROUND_BYTES / case.nbytes))
    array, ours = calls(case, ["array", "gpunet"], device, count)
    what = f"bias and ReLU, {variant}, {case.size}, {device.name}"
    compare(what, ours, array, rounds=ROUNDS, limit=1.0, steps=count)
