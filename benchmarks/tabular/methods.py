"""The compared methods: functions of a task and a seed that return an estimator for data frames."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pandas as pd
from sklearn.compose import TransformedTargetRegressor, make_column_selector, make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, RidgeCV
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, OneHotEncoder, StandardScaler

import gpunet as gn
from gpunet.cli.run import MODEL
from gpunet.cli.train import train

TARGET = "target of the benchmark"


def _prepared(estimator: Any) -> Any:
    """Return the estimator after the usual preprocessing: impute and standardise numbers, one-hot encode text."""
    numbers = make_pipeline(SimpleImputer(strategy="median", add_indicator=True), StandardScaler())
    text = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    columns = make_column_transformer(
        (numbers, make_column_selector(dtype_include="number")), (text, make_column_selector(dtype_exclude="number"))
    )
    return make_pipeline(columns, estimator)


def linear(task: str, seed: int) -> Any:
    if task == "classification":
        return _prepared(LogisticRegression(max_iter=1000))
    return _prepared(RidgeCV(np.logspace(-2, 3, 11)))


def sklearn_mlp(task: str, seed: int) -> Any:
    """Return scikit-learn's MLP with default settings; regression needs a standardised target."""
    if task == "classification":
        return _prepared(MLPClassifier(random_state=seed))
    return _prepared(TransformedTargetRegressor(MLPRegressor(random_state=seed), transformer=StandardScaler()))


def boosting(task: str, seed: int) -> Any:
    kind = HistGradientBoostingClassifier if task == "classification" else HistGradientBoostingRegressor
    return make_pipeline(FunctionTransformer(_categories), kind(categorical_features="from_dtype", random_state=seed))


def _categories(X: pd.DataFrame) -> pd.DataFrame:
    text = X.select_dtypes(exclude="number").columns
    return X.astype(dict.fromkeys(text, "category"))


class _RealMLP:
    """pytabkit's RealMLP_TD_S for data frames: text becomes categories, missing numbers become medians."""

    def __init__(self, task: str, seed: int, **options: Any):
        from pytabkit import RealMLP_TD_S_Classifier, RealMLP_TD_S_Regressor

        kind = RealMLP_TD_S_Classifier if task == "classification" else RealMLP_TD_S_Regressor
        self.estimator = kind(device="cpu", random_state=seed, n_threads=1, **options)

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> None:
        self.medians = X.select_dtypes("number").median()
        self.incomplete = [c for c in self.medians.index if X[c].isna().any()]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.estimator.fit(self._filled(X), y)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return self.estimator.predict(self._filled(X))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        return self.estimator.predict_proba(self._filled(X))

    def _filled(self, X: pd.DataFrame) -> pd.DataFrame:
        indicators = X[self.incomplete].isna().astype(float).add_suffix(" is blank")
        filled = X.fillna(self.medians)
        text = X.select_dtypes(exclude="number").columns
        return pd.concat(
            [filled.fillna(dict.fromkeys(text, "blank")).astype(dict.fromkeys(text, "category")), indicators], axis=1
        )


def real_mlp(task: str, seed: int) -> Any:
    """Return RealMLP_TD_S with default settings, which smooth labels and keep the epoch with the best accuracy."""
    return _RealMLP(task, seed)


def real_mlp_log_loss(task: str, seed: int) -> Any:
    """Return RealMLP_TD_S without label smoothing, at the epoch with the best log loss, as pytabkit advises for it."""
    if task == "regression":
        return real_mlp(task, seed)
    return _RealMLP(task, seed, use_ls=False, val_metric_name="cross_entropy")


class Command:
    """`gpunet train` with default settings on a CSV file, with 20 % of the rows for validation and no test part."""

    def __init__(self, task: str, seed: int, *options: str):
        if task == "regression" and "--label-smoothing" in options:  # only for classification
            at = options.index("--label-smoothing")
            options = options[:at] + options[at + 2 :]
        self.options = ("--task", task, "--seed", str(seed), *options)

    def fit(self, X: pd.DataFrame, y: np.ndarray) -> None:
        with TemporaryDirectory() as folder:
            data, out = Path(folder) / "data.csv", Path(folder) / "run"
            X.assign(**{TARGET: y}).to_csv(data, index=False)
            arguments = [str(data), "--target", TARGET, "--test", "0", "--out", str(out), "--device", "cpu", "--json"]
            with contextlib.redirect_stdout(None):
                train.main([*arguments, *self.options], standalone_mode=False)
            self.model = gn.load(out / MODEL)

    def predict(self, X: pd.DataFrame) -> np.ndarray:
        return self.model.predict(self.model.schema.encode(X))

    def predict_proba(self, X: pd.DataFrame) -> np.ndarray:
        """Return the class probabilities in numeric order of the labels; `gpunet train` sorts them as text."""
        order = np.argsort([int(name) for name in self.model.classes])
        return self.model.predict_proba(self.model.schema.encode(X))[:, order]


OLD_DEFAULTS = (
    *("--hidden", "128", "--activation", "relu", "--label-smoothing", "0.1", "--schedule", "constant"),
    *("--epochs", "100", "--patience", "10", "--batch-size", "32"),
)
"""The former defaults for tables."""

METHODS = {
    "gpunet train": Command,
    "gpunet train (old options)": lambda task, seed: Command(task, seed, *OLD_DEFAULTS),
    "linear": linear,
    "scikit-learn MLP": sklearn_mlp,
    "HistGradientBoosting": boosting,
    "RealMLP_TD_S": real_mlp,
    "RealMLP_TD_S for log loss": real_mlp_log_loss,
}
