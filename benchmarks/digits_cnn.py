"""Acceptance test of convolutions: a small CNN on the digits, seeds 0 to 2.

    python benchmarks/digits_cnn.py

The mean test accuracy must be at least 0.985, and each run must take at most 60 seconds on two CPU cores. The test part
is that of `gpunet train digits`. The network trains on all other rows; its settings were chosen by cross-validation on
them. Prints a table; exits with 1 if a condition fails.
"""

from __future__ import annotations

import os
import sys
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")  # before NumPy is imported; the products are too small for threads

import numpy as np

import gpunet as gn

SEEDS = range(3)
MIN_MEAN, MAX_SECONDS = 0.985, 60.0
EPOCHS, BATCH_SIZE = 40, 32


def cnn(seed: int) -> gn.Sequential:
    rng = np.random.default_rng(seed)
    return gn.Sequential(
        gn.Conv2d(1, 16, 3, padding=1, rng=rng),
        gn.ReLU(),
        gn.Conv2d(16, 32, 3, padding=1, rng=rng),
        gn.ReLU(),
        gn.MaxPool2d(2),
        gn.Conv2d(32, 64, 3, padding=1, rng=rng),
        gn.ReLU(),
        gn.Flatten(),
        gn.Dropout(0.5),
        gn.Linear(64 * 4 * 4, 10, rng=rng),
    )


def accuracy(seed: int) -> float:
    """Train with a seed; return the accuracy on the test part."""
    digits = gn.data.digits()
    X, y = digits.X.reshape(-1, 1, 8, 8) / 16, digits.y
    *rest, test = gn.data.split_indices(y, (0.64, 0.16, 0.2), seed=0)  # the parts of `gpunet train`
    train = np.concatenate(rest)
    schedule = gn.CosineLR(0.002, EPOCHS * -(-len(train) // BATCH_SIZE))
    trainer = gn.Trainer(
        cnn(seed), loss=gn.CrossEntropyLoss(label_smoothing=0.1), optimizer=gn.AdamW(schedule), seed=seed
    )
    trainer.fit(X[train], y[train], epochs=EPOCHS, batch_size=BATCH_SIZE)
    return trainer.evaluate(X[test], y[test])["accuracy"]


def main() -> int:
    accuracies, times = [], []
    print("seed    test  seconds")
    for seed in SEEDS:
        began = time.perf_counter()
        accuracies.append(accuracy(seed))
        times.append(time.perf_counter() - began)
        print(f"{seed:4}  {accuracies[-1]:6.4f}  {times[-1]:7.1f}", flush=True)
    mean = sum(accuracies) / len(accuracies)
    good = mean >= MIN_MEAN and max(times) <= MAX_SECONDS
    print(f"mean test accuracy {mean:.4f}, longest run {max(times):.1f} s: {'ok' if good else 'FAILED'}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
