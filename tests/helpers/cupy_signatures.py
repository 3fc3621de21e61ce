"""A table of the signatures of CuPy's functions that the simulator also has, so that tests need no CuPy.

    python tests/helpers/cupy_signatures.py

rewrites the table; it needs CuPy 14.2, but no GPU. Each line is a name with its parameters, such as
`take(a indices axis= out=)`: optional parameters end with `=`; `/` and `*` have their meaning in Python.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from gpunet import simulator

TABLE = Path(__file__).parent / "cupy_signatures.txt"
OURS = {"Counters", "Counts", "check_mode", "checking", "counters", "counting"}
"""Names of the simulator that CuPy does not have."""

CLASSES = ["ndarray", "RawKernel", "RawModule"]
CLASSES += ["cuda.Device", "cuda.Event", "cuda.Graph", "cuda.MemoryPointer", "cuda.Stream"]


def names() -> Iterator[str]:
    """Yield the public names of the simulator that CuPy must also have."""
    yield from sorted(set(simulator.__all__) - OURS)
    yield from (f"cuda.{name}" for name in simulator.cuda.__all__)
    yield from (f"cuda.runtime.{name}" for name in sorted(vars(simulator.cuda.runtime)))
    for path in CLASSES:
        yield from (f"{path}.{name}" for name in dir(find(simulator, path)) if not name.startswith("_"))
    yield "RawKernel.__call__"


def find(module: Any, path: str) -> Any:
    """Return the attribute at a dotted path in a module."""
    for name in path.split("."):
        module = getattr(module, name)
    return module


def signature(thing: Any) -> str:
    """Return the parameters of a function or class as in the table, without `self`; "" for anything else."""
    if not callable(thing) or getattr(thing, "__module__", "").startswith("numpy"):  # depends on NumPy's version
        return ""
    try:
        found = list(_inspected(thing))
    except (TypeError, ValueError):  # compiled functions and ufuncs have their signature in the docstring
        found = []
    text = re.search(r"[\w.]+\((.+)\)", thing.__doc__ or "")
    if text and (not found or found[-1] == "**kwargs"):
        found = list(_written(text[1]))
    return f"({' '.join(name for name in found if name != 'self')})"


def _inspected(thing: Any) -> Iterator[str]:
    kind = None
    for p in inspect.signature(thing).parameters.values():
        if kind == p.POSITIONAL_ONLY != p.kind:
            yield "/"
        if p.kind == p.KEYWORD_ONLY and kind not in (p.KEYWORD_ONLY, p.VAR_POSITIONAL):
            yield "*"
        kind = p.kind
        stars = {p.VAR_POSITIONAL: "*", p.VAR_KEYWORD: "**"}.get(kind, "")
        yield stars + p.name + ("" if p.default is p.empty else "=")


def _written(text: str) -> Iterator[str]:
    for part in re.split(r",(?![^(]*\))", text.replace("\\", "")):
        declaration, optional, _ = part.partition("=")
        yield declaration.split()[-1] + optional  # after the type, as in "int axis=-1"


def table(module: Any) -> str:
    """Return the table for CuPy, or for a module with the same interface."""
    return "".join(f"{name}{signature(find(module, name))}\n" for name in names())


if __name__ == "__main__":
    import cupy

    TABLE.write_text(table(cupy), encoding="utf-8")
