"""Changes to the contents of files that leave them well-formed: JSON values, named arrays, bytes."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

ODD_VALUES: tuple[Any, ...] = (
    None,
    True,
    0,
    1,
    -1,
    3,
    2**31,
    2**63,
    10**30,
    -0.5,
    1e308,
    math.nan,
    math.inf,
    "",
    "x" * 1000,
    "\x1b[31mred\n",
    "Linear",
    [],
    [[]],
    [1, 2],
    {},
    {"type": "Linear"},
)

ODD_SHAPES = ((), (0,), (1,), (3, 0), (1, 1, 1), (7, 5))
ODD_DTYPES = (np.float64, np.float16, np.int64, np.uint8, np.bool_)

Container = dict[str, Any] | list[Any]


def mutated_json(rng: np.random.Generator, value: Any) -> Any:
    """Return a copy of a JSON value with one to three changes."""
    value = {"root": copy.deepcopy(value)}
    for _ in range(rng.integers(1, 4)):
        if places := _places(value):
            container, key = places[rng.integers(len(places))]
            _change(rng, container, key)
    return value.get("root")


def _places(value: Any) -> list[tuple[Container, Any]]:
    """Return each place below `value`: what contains it, and its key or index there."""
    keys: Any = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    found = [(value, key) for key in keys]
    return found + [place for key in keys for place in _places(value[key])]


def _change(rng: np.random.Generator, container: Any, key: Any) -> None:
    """Delete, rescale, repeat, rename, nest, edit or replace the value at one place."""
    old = container[key]
    kind = rng.integers(7)
    if kind == 0:
        del container[key]
    elif kind == 1 and isinstance(old, int | float) and math.isfinite(old):
        container[key] = old * int(rng.choice([-1, 2, 1000, 10**12])) + int(rng.integers(-1, 2))
    elif kind == 2 and isinstance(old, list):
        container[key] = old * 2
    elif kind == 3 and isinstance(container, dict):
        container[f"{key}{'' if rng.integers(2) else 's'}"] = container.pop(key)
    elif kind == 4:
        for _ in range(int(rng.choice([1, 3, 30]))):
            old = [old]
        container[key] = old
    elif kind == 5 and isinstance(old, str) and old:
        cut = int(rng.integers(len(old)))
        container[key] = old[:cut] + str(rng.choice(["", "\0", "é", old])) + old[cut + 1 :]
    else:
        container[key] = copy.deepcopy(ODD_VALUES[rng.integers(len(ODD_VALUES))])


def mutated_arrays(rng: np.random.Generator, arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return named arrays with one change: a name, a shape, a dtype, values."""
    changed = dict(arrays)
    name = list(changed)[rng.integers(len(changed))]
    a = changed.pop(name)
    kind = rng.integers(7)
    if kind == 1:
        changed[f"{name}s"] = a
    elif kind == 2:
        changed[name] = np.zeros(ODD_SHAPES[rng.integers(len(ODD_SHAPES))], a.dtype)
    elif kind == 3 and a.dtype.kind != "U":
        changed[name] = a.astype(ODD_DTYPES[rng.integers(len(ODD_DTYPES))])
    elif kind == 4:
        changed[name] = np.ascontiguousarray(a.T)
    elif kind == 5:
        changed[name] = np.full_like(a, rng.choice([math.nan, math.inf, -1e38]) if a.dtype.kind == "f" else 0)
    elif kind == 6:
        changed |= {name: a, f"extra.{name}": a}
    return changed


def mutated_bytes(rng: np.random.Generator, data: bytes) -> bytes:
    """Return bytes with one change: some are replaced, removed or repeated."""
    first, second = sorted(rng.integers(len(data) + 1, size=2).tolist())
    changes: list[Callable[[], bytes]] = [
        lambda: data[:first],
        lambda: data[:first] + rng.bytes(4) + data[first + 4 :],
        lambda: data[:first] + data[second:],
        lambda: data[:second] + data[first:],
        lambda: data[:first] + bytes([data[first % len(data)] ^ (1 << int(rng.integers(8)))]) + data[first + 1 :],
    ]
    return changes[rng.integers(len(changes))]()
