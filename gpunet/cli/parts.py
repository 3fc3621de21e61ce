"""Load the training, validation and test parts of a run."""

from __future__ import annotations

import hashlib
import json
import os
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from gpunet.cli.run import CONFIG, Settings
from gpunet.data import Dataset, LabelledTable, TableOptions, TableSchema, Task, load, split_indices
from gpunet.data.labels import label_indices
from gpunet.data.sources import kind_of
from gpunet.data.table.targets import known_targets
from gpunet.errors import ArgumentError, DataError, GpunetWarning, warn

SPLIT_SEED = 0
"""The seed of the division into parts: it does not depend on --seed, so that test rows never train any run."""

SHARE = 0.2
"""The default of --test, a share of all rows, and of --validation, a share of the rest."""

NO_PATHS = ("digits", "-")
"""The sources that are no files or folders."""

Parts = dict[str, Dataset]
"""The parts of a run by name: "train", "validation" and, unless --test is 0, "test"."""


class Source:
    """The data of a run before the division into parts; the schema of a table depends on its training rows.

    Attributes:
        y: the targets of all rows, without those of `test`.
        rows: the position of each of these rows in the file.
        test: the source's own test part, such as MNIST's, or None.
    """

    def __init__(self, settings: Settings):
        self.settings = settings
        self._table: LabelledTable | None = None
        if kind_of(settings.data) == "table":
            self._table = LabelledTable.read(settings.data, settings.target, settings.task, settings.table)
            self.y, self.classes, self.test = self._table.y, self._table.classes, None
            self.rows = self._table.table.frame.index.to_numpy()
        elif settings.table != TableOptions():
            raise ArgumentError(
                f"{settings.data}: not a table; leave out the options for tables, such as --columns and --sep."
            )
        else:
            self._whole = load(settings.data, settings.target, task=settings.task)
            self.y, self.classes, self.test = self._whole.y, self._whole.classes, self._whole.test
            self.rows = np.arange(len(self.y))

    def parts(self, rows: Mapping[str, np.ndarray]) -> Parts:
        """Return the parts with these row positions, and those that the settings name as files."""
        whole = self._whole if self._table is None else self._table.dataset(rows["train"])
        parts = {name: whole.take(own) for name, own in rows.items()}
        for name, given in (("validation", self.settings.validation), ("test", self.settings.test)):
            if given is not None and share_of(given) is None:
                parts[name] = labelled_like(given, whole.schema, whole.classes, whole.task)
        if self.test is not None and "test" not in parts:
            parts["test"] = self.test
        return {name: flat(part) for name, part in parts.items()}


def share_of(given: str | None) -> float | None:
    """Return the share given by --validation or --test; None for a file."""
    if given is None:
        return SHARE
    try:
        return float(given)
    except ValueError:
        return None


def load_parts(settings: Settings) -> Parts:
    """Return the parts of a run.

    The test part is that of --test or of the source itself, else a stratified fifth of the rows. The validation part
    is that of --validation, else a stratified fifth of the rest.
    """
    source = Source(settings)
    test, validation = share_of(settings.test), share_of(settings.validation)
    if source.test is not None:
        if settings.test is not None and test is not None:
            raise ArgumentError(f"--test {settings.test}: {settings.data} has a test part of its own; leave it out.")
        test = None
    rest = 1 - (test or 0)
    shares = {"train": rest * (1 - (validation or 0)), "validation": rest * (validation or 0), "test": test or 0}
    shares = {name: round(share, 12) for name, share in shares.items() if share}
    return source.parts(dict(zip(shares, split_indices(source.y, [*shares.values()], seed=SPLIT_SEED), strict=True)))


