"""A grid smaller than the work gives the results of one that covers it: threads stride over the rest.

The operations launch such grids only for arrays beyond their maximum number of blocks.
"""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from compiler.kernels.checked import run

from gpunet.cuda import Kernel

UNITS, WARPS = (30, 20), 20  # more than the 256 threads and the 8 warps of a block
ENOUGH = 5
IMAGES, IMAGE, OUT = 5, (9, 9), (8, 8)
WINDOWS = IMAGES, *IMAGE, *OUT, 2, 2, 1, 1, 0, 0


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(np.float32)


def units(count: int) -> list[np.ndarray]:
    return [normal(*UNITS) + i for i in range(count)]


def winners() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 4, (IMAGES, *OUT)).astype(np.int32)


def pairs() -> list[Any]:
    given = normal(WARPS, 2, 40), np.sign(normal(WARPS)), None, None
    sums = np.zeros(ENOUGH, np.float32), np.zeros(1, np.uint32)
    return [*given, np.zeros((WARPS, 2, 40), np.float32), *sums, normal(1), WARPS, 40, 0.1, 1e-6]


SIZE = UNITS[0] * UNITS[1]
CASES: dict[str, tuple[str, Callable[[], list[Any]]]] = {
    "lstm_forward": ("lstm.cu", lambda: [normal(4, *UNITS), normal(4, *UNITS), *units(3), *UNITS]),
    "lstm_backward": ("lstm.cu", lambda: [*units(5), normal(4, *UNITS), *UNITS]),
    "rnn_forward": ("rnn.cu", lambda: [*units(2), SIZE]),
    "rnn_backward": ("rnn.cu", lambda: [*units(4), SIZE]),
    "cosine_similarity": ("cosine.cu", lambda: [normal(WARPS, 40), normal(WARPS, 40), normal(WARPS), WARPS, 40, 0.1]),
    "cosine_similarity_backward": (
        "cosine.cu", lambda: [normal(WARPS), *(normal(WARPS, 40) + i for i in range(4)), WARPS, 40, 0.1]),
    "cosine_embedding": ("cosine.cu", pairs),
    "max_pool2d_forward": (
        "pooling.cu", lambda: [normal(IMAGES, *IMAGE), normal(IMAGES, *OUT), winners(), *WINDOWS, 1, 1]),
    "max_pool2d_backward": (
        "pooling.cu", lambda: [normal(IMAGES, *OUT), winners(), normal(IMAGES, *IMAGE), *WINDOWS, 1, 1]),
    "avg_pool2d_forward": ("pooling.cu", lambda: [normal(IMAGES, *IMAGE), normal(IMAGES, *OUT), *WINDOWS]),
    "avg_pool2d_backward": ("pooling.cu", lambda: [normal(IMAGES, *OUT), normal(IMAGES, *IMAGE), *WINDOWS]),
    "global_avg_pool2d_forward": ("pooling.cu", lambda: [normal(WARPS, 40), normal(WARPS), WARPS, 40]),
    "global_avg_pool2d_backward": ("pooling.cu", lambda: [normal(WARPS), normal(WARPS, 40), WARPS, 40]),
    "attention_softmax_forward": (
        "attention.cu", lambda: [normal(WARPS, 40), None, None, WARPS, 1, 1, WARPS, 40, 0, 0, 0, 0, 1, 0.5]),
    "attention_softmax_backward": ("attention.cu", lambda: [normal(WARPS, 40), normal(WARPS, 40) + 1, WARPS, 40, 0.5]),
}  # fmt: skip


def results(name: str, blocks: int) -> list[np.ndarray]:
    """Run a kernel in a grid of `blocks`; return its arrays, without partial sums."""
    file, arguments = CASES[name]
    given = arguments()
    run(Kernel(file, name), (blocks,), (256,), *given, options={"ACTIVATION": "tanh"})
    return [a for a in given if isinstance(a, np.ndarray) and a.shape != (ENOUGH,)]


@pytest.mark.parametrize("name", CASES)
def test_one_block_gives_the_results_of_enough_blocks(name: str) -> None:
    for a, expected in zip(results(name, 1), results(name, ENOUGH), strict=True):
        np.testing.assert_allclose(a, expected, rtol=1e-6)
