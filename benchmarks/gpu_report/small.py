"""Run every kernel once on small arrays with ragged sizes, for compute-sanitizer.

compute-sanitizer --tool=memcheck python -m benchmarks.gpu_report.small
"""

from __future__ import annotations

import sys

from benchmarks.gpu_report.cases import cases
from benchmarks.gpu_report.section import cases_of
from gpunet.bench import gate
from gpunet.bench.measure import check
from gpunet.device import get_device

SIZES = {
    "matmul": "33x70x41",
    "linear": "33x41x70",
    "bias-activation": "33x70",
    "softmax-cross-entropy": "33x13",
    "optimizer": "1001",
    "step": "12-16-5/8",
}


def main(name: str = "cuda") -> int:
    """Return 1 if a kernel is wrong. Library kernels are skipped: they are slow under compute-sanitizer."""
    device = get_device(name)
    if name == "cuda":
        device.xp.cuda.set_allocator(None)  # no memory pool: each array is an allocation, which memcheck checks
    faults = 0
    for case in (*(case for op, size in SIZES.items() for case in cases_of(op, [size])), *cases(33, 13)):
        inputs = case.draw()
        expected = gate.reference(case, inputs)
        for kernel, prepare in case.kernels_on(device).items():
            if kernel in ("blas", "array"):
                continue
            fault = check(case, kernel, prepare, device, inputs, expected).fault
            faults += bool(fault)
            print(case.op, case.variant, kernel, fault or "ok", flush=True)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
