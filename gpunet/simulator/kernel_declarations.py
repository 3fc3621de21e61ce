"""Find the kernels in a preprocessed CUDA source: functions, templates and their instances."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from gpunet.simulator.shared_declarations import LINE_MARKER, split

_KERNEL = re.compile(r"\b__global__\s+(?P<head>[\w\s:*&]*?)\b(?P<name>\w+)\s*\(")
_BOUNDS = re.compile(r"\b__launch_bounds__\s*\(")
_INSTANCE = re.compile(r"\btemplate\s+__global__\s+void\s+([\w:]+\s*<[^;{}]*?>)\s*\(")
_STRING = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])\'')
_SCOPE = re.compile(r"\bnamespace\b([^{};=()]*)\{|[{}]")
MAX_THREADS = "1024"


@dataclass(frozen=True)
class Kernel:
    """A kernel that a source defines. The compiler determines the types of its parameters.

    Attributes:
        name: qualified, with template arguments: "ns::scale<float>".
        parameters: their names.
        max_threads: the first argument of `__launch_bounds__`, a C++ expression.
        types: "float*, int", if the source overloads the kernel, and part of the name: "scale(float*, int)".
    """

    name: str
    parameters: tuple[str, ...]
    max_threads: str = MAX_THREADS
    types: str | None = None


@dataclass(frozen=True)
class _Definition:
    """The definition of a kernel.

    Attributes:
        begin: position of the definition in the text.
        template: the header `template <...>`, or empty.
        declared: the text of the parameters.
    """

    kernel: Kernel
    begin: int
    template: str
    declared: str

    def overload(self) -> Kernel:
        """Return the kernel as one of several overloads."""
        types = ", ".join(_types(self.declared, self.kernel.parameters))
        return replace(self.kernel, name=f"{self.kernel.name}({types})", types=types)

    def instance(self, name: str) -> Kernel:
        """Return the instance that an expression such as "scale<float>" names."""
        arguments = name[name.index("<") :]
        scope = self.kernel.name.rpartition("::")[0]
        bounded = self.kernel.max_threads != MAX_THREADS
        max_threads = f"{scope}::{self.bounds_name}{arguments}" if bounded else MAX_THREADS
        return Kernel(name, self.kernel.parameters, max_threads)

    @property
    def bounds_name(self) -> str:
        """The name of the variable template that holds the `__launch_bounds__` of the instances."""
        return f"gpunet_max_threads_{self.kernel.name.rpartition('::')[2]}"

    @property
    def bounds(self) -> str:
        """The definition of that variable template, on one line."""
        return f"{' '.join(self.template.split())} constexpr unsigned {self.bounds_name} = {self.kernel.max_threads}; "


def find_kernels(text: str, expressions: Sequence[str] = ()) -> tuple[list[Kernel], str]:
    """Return the kernels that preprocessed CUDA defines or instantiates, and the text without `__launch_bounds__`.

    Args:
        expressions: additional instances of templates, such as "scale<float>".
    """
    text, bounds = _blank_bounds(text)
    bare = _STRING.sub(lambda match: f'"{" " * (len(match[0]) - 2)}"', text)
    definitions = list(_definitions(bare, bounds))
    names = Counter(d.kernel.name for d in definitions)
    plain = [d.overload() if names[d.kernel.name] > 1 else d.kernel for d in definitions if not d.template]
    kernels = {kernel.name: kernel for kernel in plain}
    templates = {d.kernel.name: d for d in definitions if d.template}
    scopes = list(_namespaces(bare))
    explicit = (_prefix(scopes, match.start()) + match[1] for match in _INSTANCE.finditer(bare))
    for name in (*explicit, *expressions):
        if template := templates.get(name.partition("<")[0].strip()):
            kernels[name] = template.instance(name)
    for d in reversed(definitions):
        if d.template and d.kernel.max_threads != MAX_THREADS:
            begin = d.begin + re.match(r"\s*", text[d.begin :]).end()  # type: ignore[union-attr]
            text = text[:begin] + d.bounds + text[begin:]
    return list(kernels.values()), text


def _blank_bounds(text: str) -> tuple[str, dict[int, str]]:
    """Replace each `__launch_bounds__` by blanks; return the text, and the first arguments by position."""
    bounds = {}
    for match in _BOUNDS.finditer(text):
        end = _closing(text, match.end() - 1) + 1
        bounds[match.start()] = split(text[match.end() : end - 1])[0]
        text = text[: match.start()] + re.sub(r"\S", " ", text[match.start() : end]) + text[end:]
    return text, bounds


def _definitions(text: str, bounds: dict[int, str]) -> Iterator[_Definition]:
    scopes = list(_namespaces(text))
    for match in _KERNEL.finditer(text):
        end = _closing(text, match.end() - 1)
        begin = _declaration_begin(text, match.start())
        if not text[end + 1 :].lstrip().startswith("{"):
            continue
        max_threads = next((bound for place, bound in bounds.items() if begin <= place < end), MAX_THREADS)
        names = _parameter_names(text[match.end() : end])
        template = re.match(r"\s*(template\s*<.*>)", text[begin : match.start()], re.DOTALL)
        kernel = Kernel(_prefix(scopes, begin) + match["name"], names, max_threads)
        yield _Definition(kernel, begin, template[1] if template else "", text[match.end() : end])


def _declaration_begin(text: str, place: int) -> int:
    """Return where the declaration around `place` begins: after the previous statement and line markers."""
    before = text[max(0, place - 2000) : place]
    ends = [match.end() for match in re.finditer(r'^#.*$|[;{}]|"', before, re.MULTILINE)]
    return place - len(before) + (ends[-1] if ends else 0)


def _namespaces(text: str) -> Iterator[tuple[int, int, str]]:
    """Yield begin, end and name of each namespace."""
    opened: list[tuple[int, str | None]] = []
    for token in _SCOPE.finditer(text):
        if token[0].endswith("{"):
            opened.append((token.start(), None if token[1] is None else token[1].strip()))
        elif token[0] == "}" and opened:
            begin, name = opened.pop()
            if name:
                yield begin, token.start(), name


def _prefix(scopes: list[tuple[int, int, str]], place: int) -> str:
    """Return the namespaces around a position, such as "outer::inner::"."""
    return "".join(f"{name}::" for begin, end, name in sorted(scopes) if begin < place < end)


def _closing(text: str, opening: int) -> int:
    """Return the position of the parenthesis that closes the one at `opening`, or the end of the text."""
    depth = 0
    for i in range(opening, len(text)):
        depth += (text[i] == "(") - (text[i] == ")")
        if depth == 0:
            return i
    return len(text)


def _declared(text: str) -> list[str]:
    """Return the declarations of the parameters without default values."""
    parts = (part.partition("=")[0].strip() for part in split(LINE_MARKER.sub("", text)))
    return [part for part in parts if part not in ("", "void")]


def _parameter_names(text: str) -> tuple[str, ...]:
    return tuple(re.findall(r"\w+", re.sub(r"\[.*", "", part))[-1] for part in _declared(text))


def _types(text: str, names: Sequence[str]) -> Iterator[str]:
    """Yield the types of parameters."""
    for part, name in zip(_declared(text), names, strict=True):
        bare = re.sub(rf"\b(?:{name}|__restrict__)\b|\s*\[", "", part).replace("]", "*")
        yield re.sub(r"\s+(?=\*|$)", "", " ".join(bare.split()))
