"""Find the layers that patterns name, to freeze them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from gpunet.arguments import shown
from gpunet.errors import ArgumentError
from gpunet.layers import Layer


def matching(leaves: Mapping[str, Layer], patterns: Sequence[str]) -> list[Layer]:
    """Return the layers with parameters or buffers of which a pattern matches the path, or all names inside.

    Args:
        leaves: the layers by path.
        patterns: such as "0" or "0.*", in which * stands for anything and ? for one character.

    Raises:
        ArgumentError: no text, a pattern that matches nothing, or not all that a layer has.
    """
    if wrong := [pattern for pattern in patterns if not isinstance(pattern, str)]:
        raise ArgumentError(f"layers are frozen by their names, as in freeze('0', '1.*'), got {shown(wrong[0])}.")
    names = {path: [f"{path}.{name}" for name in (*leaf.params, *leaf.buffers)] for path, leaf in leaves.items()}
    found: dict[str, Layer] = {}
    for pattern in patterns:
        matched = {path: [name for name in own if fnmatchcase(name, pattern)] for path, own in names.items()}
        whole = [path for path, own in names.items() if own and (_is_in(path, pattern) or matched[path] == own)]
        partly = next((path for path, own in matched.items() if own and path not in whole), None)
        if partly is not None:
            raise ArgumentError(
                f"{pattern!r} names a part of layer {partly!r}, which has {', '.join(names[partly])}. Layers are "
                f"frozen as a whole: say {partly!r}. To keep single parameters as they are, give them the rate 0: "
                f"groups={{{pattern!r}: {{'lr': 0}}}} of the optimizer."
            )
        if not whole:
            listed = ", ".join(path for path, own in names.items() if own)
            raise ArgumentError(f"{pattern!r} matches no layer with parameters; there are {listed or 'none'}.")
        found |= {path: leaves[path] for path in whole}
    return list(found.values())


def _is_in(path: str, pattern: str) -> bool:
    """Return whether a pattern matches the path of a layer, or of one that it is part of."""
    parts = path.split(".")
    return any(fnmatchcase(".".join(parts[:depth]), pattern) for depth in range(1, len(parts) + 1))
