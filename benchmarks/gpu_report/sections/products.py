"""Compare the matrix product kernels with the library: square products, and all products of some MLPs."""

from __future__ import annotations

import os
from collections.abc import Iterator

from benchmarks.frameworks.problem import Problem
from benchmarks.gpu_report.section import Row, Section, Setup, cases_of, measure_cases, show_cases
from benchmarks.peers import NETS
from gpunet.bench.case import Case

SQUARES, LARGE, LARGEST = ("256", "512", "1024", "2048"), "4096", "8192"
FASTEST = ("blas", "register", "tiled", "mma", "mma3")  # the slower kernels would take most of the time


def products_of(net: Problem) -> Iterator[tuple[str, str]]:
    """Yield layout and size of each product of a training step; the first layer needs no input gradient."""
    rows = net.batch
    for layer, (i, o) in enumerate(zip(net.sizes, net.sizes[1:], strict=False)):
        yield "NN", f"{rows}x{o}x{i}"
        yield "TN", f"{i}x{o}x{rows}"
        if layer:
            yield "NT", f"{rows}x{i}x{o}"


def of_layers(setup: Setup) -> Iterator[Case]:
    """Yield the distinct products of the networks."""
    nets = ("8-12-5/16",) if setup.simulated else NETS
    wanted = dict.fromkeys(product for net in nets for product in products_of(Problem.parse(net)))
    for layout, size in wanted:
        yield from (case for case in cases_of("matmul", [size]) if case.variant == layout)


def measure_layers(setup: Setup) -> Iterator[list[Row]]:
    """Measure each product with the fastest kernels; the square products cover all kernels."""
    return measure_cases(setup, of_layers(setup), FASTEST)


def measure_squares(setup: Setup) -> Iterator[list[Row]]:
    """Measure square products with the fastest kernels, one size with all (see `benchmarks.tables.matmul`)."""
    if setup.simulated:
        yield from measure_cases(setup, cases_of("matmul", ["20"]))
        return
    yield from measure_cases(setup, cases_of("matmul", SQUARES), FASTEST)
    yield from measure_cases(setup, cases_of("matmul", [LARGE]))
    yield from measure_cases(setup, cases_of("matmul", [LARGEST]), FASTEST)


def measure_tf32(setup: Setup) -> Iterator[list[Row]]:
    """Compare `mma` with cuBLAS in TF32. CuPy reads the variable at the first product of the section's process."""
    os.environ["CUPY_TF32"] = "1"
    sizes = ("20",) if setup.simulated else (LARGE, LARGEST)
    yield from measure_cases(setup, cases_of("matmul", sizes), ("blas", "mma"))


LAYERS = Section("Matrix products of MLPs", 60, measure_layers, show_cases)
SQUARE = Section("Square matrix products", 95, measure_squares, show_cases)
TF32 = Section("Square matrix products, cuBLAS in TF32", 20, measure_tf32, show_cases)
