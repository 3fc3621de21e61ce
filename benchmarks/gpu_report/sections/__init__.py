"""The sections of the report in their order: first whether it is right, then what is worth most to know."""

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
    "kernels": fused.OTHER,
    "peers": step.PEERS,
    "sanitizer": sanitizer.SECTION,
}
