"""The acceptance run of attention: a transformer of one layer learns to sort.

    python benchmarks/attention_sort.py

Rows of ten digits; the label at a position is the digit that stands there once the row is sorted. No row of the held-out
part occurs in the training part. On each of the seeds 0 to 2 every position of every held-out row must be right, and the
run, the interpreter's start included, must end within 60 seconds on two CPU cores. Prints a table; exits with 1 where it
does not hold.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import numpy as np

import gpunet as gn

SEEDS = range(3)
MOST_SECONDS = 60.0
DIGITS, LENGTH, TRAINED, HELD_OUT, WIDTH = 10, 10, 20_000, 2_000, 64


def sequences(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return rows of digits (TRAINED + HELD_OUT, LENGTH), no two alike, and the same sorted."""
    numbers = np.random.default_rng(seed).choice(DIGITS**LENGTH, TRAINED + HELD_OUT, replace=False)
    rows = numbers[:, None] // DIGITS ** np.arange(LENGTH) % DIGITS
    return rows, np.sort(rows, axis=1)


def train(seed: int) -> tuple[float, float]:
    """Return the share of held-out positions that are right, and of rows that are right as a whole."""
    X, y = sequences(seed)
    rng = np.random.default_rng(seed)
    model = gn.Sequential(
        gn.Embedding(DIGITS, WIDTH, rng=rng),
        gn.SinusoidalPositions(),
        gn.TransformerEncoderLayer(WIDTH, 4, 2 * WIDTH, dropout=0, activation="gelu", rng=rng),
        gn.LayerNorm(WIDTH),
        gn.Linear(WIDTH, DIGITS, rng=rng),
    )
    steps=EPOCHS*TRAINED//100
    trainer = gn.Trainer(model, optimizer=gn.Adam(gn.CosineLR(3e-3, steps)), seed=seed)
    for e in range(EPOCHS):
      t=time.time()
      trainer.fit(X[:TRAINED], y[:TRAINED], epochs=1, batch_size=100)
      print(trainer.history.epochs[-1], trainer.evaluate(X[TRAINED:],y[TRAINED:]), time.time()-t, flush=True)
    right = model.predict(X[TRAINED:]) == y[TRAINED:]
    return float(right.mean()), float(right.all(axis=1).mean())
EPOCHS=8

