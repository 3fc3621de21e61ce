"""The tiles of a matrix product: those that the plan chooses from by itself, and those that `gpunet tune` tries."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np


class Tile(NamedTuple):
    """The tile of the result that a block computes, its step along k, and the tiles of a warp and of a thread.

    A tensor core hands out a warp's tile to its threads itself: no `tm` and `tn` then.
    """

    bm: int
    bn: int
    bk: int
    wm: int
    wn: int
    tm: int = 0
    tn: int = 0

    @property
    def threads(self) -> int:
        """Threads of a block."""
        return 32 * (self.bm // self.wm) * (self.bn // self.wn)

    @property
    def part_size(self) -> int:
        """Sums that a block holds: of its tile, and of the tile's columns."""
        return self.bm * self.bn + math.ceil(self.bn / self.threads) * self.threads

    def blocks(self, m: int, n: int) -> int:
        """Return how many tiles a result of m rows and n columns has."""
        return math.ceil(m / self.bm) * math.ceil(n / self.bn)

    def __str__(self) -> str:
        return f"{self.bm}x{self.bn}x{self.bk}"


FLOAT32, FLOAT64 = np.dtype(np.float32), np.dtype(np.float64)

TILES = {  # from the one that does the most with a byte to the one that makes the most blocks
    ("tiled", FLOAT32): (
        Tile(128, 128, 8, 64, 32, 8, 8),
        Tile(64, 64, 8, 32, 32, 8, 4),
        Tile(32, 32, 16, 32, 16, 4, 4),
    ),
    ("tiled", FLOAT64): (Tile(64, 64, 8, 32, 32, 8, 4), Tile(32, 32, 16, 32, 16, 4, 4)),
    ("mma", FLOAT32): (Tile(64, 64, 16, 32, 32), Tile(32, 32, 16, 16, 16)),
}

CANDIDATES = {  # of the kernel "tiled"; resources.py of the tests shows that none spills on any GPU
    FLOAT32: (
        *TILES["tiled", FLOAT32],
        Tile(256, 128, 8, 64, 64, 16, 8),
        Tile(128, 128, 16, 64, 32, 8, 8),
        Tile(128, 64, 8, 64, 32, 8, 8),
        Tile(64, 128, 8, 32, 64, 8, 8),
        Tile(64, 64, 16, 32, 32, 8, 4),
        Tile(64, 32, 16, 32, 16, 4, 4),
        Tile(32, 64, 16, 16, 32, 4, 4),
        Tile(32, 32, 32, 16, 16, 2, 4),
        Tile(128, 16, 16, 32, 16, 4, 4),  # from here on for layers of few outputs, few inputs, small batches
        Tile(64, 16, 32, 32, 16, 4, 4),
        Tile(16, 64, 32, 16, 32, 4, 4),
        Tile(32, 16, 32, 16, 16, 2, 4),
        Tile(16, 32, 32, 16, 16, 2, 4),
        Tile(16, 16, 32, 16, 16, 2, 4),
    ),
    FLOAT64: (
        *TILES["tiled", FLOAT64],
        Tile(64, 32, 16, 32, 16, 4, 4),
        Tile(32, 64, 16, 16, 32, 4, 4),
        Tile(32, 32, 32, 16, 16, 2, 4),
        Tile(64, 16, 16, 32, 16, 4, 4),
        Tile(16, 16, 32, 16, 16, 2, 4),
    ),
}
