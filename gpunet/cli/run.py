"""Read and write the folder of a `gpunet train` run, and its settings."""

from __future__ import annotations

import json
import math
import os
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

from gpunet.data import ReadOptions, TableOptions, Task
from gpunet.data.table import Missing, Role
from gpunet.data.table.reading import is_table
from gpunet.default_device import use_device
from gpunet.errors import ArgumentError, ModelFileError
from gpunet.files import write_bytes
from gpunet.formats import parse_json, read_as
from gpunet.models import Model
from gpunet.models import load as load_model
from gpunet.models.files import MODEL
from gpunet.training import History

CONFIG = "config.json"
CHECKPOINT = "checkpoint.safetensors"
LOG = "metrics.jsonl"
RESULTS = "results.json"
FOLDS = "folds.json"
OUT_OF_FOLD = "out-of-fold.csv"
HISTORY_PLOT = "history.png"
PLOT = "plot.png"
TENSORBOARD = "tensorboard"
KEPT = (MODEL, CONFIG, CHECKPOINT, LOG, RESULTS, FOLDS, OUT_OF_FOLD)
"""The files of a run that no other command may overwrite."""


@dataclass(frozen=True)
class Settings:
    """The settings of a run, stored in config.json for `--resume`."""

    data: str
    target: str | None
    task: Task | None
    hidden: Sequence[int]
    activation: str
    dropout: float
    label_smoothing: float
    epochs: int
    batch_size: int
    optimizer: str
    lr: float
    device: str
    seed: int
    sha256: str | None = None
    """The checksum of the data; None until they are read."""
    class_weight: dict[str, float] | Literal["balanced"] | None = None
    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None
    columns: Sequence[str] = ()
    drop: Sequence[str] = ()
    roles: Mapping[str, Role] = field(default_factory=dict)
    missing: Missing = "median"
    loss: str | None = None
    weight_decay: float | None = None
    schedule: str = "constant"
    batch_norm: bool = False
    patience: int | None = 10
    """Epochs without improvement before training stops early; None: never."""
    metric: str | None = None
    """The validation metric that selects the best epoch; None: the loss."""
    tensorboard: bool = False
    validation: str | None = None
    test: str | None = None
    """For both parts, a share of the rows or a file; None: 0.2."""

    @property
    def table(self) -> TableOptions:
        """How to read a table and use its columns."""
        reading = ReadOptions(self.sep, self.decimal, self.encoding, self.header)
        return TableOptions(reading, tuple(self.columns), tuple(self.drop), self.roles, self.missing)

    def write(self, folder: Path) -> None:
        """Write the settings into the folder of the run; create it if necessary."""
        folder.mkdir(parents=True, exist_ok=True)
        write_bytes(folder / CONFIG, (json.dumps(asdict(self), indent=2) + "\n").encode())

    @classmethod
    def read(cls, folder: Path) -> Settings:
        """Return the settings that `write` wrote; raise `ModelFileError` if they are missing or corrupt."""
        path = folder / CONFIG
        if not path.is_file():
            raise ModelFileError(f"{folder}: not the folder of a training run; it has no {CONFIG}.")
        try:
            return read_as(cls, parse_json(path.read_bytes()))
        except ValueError as error:
            raise ModelFileError(f"{path}: not the settings of a training run ({error}).") from None


def read_history(folder: Path) -> History:
    """Return a run's history up to the last completed epoch; raise `ModelFileError` if there is none."""
    Settings.read(folder)
    path = folder / LOG
    rows = path.read_bytes().splitlines() if path.is_file() else []
    if not rows:
        raise ModelFileError(f"{folder}: unfinished, no epoch is completed; resume it with {resume_command(folder)}")
    try:
        return History(_numbers(parse_json(row)) for row in rows)
    except ValueError as error:
        raise ModelFileError(f"{path}: not the log of a training run ({error}).") from None


def read_test_results(folder: Path) -> dict[str, float]:
    """Return a run's loss and metrics on its test part; empty if it has not ended."""
    path = folder / RESULTS
    if not path.is_file():
        return {}
    try:
        results = read_as(dict[str, Any], parse_json(path.read_bytes()))
        return _numbers(results.get("test", {} if "train" in results else None))
    except ValueError as error:
        raise ModelFileError(f"{path}: not the results of a training run ({error}).") from None


def _numbers(row: Any) -> dict[str, float]:
    """Return a row of numbers, with NaN for null, as JSON has no NaN."""
    numbers = read_as(dict[str, float | None], row)
    return {name: math.nan if value is None else float(value) for name, value in numbers.items()}


def check_output(out: Path, *inputs: Path) -> None:
    """Raise `ArgumentError` if writing `out` would overwrite an input of the command, or a file of its run."""
    folders = {path if path.is_dir() else path.parent for path in inputs}
    runs = [folder for folder in folders if (folder / CONFIG).is_file() or (folder / FOLDS).is_file()]
    for used in (*inputs, *(folder / name for folder in runs for name in KEPT)):
        if out.exists() and used.exists() and out.samefile(used):
            raise ArgumentError(f"{out}: would overwrite {used}, an input or a file of its run; choose another file.")


def resume_command(folder: Path) -> str:
    """Return the shell command that resumes a run."""
    quoted = shlex.quote(str(folder)) if os.name == "posix" else f'"{folder}"'
    return f"gpunet train --resume {quoted}"


def open_model(path: Path, device: str) -> Model:
    """Return the model of a run's folder or a model file, on a device.

    Raises:
        ArgumentError: `path` is named like a table.
        ModelFileError: the run has not ended or was a cross-validation, or the file is corrupt.
    """
    if is_table(path):
        raise ArgumentError(f"{path}: a table; give the run's folder or model file first, then the table.")
    if (path / FOLDS).is_file():
        raise ModelFileError(f"{path}: a cross-validation leaves no model; train one without --folds.")
    if (path / CONFIG).is_file() and not (path / MODEL).is_file():
        raise ModelFileError(f"{path}: unfinished, it has no {MODEL} yet; resume it with {resume_command(path)}")
    with use_device(device):
        return load_model(path / MODEL if path.is_dir() else path)
