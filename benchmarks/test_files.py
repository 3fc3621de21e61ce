"""Saving and loading a model compared with the same arrays in NumPy's format; both are synced to disk."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

import gpunet as gn
from benchmarks.conftest import Compare

ROUNDS = 30
nets = pytest.mark.parametrize("sizes", [(64, 64, 10), (784, 512, 512, 10)], ids=str)


def model_of(sizes: tuple[int, ...]) -> gn.Sequential:
    with gn.use_device("cpu"):
        return gn.MLP(sizes)


@nets
def test_save_against_savez(compare: Compare, tmp_path: Path, sizes: tuple[int, ...]) -> None:
    model = model_of(sizes)

    def savez() -> None:
        with open(tmp_path / "model.npz", "wb") as file:
            np.savez(file, **model.parameters())
            file.flush()
            os.fsync(file.fileno())

    what = f"save, {'-'.join(map(str, sizes))}"
    compare(what, lambda: model.save(tmp_path / "model.safetensors"), savez, rounds=ROUNDS, limit=3)


@nets
def test_load_against_numpy_load(compare: Compare, tmp_path: Path, sizes: tuple[int, ...]) -> None:
    model = model_of(sizes)
    model.save(tmp_path / "model.safetensors")
    np.savez(tmp_path / "model.npz", **model.parameters())

    def load() -> dict[str, np.ndarray]:
        with np.load(tmp_path / "model.npz") as file:
            return dict(file)

    with gn.use_device("cpu"):
        what = f"load, {'-'.join(map(str, sizes))}"
        compare(what, lambda: gn.load(tmp_path / "model.safetensors"), load, rounds=ROUNDS, limit=3)
