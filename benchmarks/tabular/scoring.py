"""Score an estimator on a split of a problem."""

from __future__ import annotations

import time
from typing import Any

import numpy as np
from sklearn.metrics import log_loss, mean_squared_error, r2_score

from benchmarks.tabular.datasets import Problem
from benchmarks.tabular.results import Score


def scored(problem: Problem, split: int, parts: tuple[np.ndarray, np.ndarray], method: str, estimator: Any) -> Score:
    """Fit an estimator on the training rows of `parts`; return its score on the test rows."""
    train, test = parts
    began = time.process_time()
    estimator.fit(problem.X.iloc[train], problem.y[train])
    seconds = time.process_time() - began
    known, y = problem.y[train], problem.y[test]
    if problem.task == "classification":
        labels = range(known.max() + 1)
        shares = np.bincount(known) / len(known)
        value = log_loss(y, estimator.predict_proba(problem.X.iloc[test]), labels=labels)
        loss = value / log_loss(y, np.tile(shares, (len(y), 1)), labels=labels)
    else:
        prediction = np.ravel(estimator.predict(problem.X.iloc[test]))
        value = r2_score(y, prediction)
        loss = mean_squared_error(y, prediction) / np.mean((y - known.mean()) ** 2)
    return Score(problem.name, split, method, float(loss), float(value), seconds)
