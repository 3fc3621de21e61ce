"""The tiles of a matrix product: those that the plan chooses from by itself, and those that `gpunet tune` tries."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np


class Tile(NamedTuple):
    """How a block computes its part of the result: `TileShape` of the kernel "tiled", in its order; also for "mma".

    Attributes:
        bm: rows of the block's tile.
        bn: its columns.
        bk: its step along k.
        wm: rows of a warp's tile.
        wn: its columns.
        tm: rows of a thread's tile; 0 on tensor cores, which hand out a warp's tile to its threads themselves.
        tn: its columns; 0 on tensor cores.
        stages: steps along k that have room in shared memory.
        slices: groups of warps that share each step.
        min_blocks: resident blocks per SM that the registers of a thread are bounded for.
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
        """Return how many sums a block has in the end: of its tile and, where asked for, of the tile's columns."""
        columns = self.tn or math.ceil(self.bn / self.threads)  # of a thread
        return self.bm * self.bn + self.slice_threads * columns * column_sums

    def blocks(self, m: int, n: int) -> int:
        """Return how many tiles a result of m rows and n columns has."""
        return math.ceil(m / self.bm) * math.ceil(n / self.bn)

    @property
    def shape(self) -> str:
        """The arguments of the kernels' `TileShape`, such as "64,64,8,32,32,8,4,3,1"."""
        return ",".join(map(str, self[:-1]))

    def options(self) -> dict[str, str | int]:
        """Return the options of the kernel."""
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
        (Tile(64, 64, 16, 32, 32), 1),
        (Tile(32, 32, 16, 16, 16), 0),
    ),
}
"""From the one that does the most with a byte to the one that makes the most blocks. The number beside a tile says from
how many blocks a multiprocessor on it is taken; it was found on an H100."""

# of the kernel "tiled"; resources.py of the tests shows that none spills on sm_75 and sm_90
CANDIDATES: dict[np.dtype[Any], tuple[Tile, ...]] = {
    FLOAT32: (
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
        Tile(16, 32, 32, 16, 32, 4, 4, slices=4),  # from here on for layers of few outputs, few inputs, small batches
        Tile(32, 16, 64, 32, 16, 4, 4, slices=4),
        Tile(16, 16, 16, 16, 16, 2, 4),
        Tile(16, 16, 32, 16, 16, 2, 4, slices=2),
        Tile(16, 16, 64, 16, 16, 2, 4, slices=8),
    ),
    FLOAT64: (
        *(tile for tile, _ in TILES["tiled", FLOAT64]),
        Tile(64, 32, 16, 32, 16, 4, 4),
        Tile(32, 64, 16, 16, 32, 4, 4),
        Tile(32, 32, 16, 16, 16, 2, 4),
        Tile(16, 16, 32, 16, 16, 2, 4, slices=4),
    ),
}
