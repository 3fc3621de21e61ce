"""Acceptance test of `gpunet.sklearn`: its MLPClassifier compared with scikit-learn's on the digits.

    python benchmarks/sklearn_digits.py [DEVICE]

Both train with default settings and seeds 0 to 4 on the same 80 % of the rows, interleaved, with one BLAS thread. Their
mean test accuracies must differ by at most 0.005. Prints accuracies, times and speedups; exits with 1 if they differ by
more.
"""

from __future__ import annotations

import statistics
import sys
import time
import warnings

from sklearn import neural_network
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from threadpoolctl import threadpool_limits

import gpunet as gn
import gpunet.sklearn

SEEDS = range(5)
MAX_DIFFERENCE = 0.005


def main(device: str = "auto") -> int:
    warnings.simplefilter("ignore", ConvergenceWarning)
    threadpool_limits(1)
    data = gn.data.digits()
    X, X_test, y, y_test = train_test_split(data.X / 16, data.y, test_size=0.2, random_state=0, stratify=data.y)
    gpunet.sklearn.MLPClassifier(max_iter=2, device=device).fit(X, y)  # untimed: imports and compiles the kernels
    accuracies: dict[str, list[float]] = {"scikit-learn": [], "gpunet": []}
    ratios = []
    print(f"{X.dtype}, {gn.current_device().name if device == 'auto' else device}\nseed  scikit-learn       gpunet")
    for seed in SEEDS:
        seconds = []
        for name, estimator in (
            ("scikit-learn", neural_network.MLPClassifier(random_state=seed)),
            ("gpunet", gpunet.sklearn.MLPClassifier(random_state=seed, device=device)),
        ):
            began = time.perf_counter()
            estimator.fit(X, y)
            seconds.append(time.perf_counter() - began)
            accuracies[name].append(estimator.score(X_test, y_test))
        ratios.append(seconds[0] / seconds[1])
        columns = (f"{accuracies[name][-1]:.4f} {s:6.2f} s" for name, s in zip(accuracies, seconds, strict=True))
        print(f"{seed:4}  {'  '.join(columns)}  speedup {ratios[-1]:.2f}", flush=True)
    means = [statistics.mean(values) for values in accuracies.values()]
    good = abs(means[0] - means[1]) <= MAX_DIFFERENCE
    print(
        f"mean accuracy {means[0]:.4f} and {means[1]:.4f}: {'ok' if good else 'FAILED'}; "
        f"median speedup {statistics.median(ratios):.2f}"
    )
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
