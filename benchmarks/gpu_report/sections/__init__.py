"""The sections of the report in order: correctness first, then measurements by importance."""

from benchmarks.gpu_report.sections import (
    cuda_tests,
    digits,
    fused,
    latency,
    machine,
    persistent,
    products,
    sanitizer,
    step,
    tiles,
)

SECTIONS = {
    "machine": machine.SECTION,
    "tests": cuda_tests.SECTION,
    "digits": digits.SECTION,
    "latency": latency.SECTION,
    "persistent": persistent.SECTION,
    "step": step.KERNELS,
    "layers": products.LAYERS,
    "bias-activation": fused.BIAS,
    "squares": products.SQUARE,
    "tiles": tiles.SECTION,
    "tf32": products.TF32,
    "kernels": fused.OTHER,
    "peers": step.PEERS,
    "sanitizer": sanitizer.SECTION,
}
