from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result

import gpunet as gn
from gpunet.cli import main

Invoke = Callable[..., Result]


def invoke_cli(*arguments: Any) -> Result:
    return CliRunner(env={"GPUNET_DEVICE": "cpu"}).invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="session")
def invoke() -> Invoke:
    return invoke_cli


@pytest.fixture(scope="session")
def refused() -> Callable[..., str]:
    """Run a command that must fail with one line on stderr, nothing on stdout and no traceback; return the line."""

    def run(*arguments: Any) -> str:
        result = invoke_cli(*arguments)
        assert result.exit_code == 2
        assert isinstance(result.exception, SystemExit)
        assert result.stdout == ""
        (line,) = result.stderr.splitlines()
        assert line.startswith("Error: ")
        return line

    return run


@pytest.fixture(scope="session")
def flowers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A CSV file with numbers, a category, and a class that depends on them."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "flowers.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["length", "colour", "width", "kind"])
        for row in range(150):
            kind = row % 2
            length, width = rng.normal(4 * kind, 1), rng.normal()
            writer.writerow([f"{length:.3f}", ("red", "blue")[row % 3 == 0], f"{width:.3f}", ("rose", "lily")[kind]])
    return path


@pytest.fixture(scope="session")
def line(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An npz file for regression, with targets far from zero."""
    rng = np.random.default_rng(0)
    path = tmp_path_factory.mktemp("data") / "line.npz"
    X = rng.normal(size=(400, 3))
    np.savez(path, X=X, y=X @ [100, -50, 25] + 1000)
    return path


def trained(folder: Path, *arguments: Any) -> tuple[Path, dict[str, Any]]:
    result = invoke_cli("train", *arguments, "--out", folder, "--json")
    assert result.exit_code == 0, result.stderr
    return folder, json.loads(result.stdout)


@pytest.fixture(scope="session")
def flowers_run(flowers: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return trained(tmp_path_factory.mktemp("run"), flowers, "--epochs", 10)[0]


@pytest.fixture(scope="session")
def digits_run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    return trained(tmp_path_factory.mktemp("run"), "digits", "--epochs", 3)


@pytest.fixture(scope="session")
def digits_csv(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The first ten digits as CSV, with one column for each pixel and no class."""
    path = tmp_path_factory.mktemp("data") / "pixels.csv"
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow([f"pixel{number}" for number in range(64)])
        writer.writerows(gn.data.digits().X[:10].tolist())
    return path
