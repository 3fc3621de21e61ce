"""Load data sets: the embedded digits, tables, npz files and folders of IDX files."""

from __future__ import annotations

import os
from pathlib import Path
from typing import get_args

import numpy as np

from gpunet.data.checks import check_features, check_lengths, check_targets
from gpunet.data.dataset import Dataset
from gpunet.data.idx import read_idx_folder
from gpunet.data.indices import check_labels
from gpunet.data.labelled import LabelledTable, TableOptions
from gpunet.data.labels import Task, encode_target, label_indices, listing
from gpunet.data.npz import read_npz
from gpunet.data.table.reading import is_table
from gpunet.errors import ArgumentError, DataError, GpunetError

SUPPORTED = (
    "'digits' (embedded), a table (.csv, .tsv, .csv.gz, .parquet, or - for standard input), a .npz file, or a folder "
    "of MNIST-style IDX files"
)


def digits() -> Dataset:
    """Return the 1,797 embedded images of handwritten digits: X (1797, 64), values 0 to 16, classes "0" to "9".

    Source: the test part of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, 1998, UCI Machine
    Learning Repository, https://doi.org/10.24432/C50P49, CC BY 4.0.

    Example:
        >>> data = gn.data.digits()
        >>> data.X.shape, data.y[:5], data.classes[:3]
        ((1797, 64), array([0, 1, 2, 3, 4]), ('0', '1', '2'))
    """
    with np.load(Path(__file__).with_name("digits.npz"), allow_pickle=False) as arrays:
        X, y = arrays["X"].astype(np.float32), arrays["y"].astype(np.int64)
    return Dataset(X, y, tuple("0123456789"), "digits")


def load(
    source: str | Path, target: str | None = None, *, task: Task | None = None, table: TableOptions | None = None
) -> Dataset:
    """Load a data set.

    Args:
        source: one of

            - "digits": the embedded digits, see `digits`. Pass `Path("digits")` for a folder of that name.
            - a table: a `.csv`, `.tsv`, `.txt` or `.data` file, raw or compressed (`.csv.gz`), a `.parquet` file, or
              "-" for CSV from standard input. `TableSchema` encodes it, with medians and categories of all rows;
              `LabelledTable.dataset` takes them from the training rows only. Needs pandas.
            - a `.npz` file with arrays X (n, features...) and y (n,) or (n, targets); (n, 1) becomes (n,). Optional
              arrays are `classes`, the class names that y indexes, X_test and y_test. Pickled objects are rejected.
            - a folder of MNIST-style IDX files, raw or .gz: train-images-idx3-ubyte, train-labels-idx1-ubyte and
              optionally t10k-... for the test part. X is uint8 (n, rows * columns).
        target: the table's column to predict; by default the last one.
        task: "classification" or "regression", for a table or npz file. By default text and booleans are classes;
            numbers are classes if all are integers, at most 20 are distinct, and each occurs twice or more on average.
        table: how to read a table, and the roles of its columns.

    Warns:
        GpunetWarning: columns of a table are ignored; the message says which and why.

    Raises:
        ArgumentError: `target`, `task` or `table` does not apply to this source.
        DataError: the source is missing, unknown or invalid; the message says where.
        MissingPackageError: a table needs pandas, which is not installed.

    Example:
        >>> gn.data.load("digits")
        <Dataset 'digits': 1,797 rows of shape (64,) in float32, 10 classes>
    """
    path = Path(source)
    kind = kind_of(source)
    if kind != "digits" and not path.exists() and str(source) != "-":
        raise DataError(f"{path}: no such file or folder. Use {SUPPORTED}.")
    if kind != "table":
        for name, given in (("target", target), ("table", table)):
            if given is not None:
                raise ArgumentError(f"{name}={given!r}: only tables have columns, {source} has none.")
    if task not in (None, *get_args(Task)):
        raise ArgumentError(f"task={task!r}: use 'classification', 'regression' or None.")
    if task is not None and kind not in ("table", ".npz"):
        raise ArgumentError(f"task={task!r}: only for tables and .npz files; {source} is a classification task.")
    if kind == "digits":
        return digits()
    if kind == "folder":
        return _load_idx(path)
    if kind == ".npz":
        return _load_npz(path, task)
    if kind == "table":
        return LabelledTable.read(source, target, task, table).dataset()
    raise DataError(f"{path}: unknown file type {path.suffix!r}. Use {SUPPORTED}.")


def kind_of(source: str | Path) -> str:
    """Return "digits", "folder", "table", or a file's suffix, such as ".npz"."""
    if source == "digits":
        return "digits"
    if Path(source).is_dir():
        return "folder"
    return "table" if is_table(source) else Path(source).suffix.lower()


def _load_idx(folder: Path) -> Dataset:
    train, held_out = (read_idx_folder(folder, part) for part in ("train", "t10k"))
    if train is None:
        raise DataError(f"{folder}: no train-images-idx3-ubyte and train-labels-idx1-ubyte (or .gz) in this folder.")
    name = Path(os.path.abspath(folder)).name
    y, classes = encode_target(train[1], "classification")
    test = None
    if held_out is not None and classes is not None:
        test = Dataset(_flat(held_out[0]), label_indices(held_out[1], classes, f"{folder}, t10k label"), classes, name)
    return Dataset(_flat(train[0]), y, classes, name, test=test)


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1)


def _load_npz(path: Path, task: Task | None) -> Dataset:
    arrays, names = read_npz(path, ("X", "y", "classes", "X_test", "y_test"))
    try:
        return _dataset_of(arrays, names, path.stem, task)
    except GpunetError as error:
        raise type(error)(f"{path}: {error}") from error


def _dataset_of(arrays: dict[str, np.ndarray], names: list[str], name: str, task: Task | None) -> Dataset:
    """Make a data set of an npz file's arrays; `names` are the names of all arrays in it."""
    needed = {"X", "y", "X_test", "y_test"} if {"X_test", "y_test"} & arrays.keys() else {"X", "y"}
    if missing := sorted(needed - arrays.keys()):
        raise DataError(f"no array {listing(missing)}; the file holds {listing(names)}.")
    arrays |= {name: _column(arrays[name]) for name in needed & {"y", "y_test"}}
    classes = None
    if "classes" in arrays and task != "regression":
        classes = tuple(arrays["classes"].astype(str).ravel().tolist())
        y = check_labels(arrays["y"], len(classes))
    else:
        y, classes = encode_target(arrays["y"], task)
    X = check_features(arrays["X"])
    check_lengths(X=X, y=y)
    if "X_test" not in needed:
        return Dataset(X, y, classes, name)
    X_test = check_features(arrays["X_test"], name="X_test", n_features=X.shape[1:])
    if classes is None:
        y_test = check_targets(arrays["y_test"], "y_test")
    elif "classes" in arrays:
        y_test = check_labels(arrays["y_test"], len(classes), "y_test")
    else:
        y_test = label_indices(arrays["y_test"], classes, "y_test")
    check_lengths(X_test=X_test, y_test=y_test)
    return Dataset(X, y, classes, name, test=Dataset(X_test, y_test, classes, name))


def _column(y: np.ndarray) -> np.ndarray:
    """Return a target of one column, (n, 1), as (n,); return others unchanged."""
    return y.ravel() if y.ndim == 2 and y.shape[1] == 1 else y
