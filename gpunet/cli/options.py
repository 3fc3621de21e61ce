"""Options and output formats that several commands share."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Mapping
from typing import Any

import click

from gpunet.arguments import shortened
from gpunet.device import auto_reason, get_device

device_option = click.option(
    "--device", default="auto", envvar="GPUNET_DEVICE", show_default=True, help="auto, cpu, cuda, cuda:N or sim."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON and nothing else.")


LONGEST_NAME = 32
COLUMN = 12
"""Maximum width of a row's name in a table, and minimum width of a column of numbers, in characters."""


def described_device(spec: str) -> str:
    """Return a device's name, and for "auto" the reason for its choice."""
    name = get_device(spec).name
    if spec != "auto":
        return name
    without_driver = name == "cpu" and shutil.which("nvidia-smi") is None
    return f"{name}, chosen by auto ({'no NVIDIA driver' if without_driver else auto_reason()})"


def results_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Format numbers as a table with one line for each part of the data or each class."""
    names = list(next(iter(results.values())))
    shown = [(shortened(part, LONGEST_NAME), row) for part, row in results.items()]
    width = max(len(part) for part, _ in shown)
    columns = {name: max(COLUMN, len(name) + 2) for name in names}
    lines = [" " * width + "".join(f"{name:>{column}}" for name, column in columns.items())]
    lines += [f"{part:<{width}}" + "".join(_cell(row[name], columns[name]) for name in names) for part, row in shown]
    return "\n".join(lines)


def _cell(value: float, width: int) -> str:
    return f"{value:>{width},}" if isinstance(value, int) else f"{number_text(value):>{width}}"


def number_text(value: float) -> str:
    """Format a number with four decimals, a very small or large one with five digits."""
    usual = not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e7
    return f"{value:.4f}" if usual else f"{value:.5g}"


def json_line(values: Mapping[str, Any]) -> str:
    """Return one line of standard JSON; NaN and infinity become null."""
    return json.dumps(_strict(values))


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
