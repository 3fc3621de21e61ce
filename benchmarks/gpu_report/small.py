"""Every kernel once over small arrays with ragged edges: what compute-sanitizer is run on.

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
    """Return 1 where a kernel is wrong. The library's are left out: they are slow to watch, and not ours."""
    device = get_device(name)
    if name == "cuda":
        device.xp.cuda.set_allocator(None)  # without a pool an array ends where its memory ends
    faults = 0
    for case in (*(case for op, size in SIZES.items() for case in cases_of(op, [size])), *cases(33, 13)):
        inputs = case.draw()
        expected = gate.reference(case, inputs)
        for kernel, prepare in case.kernels_on(device).items():
            if kernel in ("blas", "array"):
                continue
            fault = check(case, kernel, prepare, device, inputs, expected).fault
            faults += bool(fault)
            print(case.op, case.variant, kernel, fault or "right", flush=True)
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
