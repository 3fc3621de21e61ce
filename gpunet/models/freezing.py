"""Find the layers to freeze by patterns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.layers import Layer


def matching(leaves: Mapping[str, Layer], patterns: Sequence[str]) -> list[Layer]:
    """Return the layers whose path, or all of whose parameters and buffers, a pattern matches.

    Raises:
        ArgumentError: a pattern matches nothing, or only a part of a layer.
    """
    if wrong := [pattern for pattern in patterns if not isinstance(pattern, str)]:
        raise ArgumentError(f"freeze takes names of layers, as in freeze('0', '1.*'), got {shown(wrong[0])}.")
    names = {path: [f"{path}.{name}" for name in (*leaf.params, *leaf.buffers)] for path, leaf in leaves.items()}
    found: dict[str, Layer] = {}
    for pattern in patterns:
        matched = {path: [name for name in own if fnmatchcase(name, pattern)] for path, own in names.items()}
        whole = [path for path, own in names.items() if own and (_is_in(path, pattern) or matched[path] == own)]
        partly = next((path for path, own in matched.items() if own and path not in whole), None)
        if partly is not None:
            raise ArgumentError(
                f"{pattern!r} matches only a part of layer {partly!r}, which has {', '.join(names[partly])}. A layer "
                f"can only be frozen as a whole: use {partly!r}. To keep single parameters constant, set their "
                f"learning rate to 0 with the optimizer's groups={{{pattern!r}: {{'lr': 0}}}}."
            )
        if not whole:
            listed = ", ".join(repr(path) for path, own in names.items() if own)
            there_are = f"their names are {listed}" if listed else "this model has none"
            raise ArgumentError(f"{pattern!r} matches no layer with parameters; {there_are}.")
        found |= {path: leaves[path] for path in whole}
    return list(found.values())


def _is_in(path: str, pattern: str) -> bool:
    """Return whether a pattern matches the path of a layer or of an enclosing layer."""
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:depth]), pattern) for depth in range(1, len(parts) + 1))
