"""Rewrite declarations of shared memory as C++, with calls that describe them to the checker.

| CUDA | C++ |
|---|---|
| `extern __shared__ T s[];` | a reference to the runtime's dynamic shared memory |
| `__shared__ T s[64];` | `static thread_local T s[64];`, and a call that passes its size and alignment |
| `T* a = s + n;`, s being dynamic | the same, and a call that passes where `a` begins; `a[i]` checks its bounds |
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator
from typing import NamedTuple

LINE_MARKER = re.compile(r"^#.*$", re.MULTILINE)
_TOKEN = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'|[{}]|\b__shared__\b')
_FUNCTION = re.compile(r"(?:[)\]]\s*(?:const|noexcept|mutable|->\s*[\w:<>*&\s]+)?|\b(?:else|do|try))$")
_ALIGNMENT = re.compile(r"(?:__align__|alignas|__attribute__\s*\(\(\s*_*aligned_*)\s*\(([^()]*)\)(?:\s*\)\s*\))?")
_SPECIFIER = re.compile(r"\b(?:extern|static|__shared__)\b")
_DYNAMIC = re.compile(r"\s*(?P<type>.+?)\s*\b(?P<name>\w+)\s*\[\s*\]\s*", re.DOTALL)
_POINTERS = re.compile(
    r"(?<=[;{}])(?:\s|^#.*$)*(?:[\w:]+\s+)*?(?:[\w:]+\s*(?=\*)|auto\s+)([^;{}()]*?=[^;{}]*);", re.MULTILINE
)
_POINTER = re.compile(r"[\s*]*(?:(?:const|__restrict__)\s+)?(\w+)\s*=(.*)", re.DOTALL)

Edit = tuple[int, int, str]
"""A replacement: begin, end, new text."""


class _Place(NamedTuple):
    """The position of a `__shared__`, whether it is inside a function, and the end of the enclosing `{}` block."""

    token: int
    in_function: bool
    block_end: int


def rewrite_shared(text: str) -> str:
    """Rewrite the shared memory declarations of preprocessed CUDA as C++ without changing line numbers."""
    edits: list[Edit] = []
    ids = itertools.count()
    for place in _places(text):
        begin, end = _statement(text, place.token)
        statement = text[begin:end]
        dynamic = _DYNAMIC.fullmatch(_bare(statement)) if re.search(r"\bextern\b", statement) else None
        edits.append((begin, end, _dynamic(**dynamic.groupdict()) if dynamic else _static(statement)))
        if dynamic:
            edits += _shared_arrays(text, end, place.block_end, dynamic["name"], ids)
        elif place.in_function:
            edits.append((end + 1, end + 1, _declared(statement)))
    for begin, end, new in sorted(edits, reverse=True):
        newlines = "\n" * (text.count("\n", begin, end) - new.count("\n"))
        text = text[:begin] + newlines + new + text[end:]
    return text


def _dynamic(type: str, name: str) -> str:
    return f"static {type} (&{name})[] = reinterpret_cast<{type} (&)[]>(simulator::dynamic_shared)"


def _static(statement: str) -> str:
    # Align for any access: the CPU must accept those that the declaration does not allow, which `_declared` checks.
    alignments = " ".join(match[0] for match in _ALIGNMENT.finditer(statement))
    # Initialize to zero, which needs no code. Otherwise g++ adds a guard variable for classes with constructors.
    variables = (part if "=" in part else part + "{}" for part in split(_bare(statement)))
    return f"{alignments} static thread_local __attribute__((aligned(16))) {', '.join(variables)}"


def _declared(statement: str) -> str:
    """Return calls that pass the variables of a declaration to the checker."""
    alignments = "".join(f", {match[1]}" for match in _ALIGNMENT.finditer(statement))
    calls = []
    for part in split(_bare(statement)):
        name = re.findall(r"\w+", _without_brackets(part.partition("=")[0]))[-1]
        calls.append(f" simulator::declare_shared<simulator::most(alignof(decltype({name})){alignments})>({name});")
    return "".join(calls)


def _bare(statement: str) -> str:
    """Return a declaration without specifiers and alignments."""
    return _SPECIFIER.sub("", _ALIGNMENT.sub("", LINE_MARKER.sub("", statement))).strip()


def _without_brackets(text: str) -> str:
    while (shorter := re.sub(r"\[[^\[\]]*\]", "", text)) != text:
        text = shorter
    return text


def _shared_arrays(text: str, begin: int, end: int, name: str, ids: Iterator[int]) -> Iterator[Edit]:
    """Yield edits that pass pointers into the dynamic array `name`, where they are declared, to the checker."""
    known = {name}
    for match in _POINTERS.finditer(text, begin, end):
        for part in split(match[1]):
            pointer = _POINTER.fullmatch(part)
            if pointer is None or known.isdisjoint(re.findall(r"\w+", pointer[2])):
                continue
            a, number = pointer[1], next(ids)
            known.add(a)
            yield match.end(), match.end(), f' simulator::carve({number}, "{a}", {a});'
            # not `&a[i]`: the address of the end is allowed
            for use in re.compile(rf"(?<![\w.>])(?<!(?<!&)&)\b{a}(?=\s*\[)").finditer(text, match.end(), end):
                yield use.start(), use.end(), f"simulator::carved({a}, {number})"


def _places(text: str) -> Iterator[_Place]:
    """Yield the position of each `__shared__`."""
    opened: list[int] = []
    closed: dict[int, int] = {}
    found: list[tuple[int, list[int]]] = []
    for token in _TOKEN.finditer(text):
        if token[0] == "{":
            opened.append(token.start())
        elif token[0] == "}" and opened:
            closed[opened.pop()] = token.start()
        elif token[0] == "__shared__":
            found.append((token.start(), opened.copy()))
    for start, braces in found:
        yield _Place(start, _in_function(text, braces), closed.get(braces[-1], len(text)) if braces else len(text))


def _in_function(text: str, braces: list[int]) -> bool:
    """Return whether the innermost of the open `braces`, block statements aside, belongs to a function."""
    for brace in reversed(braces):
        before = LINE_MARKER.sub("", text[max(0, brace - 300) : brace]).rstrip()
        if _FUNCTION.search(before):
            return True
        if before and before[-1] not in ";{}:":
            return False
    return False


def _statement(text: str, token: int) -> tuple[int, int]:
    """Return the begin of the declaration around `token` and the position of its semicolon."""
    before = _ALIGNMENT.sub(lambda m: " " * len(m[0]), text[max(0, token - 300) : token])
    delimiters = list(re.finditer(r"^#.*$|[;{}()]|(?<!:):(?!:)", before, re.MULTILINE))
    begin = token - len(before) + (delimiters[-1].end() if delimiters else 0)
    depth = 0
    for match in re.compile(r"[(\[{}\]);]").finditer(text, token):
        if match[0] == ";" and depth == 0:
            return begin, match.start()
        depth += (match[0] in "([{") - (match[0] in ")]}")
    return begin, len(text)


def split(text: str) -> list[str]:
    """Split at commas outside brackets."""
    parts, depth = [""], 0
    for c in LINE_MARKER.sub("", text):
        depth += (c in "(<[{") - (c in ")>]}")
        if c == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += c
    return [part.strip() for part in parts]
