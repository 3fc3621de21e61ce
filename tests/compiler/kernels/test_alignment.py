"""Kernels that load vectors accept any of their arrays at an address that is not a multiple of 16 bytes.

Each array in turn is moved by 4 and by 8 bytes. Check mode finds a vector load or store at such an address, and the
results must stay those of aligned arrays.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compiler.kernels.checked import run

from gpunet.cuda import Kernel

ROWS, N = 6, 8
RELU = {"ACTIVATION": "relu"}
SQUARES, RATE = np.ones(1), np.full(1, 0.1, np.float32)


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def integers(*values: int, dtype: type = np.int64) -> np.ndarray:
    return np.array(values, dtype)


def words(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.uint32).reshape(shape)


def matrices(count: int) -> list[np.ndarray]:
    return [normal(ROWS, N) + i for i in range(count)]


def step(*arrays: Any) -> list[Any]:
    return [SQUARES, RATE, integers(1, 0, 0), 1, 0.0, *arrays]


def batch() -> list[Any]:
    of_batch = [normal(4, N), words(4, 4), words(4, 4)]
    given = normal(ROWS, N), None, None, words(ROWS, 4), words(ROWS, 4)
    order = integers(5, 3, 0, 1, 2, 4)
    return [*given, order, integers(1), words(1), *of_batch, ROWS, N, 4, 4, ROWS, 4]


COLUMNS, ONE_ROW = ((1, 1), (32, 8)), ((1,), (256,))
NO_SUMS = None, None
CHANNELS = normal(N) ** 2
BATCH_NORM = {
    "mean": lambda: [normal(ROWS, N), *NO_SUMS, *NO_SUMS, normal(N), None, ROWS, N, 1, ROWS],
    "variance": lambda: [normal(ROWS, N), normal(N), *NO_SUMS, *NO_SUMS, normal(N), *[None] * 3, ROWS, N, 1, ROWS, 0.1],
    "forward": lambda: [normal(ROWS, N), normal(N), CHANNELS, *NO_SUMS, normal(ROWS, N), ROWS, N, 1, ROWS, 0.1],
    "sums": lambda: [
        *matrices(2), normal(N), CHANNELS, *NO_SUMS, *NO_SUMS, normal(N), normal(N), ROWS, N, 1, ROWS, 0.1
    ],
    "backward": lambda: [
        *matrices(2), normal(N), CHANNELS, None, normal(N), normal(N), normal(ROWS, N), ROWS, N, 1, ROWS, 0.1
    ],
}  # fmt: skip
LAYER_NORM = {
    "forward": lambda: [
        normal(ROWS, N), normal(N), normal(N), normal(ROWS, N), normal(ROWS), normal(ROWS), ROWS, N, 0.1
    ],
    "backward": lambda: [*matrices(2), normal(N), normal(ROWS), normal(ROWS), normal(ROWS, N), ROWS, N],
    "columns": lambda: [*matrices(2), normal(ROWS), normal(ROWS), *NO_SUMS, normal(N), normal(N), ROWS, N, ROWS],
}  # fmt: skip

Case = tuple[str, tuple[tuple[int, ...], tuple[int, ...]], Callable[[], list[Any]], dict[str, Any]]
CASES: dict[str, Case] = {
    "bias_activation_forward": (
        "bias_activation.cu", ONE_ROW, lambda: [normal(ROWS, N), normal(N), *matrices(2), ROWS, N, 0.0], RELU),
    "bias_activation_backward": (
        "bias_activation.cu", COLUMNS, lambda: [*matrices(3), *NO_SUMS, normal(N), ROWS, N, ROWS, 0.0], RELU),
    "sum_columns": ("reduce.cu", COLUMNS, lambda: [normal(ROWS, N), *NO_SUMS, normal(N), ROWS, N, ROWS], {}),
    "gather": ("gather.cu", ONE_ROW, lambda: [words(ROWS, N), integers(3, 0, 5), words(3, N), ROWS, N, 3], {}),
    "gather_batch": ("gather.cu", ONE_ROW, batch, {}),
    **{f"layer_norm_{name}": ("layer_norm.cu", COLUMNS if name == "columns" else ONE_ROW, arguments, {})
       for name, arguments in LAYER_NORM.items()},
    **{f"batch_norm_{name}": ("batch_norm.cu", COLUMNS, arguments, {}) for name, arguments in BATCH_NORM.items()},
    "glu_forward": ("glu.cu", ONE_ROW, lambda: [normal(ROWS, 2 * N), normal(ROWS, N), ROWS, N, 0.0], RELU),
    "glu_backward": (
        "glu.cu", ONE_ROW, lambda: [normal(ROWS, N), normal(ROWS, 2 * N), normal(ROWS, 2 * N), ROWS, N, 0.0], RELU),
    "conv2d_output": (
        "convolution.cu", ONE_ROW, lambda: [normal(3, 2, N), normal(3), normal(2, 3, N), normal(2, 3, N), 2, 3, N, 0.0],
        RELU),
    "conv2d_output_backward": (
        "convolution.cu", ((1, 3), (256,)),
        lambda: [normal(2, 3, N), normal(2, 3, N), normal(3, 2, N), None, None, normal(3), 2, 3, N, 0.0], RELU),
    "dropout_forward": (
        "dropout.cu", ONE_ROW,
        lambda: [*matrices(2), np.zeros((ROWS, N), bool), integers(7), 3, 0, 0, ROWS * N, 0.5, 2.0], {}),
    "add_gradient": (
        "gradient_sum.cu", ONE_ROW,
        lambda: [normal(2 * N), normal(2 * N) + 1, normal(1), normal(2), normal(2), 2 * N, 1, 2, 2.0], {}),
    "begin_step": (
        "optimizers.cu", ONE_ROW,
        lambda: [normal(2 * N), np.ones(1), normal(1), normal(1), integers(0, 0, 0), 2 * N, 1, 1, np.inf], {}),
    "sgd": (
        "optimizers.cu", ONE_ROW, lambda: step(normal(2 * N), normal(2 * N), normal(2 * N), 2 * N, 0.9, 0.1, True), {}),
    "adam": (
        "optimizers.cu", ONE_ROW,
        lambda: step(normal(2 * N), normal(2 * N), normal(2 * N), normal(2 * N) ** 2, 2 * N, 0.9, 0.99,
                     np.log(0.9), np.log(0.99), 0.1, 0.01, 1e-8, 0.0, False), {}),
    "average": ("optimizers.cu", ONE_ROW, lambda: step(normal(2 * N), normal(2 * N), 2 * N, 0.25), {}),
}  # fmt: skip
PLACES = [
    (name, place, by)
    for name, (_, _, arguments, _) in CASES.items()
    for place, a in enumerate(arguments())
    for by in (4, 8)
    if isinstance(a, np.ndarray) and by % a.itemsize == 0
]


def moved(a: np.ndarray, by: int) -> np.ndarray:
    """Return a copy that begins `by` bytes after a multiple of 16."""
    memory = np.zeros(a.nbytes + 32, np.uint8)
    begin = -memory.ctypes.data % 16 + by
    copy = memory[begin : begin + a.nbytes].view(a.dtype).reshape(a.shape)
    copy[...] = a
    return copy


def results(name: str, place: int, by: int) -> list[np.ndarray]:
    """Run a kernel with the array at `place` moved, the others aligned; return all its arrays."""
    file, (grid, block), arguments, options = CASES[name]
    given = [moved(a, by if i == place else 0) if isinstance(a, np.ndarray) else a for i, a in enumerate(arguments())]
    run(Kernel(file, name), grid, block, *given, options=options)
    return [a for a in given if isinstance(a, np.ndarray)]


@pytest.mark.parametrize(("name", "place", "by"), PLACES, ids=str)
def test_an_array_that_is_not_aligned_gives_the_same_results(name: str, place: int, by: int) -> None:
    for a, expected in zip(results(name, place, by), results(name, place, 0), strict=True):
        np.testing.assert_allclose(a, expected, rtol=1e-5, atol=1e-6)
