"""The patches of images as columns of a matrix (im2col), and its transpose (col2im).

    columns = im2col(x)     each column is the patch under a window, channel by channel, tap by tap
    dx = col2im(dcolumns)   each pixel gets the sum of its entries in all patches that contain it

x is (rows, channels, height, width); columns is (..., rows·windows) with channels·taps rows in all. col2im adds in the
order of the taps.
"""

from __future__ import annotations

import itertools
import math

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array, array_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.ops.window import Window
from gpunet.tape import Tape, empty

IM2COL = Kernel("convolution.cu", "im2col")
COL2IM = Kernel("convolution.cu", "col2im")


def im2col(x: Array, window: Window, columns: Array, tape: Tape | None) -> None:
    """Write the patches of `x` to `columns`, which is C-contiguous."""
    xp, places = array_module(x), window.places("im2col", x.shape[2:])
    if xp is not np:
        pieces = x.shape[1] * len(x) * math.prod(places)  # a thread writes all taps of a channel
        sizes = *x.shape, *places, *itertools.chain(*window)
        IM2COL((block_count(pieces, THREADS),), (THREADS,), operand(x, tape, xp), columns, *sizes)
        return
    if any(window.padding):
        columns.fill(0)
    patches = columns.reshape(x.shape[1], math.prod(window.kernel_size), len(x), *places)
    channels_first = x.swapaxes(0, 1)
    for tap, pixels, windows in window.taps(x.shape[2:], places):
        patches[:, tap][windows] = channels_first[pixels]


def col2im(columns: Array, window: Window, shape: tuple[int, ...], tape: Tape | None) -> Array:
    """Return images of the given shape with the summed entries of `columns`, which is C-contiguous."""
    xp, places = array_module(columns), window.places("col2im", shape[2:])
    x = empty(tape, shape, columns.dtype, xp)
    if xp is not np:
        sizes = *shape, *places, *itertools.chain(*window)
        COL2IM((block_count(x.size, THREADS),), (THREADS,), columns, x, *sizes)
        return x
    x.fill(0)
    patches = columns.reshape(shape[1], math.prod(window.kernel_size), shape[0], *places)
    channels_first = x.swapaxes(0, 1)
    for tap, pixels, windows in window.taps(shape[2:], places):
        sums = channels_first[pixels]
        np.add(sums, patches[:, tap][windows], out=sums)
    return x
