"""Acceptance test of `gpunet train digits` with default settings, seeds 0 to 4, on the fixed test part.

    python benchmarks/digits_accuracy.py

The mean test accuracy must be at least 0.97, each accuracy at least 0.96, and each run must take at most 30 seconds on
two CPU cores, including the interpreter's start. Prints a table; exits with 1 if a condition fails.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

SEEDS = range(5)
MIN_MEAN, MIN_EACH, MAX_SECONDS = 0.97, 0.96, 30.0


def train(seed: int, out: Path) -> tuple[dict[str, float], dict[str, float], float]:
    """Return the results on the validation and the test part, and the seconds of the command."""
    command = [sys.executable, "-m", "gpunet", "train", "digits", "--seed", str(seed), "--out", str(out), "--json"]
    began = time.perf_counter()
    done = subprocess.run(command, cwd=Path(__file__).parents[1], check=True, stdout=subprocess.PIPE, text=True)
    seconds = time.perf_counter() - began
    answer = json.loads(done.stdout)
    return answer["validation"], answer["test"], seconds


def main() -> int:
    accuracies, times = [], []
    print("seed  validation    test  seconds")
    with tempfile.TemporaryDirectory() as folder:
        for seed in SEEDS:
            validation, test, seconds = train(seed, Path(folder) / str(seed))
            print(f"{seed:4}  {validation['accuracy']:10.4f}  {test['accuracy']:6.4f}  {seconds:7.1f}", flush=True)
            accuracies.append(test["accuracy"])
            times.append(seconds)
    mean = sum(accuracies) / len(accuracies)
    good = mean >= MIN_MEAN and min(accuracies) >= MIN_EACH and max(times) <= MAX_SECONDS
    verdict = "ok" if good else "FAILED"
    print(f"mean test accuracy {mean:.4f}, minimum {min(accuracies):.4f}, longest run {max(times):.1f} s: {verdict}")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
