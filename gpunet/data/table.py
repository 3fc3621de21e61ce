"""Tables in CSV files: how their columns become features, at training and again at prediction."""

from __future__ import annotations

import csv
from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data.labels import Task, class_name, encode_target, listing
from gpunet.errors import DataError

MISSING = frozenset({"", "?", "na", "n/a", "nan", "null"})
MAX_CATEGORIES = 1000


@dataclass(frozen=True)
class Column:
    """An input column: numeric where `categories` is None, else one feature (0 or 1) for each category."""

    name: str
    categories: tuple[str, ...] | None = None

    @property
    def feature_names(self) -> list[str]:
        """The features that the column becomes: its name, or "name=category" for each category."""
        return [self.name] if self.categories is None else [f"{self.name}={value}" for value in self.categories]


@dataclass(frozen=True)
class TableSchema:
    """How the columns of a table become features: what `read` needs to encode another table in the same way."""

    columns: tuple[Column, ...]
    target: str

    @property
    def feature_names(self) -> list[str]:
        """The name of each feature, in the order of the columns of X."""
        return [name for column in self.columns for name in column.feature_names]

    def read(self, path: str | Path) -> np.ndarray:
        """Return the samples of a CSV file: float64 (n, features).

        Columns are found by name, in any order; columns that the schema doesn't know, and the target, are ignored.

        Raises:
            DataError: a column is missing, or a value is missing, not a finite number or an unknown category; the
                message names the file, the line and the column.
        """
        return self._encode(_Table(Path(path)))

    def read_labelled(self, path: str | Path, classes: tuple[str, ...] | None) -> tuple[np.ndarray, np.ndarray]:
        """Return the samples of a CSV file, as `read` does, and its targets.

        Args:
            path: a CSV file that has the target's column too.
            classes: the class names, for targets int64 (n,) that index them; None for regression: float64 (n,).

        Raises:
            DataError: as for `read`, or a target that is not among the classes.
        """
        table = _Table(Path(path))
        X = self._encode(table)
        if classes is None:
            return X, table.numbers(self.target)
        return X, table.indices(self.target, classes, "class")

    def to_json(self) -> dict[str, Any]:
        """Return the schema as a dictionary that `json.dumps` takes."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> TableSchema:
        """Return the schema that `to_json` wrote, also after a trip through JSON text."""
        columns = [(column["name"], column["categories"]) for column in data["columns"]]
        return cls(tuple(Column(name, values and tuple(values)) for name, values in columns), data["target"])

    def _encode(self, table: _Table) -> np.ndarray:
        X = np.zeros((len(table.lines), len(self.feature_names)))
        table.require([column.name for column in self.columns])
        first = 0
        for column in self.columns:
            if column.categories is None:
                X[:, first] = table.numbers(column.name)
            else:
                X[np.arange(len(X)), first + table.indices(column.name, column.categories, "category")] = 1
            first += len(column.feature_names)
        return X


def read_csv(
    path: Path, target: str | None, task: Task | None
) -> tuple[np.ndarray, np.ndarray, tuple[str, ...] | None, TableSchema]:
    """Return X float64 (n, features), y, its class names and the schema of a CSV file; see `gpunet.data.load`."""
    table = _Table(path)
    target = target if target is not None else list(table.columns)[-1]
    table.require([target])
    names = [name for name in table.columns if name != target]
    if not names:
        raise DataError(f"{path}: no column beside the target {target!r}; columns must be separated by commas.")
    schema = TableSchema(tuple(Column(name, table.categories(name)) for name in names), target)
    text = task != "regression" and _numbers(table.column(target)) is None
    if text and task is None:
        table.check_text(target)
    values = np.array(table.column(target)) if text else table.numbers(target)
    y, classes = encode_target(values, task)
    return schema._encode(table), y, classes, schema


class _Table:
    """The cells of a CSV file as text, with what an error needs to name the place.

    Attributes:
        columns: the cells of each column by its name, in the file's order.
        lines: the line of the file on which each row ends.
    """

    def __init__(self, path: Path):
        self.path = path
        self.lines: list[int] = []
        try:
            with path.open(encoding="utf-8-sig", newline="") as file:
                header, rows = self._parse(file)
        except OSError as error:
            raise DataError(f"{path}: cannot be read ({error.strerror}).") from error
        except UnicodeDecodeError as error:
            raise DataError(f"{path}: not UTF-8 text ({error.reason}); save it as CSV in UTF-8.") from error
        self.columns = dict(zip(header, zip(*rows, strict=True), strict=True))

    def _parse(self, file: Any) -> tuple[list[str], list[list[str]]]:
        """Return the header and the rows; blank lines are passed over."""
        reader = csv.reader(file, skipinitialspace=True, strict=True)
        rows = []
        try:
            for cells in reader:
                if cells:
                    rows.append([cell.strip() for cell in cells])
                    self.lines.append(reader.line_num)
        except csv.Error as error:
            raise DataError(f"{self.path}, line {reader.line_num}: not CSV ({error}).") from error
        if len(rows) < 2:
            raise DataError(f"{self.path}: no data; expected a header line and at least one row below it.")
        header = rows.pop(0)
        self.lines.pop(0)
        self._check_header(header)
        for line, row in zip(self.lines, rows, strict=True):
            if len(row) != len(header):
                raise DataError(f"{self.path}, line {line}: {len(row)} values, the header has {len(header)} columns.")
        return header, rows

    def _check_header(self, header: list[str]) -> None:
        for i, name in enumerate(header):
            if not name:
                raise DataError(
                    f"{self.path}: column {i + 1} has no name in the header; name it or remove it (pandas writes its "
                    "index so: use to_csv(index=False))."
                )
            if name in header[:i]:
                raise DataError(f"{self.path}: the header names column {name!r} twice; rename one.")

    def require(self, names: list[str]) -> None:
        """Raise `DataError` where a column is missing."""
        missing = [name for name in names if name not in self.columns]
        if missing:
            there = listing(list(self.columns))
            raise DataError(f"{self.path}: no column {listing(missing)}; the columns are {there}.")

    def column(self, name: str) -> tuple[str, ...]:
        """Return the cells of a column, none of which is missing."""
        self.require([name])
        cells = self.columns[name]
        missing = {text for text in set(cells) if text.lower() in MISSING}
        if missing:
            raise self._error(name, missing, "stands for a missing value; fill it in or remove the row")
        return cells

    def check_text(self, name: str) -> None:
        """Raise `DataError` where most of a column's distinct values are numbers: the others are slips, not text."""
        distinct = set(self.columns[name])
        text = {value for value in distinct if _numbers([value]) is None}
        if len(text) < len(distinct) / 2:
            problem = "is not a number, as most values there are; mend it, or make text of all, as in 'no. 3'"
            raise self._error(name, text, problem)

    def numbers(self, name: str) -> np.ndarray:
        """Return a column as float64 (n,), all finite."""
        cells = self.column(name)
        values = _numbers(cells)
        if values is None:
            raise self._error(name, {text for text in cells if _numbers([text]) is None}, "is not a number")
        finite = np.isfinite(values)
        if not finite.all():
            raise self._error(name, {cells[int(np.argmin(finite))]}, "is not a finite number")
        return values

    def categories(self, name: str) -> tuple[str, ...] | None:
        """Return the sorted distinct values of a column, or None where all are numbers."""
        cells = self.column(name)
        if _numbers(cells) is not None:
            return None
        self.check_text(name)
        distinct = sorted(set(cells))
        if len(distinct) > MAX_CATEGORIES:
            raise DataError(
                f"{self.path}, column {name!r}: {len(distinct)} distinct texts are too many for categories "
                f"({MAX_CATEGORIES} at most); remove the column."
            )
        return tuple(distinct)

    def indices(self, name: str, known: tuple[str, ...], what: str) -> np.ndarray:
        """Return a column as int64 (n,) indices into `known`; a number may be written in another way, as 3.0 for 3."""
        index = {value: i for i, value in enumerate(known)}
        distinct = set(self.column(name))
        index |= {text: index[_plain(text)] for text in distinct if text not in index and _plain(text) in index}
        if distinct - index.keys():
            raise self._error(name, distinct - index.keys(), f"is an unknown {what}; known are {listing(known)}")
        return np.array([index[text] for text in self.columns[name]], np.int64)

    def _error(self, name: str, values: Collection[str], problem: str) -> DataError:
        """Return the error for the first cell of a column that is one of `values`; `problem` goes on from the value."""
        row, text = next((row, text) for row, text in enumerate(self.columns[name]) if text in values)
        return DataError(f"{self.path}, line {self.lines[row]}, column {name!r}: {text!r} {problem}.")


def _numbers(cells: Sequence[str]) -> np.ndarray | None:
    """Return the cells as float64, or None where not all are numbers."""
    if "_" in "".join(cells):  # Python reads 10_20 as a number, people don't
        return None
    try:
        return np.array([*map(float, cells)])
    except ValueError:
        return None


def _plain(text: str) -> str:
    """Return the name of the class that a cell stands for: a number in its plain form, other text as it is."""
    number = _numbers([text])
    return text if number is None else class_name(float(number[0]))
