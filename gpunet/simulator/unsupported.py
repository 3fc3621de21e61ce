"""Refuse CUDA constructs that the simulator does not support, by name and line."""

from __future__ import annotations

import re

_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"')
_MARKER = re.compile(r'^# (\d+) "([^"\n]*)".*\n', re.MULTILINE)
_HOST = "put host code behind #ifndef GPUNET_SIMULATOR"
_HEAP = f"memory from the device's heap is not simulated; {_HOST}"
_TEXTURES = "textures and surfaces are not simulated; read the array itself"
_UNSUPPORTED = {
    r"<<<": f"a launch from code (dynamic parallelism) is not simulated; {_HOST}",
    r"\bcuda(?:Malloc|Free|Mem|Launch|Event|Stream|Device|Get)\w*": f"CUDA's runtime API is not simulated; {_HOST}",
    r"(?:^|(?<=[;}]))\s*(?:static\s+)?(?:texture|surface)\s*(?=<)": _TEXTURES,
    r"\b(?:cuda(?:Texture|Surface)Object_t|(?:tex|surf)[123]D\w*)\b": _TEXTURES,
    r"\b(?:__cluster_dims__|this_cluster|cluster_group|map_shared_rank)\b": "clusters of blocks are not simulated",
    r"(?<![\w.>:])(?:malloc|free)(?=\s*\()": _HEAP,
    r"(?<!operator )\bnew\s+(?=[A-Za-z_])": _HEAP,
    r"\b(?:cub|thrust)\s*::": "cub and thrust are not simulated; write the algorithm with warp and block primitives",
}


class Refusal(Exception):
    """A construct that is not simulated, at position `place` of a preprocessed text."""

    def __init__(self, place: int, what: str):
        super().__init__(what)
        self.place = place


def refuse_unsupported(text: str) -> None:
    """Raise `Refusal` for the first construct in preprocessed CUDA that is not simulated."""
    bare = _STRING.sub(lambda match: " " * len(match[0]), text)
    found = [
        (match.end(), match[0].strip(), why)
        for word, why in _UNSUPPORTED.items()
        for match in re.finditer(word, bare, re.MULTILINE)
    ]
    if found:
        place, name, why = min(found)
        raise Refusal(place, f"{name}: {why}")


def line_of(text: str, place: int) -> str:
    """Return the file and line of a position in preprocessed text, such as "my.cu:3"."""
    marker = list(_MARKER.finditer(text, 0, place))[-1]
    return f"{marker[2]}:{int(marker[1]) + text.count(chr(10), marker.end(), place)}"
