"""The acceptance runs of attention: a transformer of one layer learns to sort, seeds 0 to 2.

    python benchmarks/attention_sort.py

A row is five different digits; its labels are the digits that stand at each position once the row is sorted: one class
out of ten for each of (rows, positions). A tenth of the 30,240 rows that there are is held out. Every position of every
one of them must be right, and each run must end within 60 seconds on two CPU cores. Prints a table; exits with 1 where
it does not hold.
"""

from __future__ import annotations

import itertools
import sys
import time

import numpy as np

import gpunet as gn

SEEDS = range(3)
MOST_SECONDS = 60.0
DIGITS, LENGTH, WIDTH = 10, 5, 64
BATCH, EPOCHS = 108, 12


def train(seed: int) -> tuple[float, float]:
    """Return the shares of the held-out rows and of their positions that are right."""
    rng = np.random.default_rng(seed)
    X = rng.permutation(list(itertools.permutations(range(DIGITS), LENGTH)))
    y, held_out = np.sort(X, axis=1), len(X) // 10
    model = gn.Sequential(
        gn.Embedding(DIGITS, WIDTH, rng=rng),
        gn.SinusoidalPositions(),
        gn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0.0, rng=rng),
        gn.LayerNorm(WIDTH),
        gn.Linear(WIDTH, DIGITS, rng=rng),
    )
    steps = EPOCHS * (len(X) - held_out) // BATCH
    trainer = gn.Trainer(model, optimizer=gn.Adam(gn.CosineLR(3e-3, steps)), seed=seed)
    trainer.fit(X[held_out:], y[held_out:], epochs=EPOCHS, batch_size=BATCH)
    right = model.predict(X[:held_out]) == y[:held_out]
    return right.all(axis=1).mean(), right.mean()


def main() -> int:
    good = True
    print("seed  rows right  positions right  seconds")
    for seed in SEEDS:
        began = time.perf_counter()
        rows, positions = train(seed)
        seconds = time.perf_counter() - began
        print(f"{seed:4}  {rows:10.4f}  {positions:15.5f}  {seconds:7.1f}", flush=True)
        good &= bool(rows == 1) and seconds <= MOST_SECONDS
    print("ok" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
