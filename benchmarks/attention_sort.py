"""Acceptance test of attention: a one-layer transformer learns to sort, seeds 0 to 2.

    python benchmarks/attention_sort.py

A row is five different digits; its labels are the same digits in sorted order: one of ten classes for each position,
labels (rows, positions). Of the 30,240 possible rows, 10 % are held out. Every position of every held-out row must be
correct, and each run must take at most 60 seconds on two CPU cores. Prints a table; exits with 1 if a condition fails.
"""

from __future__ import annotations

import itertools
import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported; the products are too small for threads

import numpy as np

import gpunet as gn

SEEDS = range(3)
MAX_SECONDS = 60.0
DIGITS, LENGTH, WIDTH = 10, 5, 64
BATCH, EPOCHS = 108, 12


def train(seed: int) -> tuple[float, float]:
    """Train with a seed; return the fractions of held-out rows and of their positions that are correct."""
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
    correct = model.predict(X[:held_out]) == y[:held_out]
    return correct.all(axis=1).mean(), correct.mean()


def main() -> int:
    good = True
    print("seed  rows correct  positions correct  seconds")
    for seed in SEEDS:
        began = time.perf_counter()
        rows, positions = train(seed)
        seconds = time.perf_counter() - began
        print(f"{seed:4}  {rows:12.4f}  {positions:17.5f}  {seconds:7.1f}", flush=True)
        good &= bool(rows == 1) and seconds <= MAX_SECONDS
    print("ok" if good else "FAILED")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
