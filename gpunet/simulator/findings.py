"""What check mode finds: each finding with its grade, its stack and what to do about it.

A source accepts a finding of one line by a comment there, or alone on the line before: `// gpunet: allow race`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gpunet.errors import KernelError

GRADES = ("error", "warning", "benign")
"""Wrong or undefined; right by luck or on some GPUs; right though it is mostly a mistake."""

_ADVICE = {
    "race": "put __syncthreads() between the two accesses, or __syncwarp() where one warp makes both; between blocks "
    "use an atomic, or __threadfence() and an atomic counter.",
    "uninitialized read": "write it first, with a barrier between another thread's write and this read.",
    "out of bounds": "guard the index, as in if (i < n), or correct the size of the array or of the launch.",
    "misaligned": "access multiples of the type's size; declare a shared array of float4 accesses __align__(16).",
    "alignment by luck": "declare the array with __align__: another one before it may move it.",
    "write through a const pointer": "declare the parameter without const.",
    "divergent barrier": "move the barrier out of the branch, so that all threads of the block reach the same one.",
    "barrier after an early exit": "right from compute capability 7.0 on; a condition in place of the return is right "
    "everywhere.",
    "divergent warp collective": "let all lanes of the mask reach the same intrinsic, or name fewer lanes in the mask.",
    "undefined shuffle": "read from lanes of the mask alone; let no lane of it exit before.",
    "copy never waited for": "wait for the copy before the kernel ends.",
    "integer overflow": "use size_t or long long for the index, or unsigned numbers where wrapping is meant.",
    "integer division by zero": "guard the divisor.",
    "shift by": "shift by 0 to width - 1.",
    "stack overflow": "end the recursion, or move large local arrays to global memory.",
    "a result that depends on the order of blocks": "let what a block writes not depend on which have run before it.",
}


class Finding(NamedTuple):
    """What a kernel was found to do.

    Attributes:
        grade: one of `GRADES`.
        kind: such as "race" or "out of bounds".
        text: what was done, where, by which thread, to which memory.
        lines: "file:line" of the accesses that `text` speaks of.
        stack: "function at file:line", from the innermost call to the kernel.
        times: how often it was met.
    """

    grade: str
    kind: str
    text: str
    lines: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()
    times: int = 1

    @property
    def advice(self) -> str:
        """What to do about it; empty where the text says it."""
        return next((advice for kind, advice in _ADVICE.items() if self.kind.startswith(kind)), "")

    @property
    def described(self) -> str:
        """The finding in lines: what, how often, the stack, what to do."""
        times = f" ({self.times:,} times)" if self.times > 1 else ""
        calls = [f"in {call}" for call in self.stack] if len(self.stack) > 1 else []
        return "\n    ".join([f"{self.text}.{times}", *calls, *filter(None, [self.advice])])

    def __str__(self) -> str:
        calls = f" In {', called from '.join(self.stack)}." if len(self.stack) > 1 else ""
        return f"{self.text}.{calls}"


def read_findings(told: str, frames: Callable[[set[str]], Mapping[str, list[tuple[str, str]]]]) -> list[Finding]:
    """Return the findings that the runtime tells (`runtime/findings.cpp`).

    Args:
        told: a line for each: grade, times, text, stack, separated by tabs. Places in the code are `{pc 1a2b}`.
        frames: returns, for addresses such as "1a2b", the functions and the lines there, the innermost first.
    """
    known = frames(set(re.findall(r"\{pc (\w+)\}", told)))

    def line(address: str) -> str:
        return known[address][0][1] if known[address] else f"address 0x{address}"

    findings: dict[tuple[str, ...], Finding] = {}
    for row in told.splitlines():
        grade, times, text, stack = row.split("\t")
        addresses = re.findall(r"\{pc (\w+)\}", text)
        calls = [f"{name} at {where}" for pc in re.findall(r"\{pc (\w+)\}", stack) for name, where in known[pc]]
        text = re.sub(r"\{pc (\w+)\}", lambda m: line(m[1]), text)
        lines = tuple(line(pc) for pc in addresses) or tuple(re.findall(r"[\w.-]+\.\w+:\d+", text))
        finding = Finding(GRADES[int(grade)], kind_of(text), text, lines, tuple(calls), int(times))
        key = (finding.kind, *sorted(lines or [text]))  # a race may be met from both sides, code be inlined twice
        same = findings.get(key)
        if same is not None:
            worse = min(same, finding, key=lambda f: GRADES.index(f.grade))
            finding = worse._replace(times=same.times + finding.times)
        findings[key] = finding
    return list(findings.values())


def kind_of(text: str) -> str:
    """Return the kind of a finding: what its text begins with."""
    return re.split(r": | at |,", text, maxsplit=1)[0]


def allowed_lines(source: str, name: str) -> dict[str, set[str]]:
    """Return the kinds that comments of a source allow, by "file:line". `#line` is followed."""
    allowed: dict[str, set[str]] = {}
    number = 0
    for text in source.splitlines():
        number += 1
        if marker := re.match(r'\s*#\s*(?:line\s+)?(\d+)(?:\s+"([^"]*)")?', text):
            number, name = int(marker[1]) - 1, marker[2] or name
        elif comment := re.search(r"//\s*gpunet:\s*allow\s+([\w ,-]+)", text):
            kinds = {kind.strip() for kind in comment[1].split(",")}
            alone = text.lstrip().startswith("//")
            allowed.setdefault(f"{name.rpartition('/')[2]}:{number + alone}", set()).update(kinds)
    return allowed


def accept(findings: Iterable[Finding], allowed: Mapping[str, set[str]]) -> list[Finding]:
    """Return the findings, those that a comment allows as benign."""

    def grade(finding: Finding) -> str:
        lines = {*finding.lines, *(call.rpartition(" at ")[2] for call in finding.stack)}
        kinds = {kind for line in lines for kind in allowed.get(line, ())}
        return "benign" if any(finding.kind.startswith(kind) for kind in kinds) else finding.grade

    return [finding._replace(grade=grade(finding)) for finding in findings]


def raise_errors(kernel: str, findings: Iterable[Finding]) -> None:
    """Raise `KernelError` with all findings that are errors, if there are any."""
    if errors := [str(finding) for finding in findings if finding.grade == "error"]:
        raise KernelError(f"kernel {kernel}: " + "\nand: ".join(errors))
