"""Counter-based random numbers: each number depends only on its key and position, not on earlier draws.

The generator is Philox4x64-10 (Salmon et al. 2011), as in NumPy. A dropout mask is therefore the same on every device,
for any number of ranks, and after a resume.
"""

from __future__ import annotations

import math
import threading
from functools import cached_property
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, DTypeError

_UNIFORM, _PERMUTATION = 0, 1  # the second word of the key: separate streams for the two functions


class _Local(threading.local):
    """One generator per thread: a call sets its state and then draws, which is faster than making a new one."""

    @cached_property  # created when first needed, because importing np.random is slow
    def generator(self) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=0))


_local = _Local()


def _word(name: str, value: int) -> int:
    """Return `value` as an int for an unsigned 64-bit word of the key or the counter."""
    if isinstance(value, int | np.integer) and 0 <= value < 2**64:
        return int(value)
    raise ArgumentError(f"{name}={value!r}: give an integer from 0 to 2**64 - 1.")


def _seek(stream: int, seed: int, block: int, step: int, draw: int) -> np.random.Generator:
    """Return this thread's generator, positioned at the first word of a block."""
    state: Any = {
        "bit_generator": "Philox",
        "state": {"counter": (block, step, draw, 0), "key": (seed, stream)},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,  # the buffer is used up: the next draw generates a block
        "has_uint32": 0,
        "uinteger": 0,
    }
    generator = _local.generator
    generator.bit_generator.state = state
    return generator


def uniform(out: np.ndarray, *, seed: int, step: int, draw: int, first_row: int = 0) -> None:
    """Fill `out` with uniform float32 numbers in [0, 1); each depends only on the arguments and its position.

    Element `(row, col)` of rows of `width` elements has the position `e = (first_row + row) * width + col`, so a batch
    can be split by rows. The Philox block of key `(seed, 0)` and counter `(e // 8 + 1, step, draw, 0)` consists of
    eight 32-bit numbers, the low half of each word first. Number `e % 8` of them, `u`, gives `(u >> 8) * 2**-24`.

    Args:
        out: C-contiguous, writable float32 host array (rows, ...), in native byte order.
        seed: seed of the training; like the other numbers an integer from 0 to 2**64 - 1.
        step: number of the training step.
        draw: number of the draw within the step; each dropout layer makes one.
        first_row: global index of the first row of `out`.
    """
    if out.dtype != np.float32:
        raise DTypeError(f"out has dtype {out.dtype}; give a float32 array in native byte order.")
    if not out.flags.carray:
        raise ArgumentError("out is not C-contiguous, aligned and writable; give an array made by numpy.empty.")
    seed, step, draw = _word("seed", seed), _word("step", step), _word("draw", draw)
    block, drop = divmod(_word("first_row", first_row) * math.prod(out.shape[1:]), 8)
    generator = _seek(_UNIFORM, seed, block, step, draw)
    if drop:
        generator.random(drop, dtype=np.float32)
    generator.random(out=out, dtype=np.float32)


def permutation(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order of the n samples in an epoch, int64 (n,); arguments are integers from 0 to 2**64 - 1.

    It is `Generator.permutation` on Philox with key `(seed, 1)` and counter `(0, epoch, 0, 0)`.
    """
    generator = _seek(_PERMUTATION, _word("seed", seed), block=0, step=_word("epoch", epoch), draw=0)
    return generator.permutation(_word("n", n))
