"""The table of `gpunet tune`: the fastest tile and number of splits of a matrix product on a GPU.

It is a JSON file in the user's cache folder. An entry is used only if this version of gpunet has its tile and the
product can be split that way.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, NamedTuple, TypeAlias, TypedDict

import numpy as np

from gpunet.device import Device
from gpunet.errors import ArgumentError, DataError, warn
from gpunet.files import cache_folder, write_bytes
from gpunet.formats import parse_json, read_as
from gpunet.ops.tiles import CANDIDATES, Tile

FORMAT, VERSION = "gpunet tune", 4
LAYOUTS = ("NN", "NT", "TN")


class Product(NamedTuple):
    """The product of op(a), (m, k), and op(b), (k, n). `layout` says which operands are stored transposed."""

    m: int
    n: int
    k: int
    layout: str
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, m: int, n: int, k: int, layout: str, dtype: np.dtype[Any]) -> Product:
        """Return the product in the form of the table: a single row or column counts as not transposed."""
        if layout not in LAYOUTS:
            raise ArgumentError(f"unknown layout {layout!r}; use one of {', '.join(map(repr, LAYOUTS))}.")
        a = layout[0] if min(m, k) > 1 else "N"
        b = layout[1] if min(k, n) > 1 else "N"
        return cls(m, n, k, a + b, dtype)

    def __str__(self) -> str:
        return f"{self.dtype} {self.layout} {self.m}x{self.n}x{self.k}"


class _Entry(TypedDict):
    """An entry of the file."""

    tile: list[int]
    splits: int
    date: str


class _Table(TypedDict):
    """The file: entries by GPU, kernel and product."""

    format: Literal["gpunet tune"]
    version: Literal[4]
    winners: dict[str, dict[str, _Entry]]


Key: TypeAlias = tuple[str, Product]
"""A kernel and a product."""


class Winner(NamedTuple):
    """The fastest tile and splits of a kernel for a product, and the date of the measurement."""

    tile: Tile
    splits: int
    date: str


def most_splits(tile: Tile, k: int) -> int:
    """Return the maximum number of splits of k, so that each has at least one main-loop step."""
    return max(1, k // tile.bk)


@functools.cache
def winners(device: Device) -> Mapping[Key, Winner]:
    """Return the table of a device, read once. An unusable table is ignored with a warning."""
    if device.name == "cpu":
        return {}
    try:
        return read(table_path()).get(gpu_name(device), {})
    except (OSError, DataError) as error:
        warn(f"matrix products use gpunet's default tiles, not tuned ones: {error}")
        return {}


@functools.cache
def gpu_name(device: Device) -> str:
    """Return the name of a GPU, such as "NVIDIA H200"."""
    name: bytes = device.xp.cuda.runtime.getDeviceProperties(device.index)["name"]
    return name.decode()


def table_path() -> Path:
    """Return the path of the table, which need not exist."""
    return cache_folder() / "tuned.json"


def read(path: Path) -> dict[str, dict[Key, Winner]]:
    """Return the entries by GPU name; empty if there is no file.

    Raises:
        OSError: the file cannot be read.
        DataError: the file is damaged, or of another program or version.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return {}
    try:
        table = read_as(_Table, parse_json(data))
        gpus = table["winners"].items()
        return {gpu: dict(_entry(name, entry) for name, entry in found.items()) for gpu, found in gpus}
    except ValueError as error:
        raise DataError(
            f"{path}: not a table of `gpunet tune` that this version reads ({error}); delete it and tune again."
        ) from None


def _entry(name: str, entry: _Entry) -> tuple[Key, Winner]:
    """Return an entry of the file, checked against the tiles of this version."""
    kernel, dtype, layout, sizes = name.split()
    m, n, k = map(int, sizes.split("x"))
    tiles = {str(dtype): tiles for (of, dtype), tiles in CANDIDATES.items() if of == kernel}
    if dtype not in tiles or min(m, n, k) < 1:
        raise ValueError(f"{name} is not a product that a kernel with tiles computes")
    key = kernel, Product.of(m, n, k, layout, np.dtype(dtype))
    tile = next((tile for tile in tiles[dtype] if list(tile) == entry["tile"]), None)
    if tile is None or not 1 <= entry["splits"] <= most_splits(tile, k):
        raise ValueError(f"{name} cannot run as {entry['tile']} in {entry['splits']} splits")
    return key, Winner(tile, entry["splits"], entry["date"])


def keep(device: Device, found: Mapping[Key, Winner]) -> Path:
    """Add results to a device's table, replace those of the same kernels and products, and return the path.

    Raises:
        OSError: the table cannot be written; an existing one is unchanged.
        DataError: as for `read`.
    """
    path = table_path()
    table = read(path)
    table[gpu_name(device)] = {**table.get(gpu_name(device), {}), **found}
    gpus = {gpu: {f"{k} {p}": winner._asdict() for (k, p), winner in of_gpu.items()} for gpu, of_gpu in table.items()}
    text = json.dumps({"format": FORMAT, "version": VERSION, "winners": gpus}, indent=1)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_bytes(path, f"{text}\n".encode())
    winners.cache_clear()
    return path