def labelled_like(data: str, schema: TableSchema | None, classes: tuple[str, ...] | None, task: Task) -> Dataset:
    """Return the samples and targets of `data`, encoded by a known schema and class names."""
    kind = kind_of(data)
    if kind == "table" and schema is not None:
        table, y = schema.open_labelled(data, classes)
        return Dataset(schema.encode(table), y, classes, schema=schema, rows=table.without_columns())
    if kind == "table":
        return _numbers_like(LabelledTable.read(data, None, task), classes)
    whole = load(data, task=task if kind == ".npz" else None)
    part = flat(whole if whole.test is None else whole.test)
    if part.classes is None:
        return part
    if classes is None:
        return replace(part, y=np.asarray(_class_indices(part.classes, data))[part.y])
    # by name, as another source may number the classes differently
    return replace(part, y=label_indices(np.asarray(part.classes)[part.y], classes, f"{data}: class"), classes=classes)


def _numbers_like(labelled: LabelledTable, classes: tuple[str, ...] | None) -> Dataset:
    """Return the samples and targets of a table for a model without a schema: each column is a feature."""
    table, y = labelled.table, labelled.y
    schema = TableSchema.of_numbers(table, labelled.target)
    if labelled.classes is not None and classes is None:
        y = np.asarray(_class_indices(labelled.classes, table.name))[y]
    elif labelled.classes is not None:
        y = known_targets(table, labelled.target, classes)
    return Dataset(schema.encode(table), y, classes, schema=schema, rows=table.without_columns())


def _class_indices(names: Iterable[str], data: str) -> list[int]:
    """Convert class names to class indices of a model without class names."""
    try:
        return [int(name) for name in names]
    except ValueError as error:
        raise DataError(f"{data}: the model has no class names; use class indices as labels ({error}).") from None


def checksum(parts: Parts) -> str:
    """Return the SHA-256 of the samples, targets, class names and schema of all parts."""
    digest = hashlib.sha256()
    for part in parts.values():
        digest.update(f"{part.X.shape} {part.X.dtype} {part.y.shape} {part.y.dtype} {part.classes}".encode())
        if part.schema is not None:
            digest.update(json.dumps(part.schema.to_json()).encode())
        digest.update(np.ascontiguousarray(part.X).data)
        digest.update(np.ascontiguousarray(part.y).data)
    return digest.hexdigest()


def held_out(folder: Path, data: str) -> Dataset | None:
    """Return the test part that the run in `folder` held out from `data`, or None.

    Warns if the run was trained on rows of `data` that cannot be told from the others.
    """
    if not _trained_on(folder, data):
        return None
    settings = Settings.read(folder)
    share = share_of(settings.test)
    if share and (parts := own_parts(folder, data)):
        return parts["test"]
    if kind_of(data) == "table" or load(data, task=settings.task).test is None:
        why = "changed since the run began" if share else "the run held out no test part of it"
        message = f"{data}: {why}; all of its rows are evaluated, including those that trained the model."
        warn(message)
    return None


def _trained_on(folder: Path, data: str) -> bool:
    """Return whether the run in `folder` was trained on `data`, which may have changed since."""
    return (folder / CONFIG).is_file() and same_place(Settings.read(folder).data, data)


def own_parts(folder: Path, data: str) -> Parts | None:
    """Return the parts of the run in `folder` if it was trained on `data`, unchanged; else None."""
    if not _trained_on(folder, data):
        return None
    settings = Settings.read(folder)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GpunetWarning)  # about ignored columns; training has given it
        parts = load_parts(settings)
    return parts if checksum(parts) == settings.sha256 else None


def place(data: str) -> str:
    """Return `data` as an absolute path, valid in any working directory."""
    return data if data in NO_PATHS else os.path.abspath(data)


def same_place(one: str, other: str) -> bool:
    """Return whether two sources are the same, also through symbolic links."""
    first, second = (data if data in NO_PATHS else os.path.realpath(data) for data in (one, other))
    return first == second


def flat(dataset: Dataset) -> Dataset:
    """Flatten each sample."""
    return replace(dataset, X=dataset.X.reshape(len(dataset), -1))
