"""Find the layers that patterns name, to freeze them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase

from gpunet.errors import ArgumentError
from gpunet.layers import Layer


def matching(leaves: Mapping[str, Layer], patterns: Iterable[str]) -> list[Layer]:
    """Return the layers with parameters or buffers of which a pattern matches the path, or all names inside.

    Args:
        leaves: the layers by path.
        patterns: such as "0" or "0.*", in which * stands for anything and ? for one character.

    Raises:
        ArgumentError: a pattern that matches nothing, or not all that a layer has.
    """
    names = {path: [f"{path}.{name}" for name in (*leaf.params, *leaf.buffers)] for path, leaf in leaves.items()}
    found: dict[str, Layer] = {}
    for pattern in patterns:
        matched = {path: [name for name in own if fnmatchcase(name, pattern)] for path, own in names.items()}
        whole = [path for path, own in names.items() if own and (fnmatchcase(path, pattern) or matched[path] == own)]
        partly = next((path for path, own in matched.items() if own and path not in whole), None)
        if partly is not None:
            raise ArgumentError(
                f"{pattern!r} matches {', '.join(matched[partly])} of {', '.join(names[partly])}, and a layer is "
                f"frozen as a whole: say {f'{partly}.*'!r}. To keep single parameters as they are, give them the rate "
                f"0: groups={{{pattern!r}: {{'lr': 0}}}} of the optimizer."
            )
        if not whole:
            listed = ", ".join(path for path, own in names.items() if own)
            raise ArgumentError(f"{pattern!r} matches no layer with parameters; there are {listed or 'none'}.")
        found |= {path: leaves[path] for path in whole}
    return list(found.values())
