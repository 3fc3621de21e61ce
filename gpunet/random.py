"""Counter-based random numbers: pure functions of where a number is used, never of what was drawn before it.

The generator is Philox4x64-10 (Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", 2011), as NumPy's
`Generator(Philox(key=..., counter=...))` draws from it. A dropout mask is therefore the same on the CPU and on a GPU,
for any number of ranks, and after a resumed training.
"""

from __future__ import annotations

import math
import threading
from functools import cached_property
from typing import Any

import numpy as np

from gpunet.errors import ArgumentError, DTypeError

_UNIFORM, _PERMUTATION = 0, 1  # the key's second word: the streams of two purposes never meet


class _Local(threading.local):
    """One generator per thread, since a call sets its state and then draws; making one costs more than both."""

    @cached_property  # made when it is first needed: np.random is slow to come
    def generator(self) -> np.random.Generator:
        return np.random.Generator(np.random.Philox(key=0))


_local = _Local()


def _word(name: str, value: int) -> int:
    """Return `value` as an int that fits one unsigned 64-bit word of the key or the counter."""
    if isinstance(value, int | np.integer) and 0 <= value < 2**64:
        return int(value)
    raise ArgumentError(f"{name}={value!r}: give an integer from 0 to 2**64 - 1.")


def _seek(stream: int, seed: int, block: int, step: int, draw: int) -> np.random.Generator:
    """Return this thread's generator, about to draw the first word of a block."""
    state: Any = {
        "bit_generator": "Philox",
        "state": {"counter": (block, step, draw, 0), "key": (seed, stream)},
        "buffer": (0, 0, 0, 0),
        "buffer_pos": 4,  # all used up: the next draw makes a block
        "has_uint32": 0,
        "uinteger": 0,
    }
    generator = _local.generator
    generator.bit_generator.state = state
    return generator


def uniform(out: np.ndarray, *, seed: int, step: int, draw: int, first_row: int = 0) -> None:
    """Fill `out` with uniform float32 numbers in [0, 1), each a function of its place alone.

    Element `(row, col)` of rows of `width` elements has the place `e = (first_row + row) * width + col`, so rows may be
    filled in any split. Its number, for a kernel that makes it again:

    - key `(seed, 0)`, counter `(e // 8 + 1, step, draw, 0)`, least significant word first. The 1 is there because NumPy
      counts up before it makes a block;
    - the block's 64-bit word `e // 2 % 4`; its low 32 bits where `e` is even, its high 32 bits where `e` is odd;
    - those 32 bits `u` give `(u >> 8) * 2**-24`, exact in float32.

    Args:
        out: C-contiguous, writable host array (rows, ...) of float32; 1-D is rows of one element.
        seed: the training's seed. Like `step`, `draw` and `first_row` it is an integer from 0 to 2**64 - 1.
        step: the training step.
        draw: which draw of that step, such as the number of the dropout layer.
        first_row: the global number of the first row of `out`.

    Raises:
        ArgumentError: an integer out of range, or an array that is not C-contiguous and writable.
        DTypeError: an array that is not float32 in native byte order.
    """
    if out.dtype != np.float32:
        raise DTypeError(f"out has dtype {out.dtype}; give a float32 array in native byte order.")
    if not out.flags.carray:
        raise ArgumentError("out is not C-contiguous, aligned and writable; give an array as numpy.empty makes it.")
    seed, step, draw = _word("seed", seed), _word("step", step), _word("draw", draw)
    block, drop = divmod(_word("first_row", first_row) * math.prod(out.shape[1:]), 8)
    generator = _seek(_UNIFORM, seed, block, step, draw)
    if drop:
        generator.random(drop, dtype=np.float32)
    generator.random(out=out, dtype=np.float32)


def permutation(n: int, *, seed: int, epoch: int) -> np.ndarray:
    """Return the order in which an epoch takes its samples: int64 (n,), a function of `seed` and `epoch` alone.

    It is `Generator.permutation` on Philox with key `(seed, 1)` and counter `(0, epoch, 0, 0)`, a stream that `uniform`
    never draws from.

    Raises:
        ArgumentError: `n`, `seed` or `epoch` is not an integer from 0 to 2**64 - 1.
    """
    generator = _seek(_PERMUTATION, _word("seed", seed), block=0, step=_word("epoch", epoch), draw=0)
    return generator.permutation(_word("n", n))
