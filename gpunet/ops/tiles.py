"""Tile sizes of the matrix product: those that the plan chooses from, and those that `gpunet tune` tries."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class Tile(NamedTuple):
    """The tile sizes of a block. All fields but the last, in this order, are the option TILE of the kernels.

    Attributes:
        bm, bn: rows and columns of the block tile.
        bk: depth of a main-loop step along k.
        wm, wn: rows and columns of the warp tile.
        tm, tn: rows and columns of the thread tile; 0 on tensor cores.
        stages: main-loop steps that are buffered in shared memory.
        slices: number of k-slices. Each is a group of warps that computes an equal part of every step.
        min_blocks: minimum resident blocks per SM, which bounds the registers of a thread.
    """

    bm: int
    bn: int
    bk: int
    wm: int
    wn: int
    tm: int = 0
    tn: int = 0
    stages: int = 3
    slices: int = 1
    min_blocks: int = 1

    @property
    def slice_threads(self) -> int:
        """Threads of a slice."""
        return 32 * (self.bm // self.wm) * (self.bn // self.wn)

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return self.slice_threads * self.slices

    def part_size(self, column_sums: bool) -> int:
        """Return the number of sums that a block stores: its tile and, if `column_sums`, the sums of its columns."""
        columns = self.tn or math.ceil(self.bn / self.threads)  # per thread
        return self.bm * self.bn + self.slice_threads * columns * column_sums

    def blocks(self, m: int, n: int) -> int:
        """Return the number of tiles of a result with m rows and n columns."""
        return math.ceil(m / self.bm) * math.ceil(n / self.bn)

    @property
    def shape(self) -> str:
        """The value of TILE, such as "64,64,8,32,32,8,4,3,1"."""
        return ",".join(map(str, self[:-1]))

    def options(self) -> dict[str, str | int]:
        """Return the compiler options of the kernel."""
        return {"TILE": self.shape, "MIN_BLOCKS": self.min_blocks}

    def __str__(self) -> str:
        return f"{self.bm}x{self.bn}x{self.bk}" + (f" in {self.slices} slices" if self.slices > 1 else "")


FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

TILES = {
    ("tiled", FLOAT32): (
        (Tile(64, 128, 16, 64, 32, 8, 8, min_blocks=3), 6),
        (Tile(64, 64, 32, 32, 64, 8, 8, stages=2, slices=2, min_blocks=3), 1.5),
        (Tile(32, 32, 32, 32, 16, 4, 4, slices=4), 0.75),
        (Tile(16, 16, 64, 16, 16, 2, 4, stages=4, slices=4), 0),
    ),
    ("tiled", FLOAT64): (
        (Tile(64, 64, 8, 32, 32, 8, 4, min_blocks=2), 1),
        (Tile(32, 32, 16, 32, 16, 4, 4, slices=4), 0),
    ),
    ("mma", FLOAT32): (
        (Tile(128, 128, 16, 64, 32, stages=2, min_blocks=2), 1),
        (Tile(64, 64, 16, 32, 32), 1),
        (Tile(32, 32, 32, 16, 16), 0),
    ),
    ("mma3", FLOAT32): (
        (Tile(128, 128, 16, 64, 32, stages=2), 1),
        (Tile(64, 64, 16, 32, 32), 1),
        (Tile(32, 32, 32, 16, 16), 0),
    ),
}
"""Ordered from the tile with the most arithmetic per loaded byte to the tile that gives the most blocks. The number
after a tile is the minimum number of blocks per SM for which the plan takes it. Those of "tiled" were measured on an
H100; those of "mma" and "mma3" are not measured yet."""

_TENSOR_CORES = (
    Tile(128, 128, 8, 64, 32),
    Tile(128, 64, 16, 64, 32),
    Tile(64, 128, 16, 64, 32),
    Tile(64, 64, 32, 32, 32, stages=2),
    Tile(64, 32, 32, 32, 16),
    Tile(32, 64, 32, 16, 32),
    Tile(32, 32, 16, 16, 16, stages=4),
    Tile(16, 32, 32, 16, 16),
    Tile(32, 16, 32, 16, 16),
)

# tests/compiler/kernels/resources.py shows that none spills registers on sm_75 and sm_90
CANDIDATES: dict[tuple[str, np.dtype[Any]], tuple[Tile, ...]] = {
    ("tiled", FLOAT32): (
        *(tile for tile, _ in TILES["tiled", FLOAT32]),
        Tile(256, 128, 8, 64, 64, 16, 8),
        Tile(128, 256, 8, 64, 64, 8, 16),
        Tile(128, 128, 8, 64, 32, 8, 8),
        Tile(128, 64, 16, 64, 32, 8, 8, min_blocks=3),
        Tile(128, 64, 16, 64, 32, 8, 8, stages=2, slices=2),
        Tile(64, 64, 16, 32, 32, 8, 4),
        Tile(64, 64, 16, 32, 64, 8, 8, slices=2),
        Tile(64, 32, 32, 32, 16, 4, 4, stages=2, slices=2),
        Tile(32, 64, 16, 16, 32, 4, 4),
        Tile(32, 64, 32, 16, 32, 4, 4, slices=2),
        Tile(32, 32, 32, 32, 16, 4, 4, slices=2),
        Tile(32, 32, 64, 32, 16, 4, 4, stages=2, slices=2),
        Tile(32, 32, 32, 32, 32, 8, 4, slices=8),
        Tile(16, 32, 32, 16, 32, 4, 4, slices=4),  # from here on: few outputs, few inputs, small batches
        Tile(32, 16, 64, 32, 16, 4, 4, slices=4),
        Tile(16, 16, 16, 16, 16, 2, 4),
        Tile(16, 16, 32, 16, 16, 2, 4, slices=2),
        Tile(16, 16, 64, 16, 16, 2, 4, slices=8),
    ),
    ("tiled", FLOAT64): (
        *(tile for tile, _ in TILES["tiled", FLOAT64]),
        Tile(64, 32, 16, 32, 16, 4, 4),
        Tile(32, 64, 16, 16, 32, 4, 4),
        Tile(32, 32, 16, 16, 16, 2, 4),
        Tile(16, 16, 32, 16, 16, 2, 4, slices=4),
    ),
    ("mma", FLOAT32): (
        *(tile for tile, _ in TILES["mma", FLOAT32]),
        Tile(256, 128, 8, 64, 64, stages=2),
        *_TENSOR_CORES,
    ),
    ("mma3", FLOAT32): (*(tile for tile, _ in TILES["mma3", FLOAT32]), *_TENSOR_CORES),
}
