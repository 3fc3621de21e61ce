"""Derive mutants of standard kinds from a source in CUDA, C++ or Python."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from mutation.mutant import ROOT, Mutant

KINDS: dict[str, list[tuple[str, str]]] = {
    "removed barrier": [(r"__sync(threads|warp)\(\);", "")],
    "other bound": [(" < ", " <= "), (" <= ", " < "), (" > ", " >= "), (" >= ", " > ")],
    "other sign": [(r" \+ ", " - "), (" - ", " + "), (r" \+= ", " -= "), (" -= ", " += ")],
    "off by one": [(r"(?<=[ (\[])(\d+)(?=[;,)\]: ])", r"\1 + 1")],
    "no atomic": [(r"atomicAdd\(([^(),]+), ([^();]+)\);", r"*(\1) += \2;")],
    "swapped arguments": [(r"(?<=\w\()(\w+), (\w+)(?=[,)])", r"\2, \1")],
    "removed guard": [
        (r"(?<=\n)( *)if \([^\n]*\) (return[^;\n]*|continue|break);\n", "\\1;\n"),
        (r"(?<=\n)( *if [^\n]*:)\n( *)(return|raise|continue)\b[^\n]*[^(\n]\n", "\\1\n\\2pass\n"),
    ],
    "other connective": [(" && ", " || "), (r" \|\| ", " && "), (" and ", " or "), (" or ", " and ")],
}
"""For each kind, regular expressions and what replaces them."""

NO_CODE = r'//[^\n]*|#[^\n]*|"""[\s\S]*?"""|"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\''
"""Comments, preprocessor lines and strings, in C++ and in Python."""


def derive(file: str, tests: tuple[str, ...], root: Path = ROOT) -> list[Mutant]:
    """Return the mutants of all kinds of a source, in the order of their place.

    Args:
        file: the source, from the repository's root on.
        tests: the tests that should notice them.
    """
    text = (root / file).read_text(encoding="utf-8")
    code = re.sub(NO_CODE, lambda found: re.sub(r"[^\n]", "\0", found[0]), text)
    changes = sorted((start, end, kind, new) for kind in KINDS for start, end, new in _changes(kind, code, text))
    mutants = []
    for start, end, kind, new in changes:
        old, new = _unique(text, start, end, new)
        mutants.append(Mutant(f"{kind}, line {text.count(chr(10), 0, start) + 1}", file, old, new, "", tests))
    return mutants


def _changes(kind: str, code: str, text: str) -> Iterator[tuple[int, int, str]]:
    """Yield the start and the end of each place of a kind, and the text that replaces it."""
    for pattern, replacement in KINDS[kind]:
        for match in re.finditer(pattern, code):
            groups = [text[slice(*match.span(number))] for number in range(len(match.groups()) + 1)]
            yield *match.span(), re.sub(r"\\(\d)", lambda group, groups=groups: groups[int(group[1])], replacement)


def _unique(text: str, start: int, end: int, new: str) -> tuple[str, str]:
    """Return the change of text[start:end] to `new` with as much of the text around it as makes it unique."""
    first, last = start, end
    while text.count(text[first:last]) > 1:
        first, last = max(first - 1, 0), min(last + 1, len(text))
    return text[first:last], text[first:start] + new + text[end:last]
