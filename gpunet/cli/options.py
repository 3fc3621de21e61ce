"""What several commands share: options, and how devices and results are shown."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

import click

from gpunet.device import auto_reason, get_device

device_option = click.option(
    "--device", default="auto", envvar="GPUNET_DEVICE", show_default=True, help="auto, cpu, cuda, cuda:N or sim."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one line of JSON and nothing else.")


def described_device(spec: str) -> str:
    """Return the device that `spec` means, and for "auto" why."""
    name = get_device(spec).name
    return f"{name}, chosen by auto ({auto_reason()})" if spec == "auto" else name


def results_table(results: Mapping[str, Mapping[str, float]]) -> str:
    """Return a table of the loss and the metrics, a line for each part of the data."""
    names = list(next(iter(results.values())))
    width = max(map(len, results))
    lines = [" " * width + "".join(f"{name:>12}" for name in names)]
    lines += [f"{part:<{width}}" + "".join(f"{row[name]:>12.4f}" for name in names) for part, row in results.items()]
    return "\n".join(lines)


def json_line(values: Mapping[str, Any]) -> str:
    """Return a line of strict JSON: NaN and infinity, which it lacks, become null."""
    return json.dumps(_strict(values))


def _strict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _strict(item) for key, item in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
