"""The acceptance runs of attention: a transformer of one layer learns to sort, seeds 0 to 2.

    python benchmarks/attention_sort.py

A row is eight of the numbers 0 to 15, and its label at each position is the number that stands there once the row is
sorted: a class out of 16 for each of (rows, positions). No held-out row occurs in training. Of 2,000 held-out rows all
positions must be right, and each run must end within 60 seconds on two CPU cores. Prints a table; exits with 1 where it
does not hold.
"""

from __future__ import annotations

import sys
import time

import numpy as np

import gpunet as gn

SEEDS = range(3)
LEAST_ROWS, MOST_SECONDS = 1.0, 60.0
NUMBERS, LENGTH, WIDTH = 16, 8, 64
ROWS, HELD_OUT, BATCH, EPOCHS = 20_000, 2_000, 100, 20


def rows_and_sorted(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ROWS rows, no two alike, (ROWS, LENGTH) in random order, and the same sorted."""
    rng = np.random.default_rng(seed)
    drawn = rng.permuted(np.tile(np.arange(NUMBERS), (ROWS + 100, 1)), axis=1)[:, :LENGTH]
    rows = rng.permutation(np.unique(drawn, axis=0))[:ROWS]
    return rows, np.sort(rows, axis=1)


def train(seed: int) -> tuple[float, float]:
    """Return the shares of the held-out rows and of their positions that are right."""
    X, y = rows_and_sorted(seed)
    rng = np.random.default_rng(seed)
    model = gn.Sequential(
        gn.Embedding(NUMBERS, WIDTH, rng=rng),
        gn.SinusoidalPositions(),
        gn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, rng=rng),
        gn.LayerNorm(WIDTH),
        gn.Linear(WIDTH, NUMBERS, rng=rng),
    )
    steps = EPOCHS * (ROWS - HELD_OUT) // BATCH
    trainer = gn.Trainer(model, optimizer=gn.Adam(gn.CosineLR(3e-3, steps)), seed=seed)
    trainer.fit(X[HELD_OUT:], y[HELD_OUT:], epochs=EPOCHS, batch_size=BATCH)
    right = model.predict(X[:HELD_OUT]) == y[:HELD_OUT]
    return right.all(axis=1).mean(), right.mean()


def main() -> int:
    good = True
    print("seed  rows right  positions right  seconds")
    for seed in SEEDS:
        began = time.perf_counter()
        rows, positions = train(seed)
        seconds = time.perf_counter() - began
        print(f"{seed:4}  {rows:10.4f}  {positions:15.5f}  {seconds:7.1f}", flush=True)
        good &= bool(rows >= LEAST_ROWS) and seconds <= MOST_SECONDS
    print("ok" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
