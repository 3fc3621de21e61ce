"""The findings of check mode, each with a grade, a stack and advice.

A comment on a line, or alone on the line before, accepts findings of that line: `// gpunet: allow race`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from gpunet.errors import KernelError

GRADES = ("error", "warning", "benign")
"""Wrong or undefined; correct only by luck or on some GPUs; correct but usually a mistake."""

_ADVICE = {
    "uninitialized read": "write it first, with a barrier between another thread's write and this read.",
    "out of bounds": "guard the index, as in if (i < n), or correct the size of the array or of the launch.",
    "misaligned": "access multiples of the type's size; declare a shared array of float4 accesses __align__(16).",
    "alignment by luck": "declare the array with __align__, because an array declared before may move it.",
    "write through a const pointer": "declare the parameter without const.",
    "divergent barrier": "move the barrier out of the branch, so that all threads of the block reach the same one.",
    "barrier after an early exit": "threads that have ended do not take part: a return, or the end of the kernel, "
    "before this barrier; let all threads reach it, outside of any condition, to be correct on all GPUs.",
    "divergent warp collective": "let all lanes of the mask reach the same intrinsic, or name fewer lanes in the mask.",
    "undefined shuffle": "read only from lanes of the mask that have not exited.",
    "copy never waited for": "wait for the copy before the kernel ends.",
    "integer overflow": "use size_t or long long for the index, or unsigned numbers if wrap-around is intended.",
    "integer division by zero": "guard the divisor.",
    "shift by": "shift by 0 to width - 1.",
    "stack overflow": "end the recursion, or move large local arrays to global memory.",
    "a result that depends on the order of blocks": "make the writes of a block independent of the order of blocks.",
}


class Finding(NamedTuple):
    """A finding of check mode.

    Attributes:
        grade: one of `GRADES`.
        kind: such as "race".
        text: the access, its line, thread and memory.
        lines: "file:line" of the accesses in `text`.
        stack: "function at file:line", from the innermost call to the kernel.
    """

    grade: str
    kind: str
    text: str
    lines: tuple[str, ...] = ()
    stack: tuple[str, ...] = ()
    times: int = 1

    @property
    def key(self) -> tuple[str, ...]:
        """The same for both sides of a race, and for inlined copies."""
        return self.kind, *sorted(self.lines or [self.text])

    @property
    def rank(self) -> int:
        """The place of the grade in `GRADES`: 0 for an error."""
        return GRADES.index(self.grade)

    @property
    def advice(self) -> str:
        """How to fix it; empty if the text says it."""
        if self.kind == "race":
            return self._race_advice
        return next((advice for kind, advice in _ADVICE.items() if self.kind.startswith(kind)), "")

    @property
    def _race_advice(self) -> str:
        if ", which wrote the same value" in self.text:
            return (
                "the values were equal in this run. If they may differ, synchronize the writes. If they never do, let "
                "one thread write, use an atomic such as atomicExch, or accept it: // gpunet: allow race."
            )
        threads = re.findall(r"thread \((\d+),(\d+),(\d+)\) of (block \([\d,]+\))", self.text)
        if len({block for *_, block in threads}) > 1:
            return "between blocks use an atomic, or __threadfence() and an atomic counter."
        in_device_function = len(self.stack) > 1  # its line can be reached from several calls
        if len(set(self.lines)) == 1 and not in_device_function:
            advice = (
                "put __syncthreads() at the end (or the beginning) of the loop body that repeats this line; if no loop "
                "does, or there is one already, use an atomic, or split the line into a read and a write with "
                "__syncthreads() between them."
            )
        else:
            advice = "put __syncthreads() between the two accesses."
        one_warp = len({int(x) // 32 for x, *_ in threads}) == 1 and all((y, z) == ("0", "0") for _, y, z, _ in threads)
        return advice + " __syncwarp() is enough if all threads that share the memory are in one warp." * one_warp

    @property
    def described(self) -> str:
        """Text, number of occurrences, stack and advice, on several lines."""
        times = f" ({self.times:,} times)" if self.times > 1 else ""
        calls = [f"in {call}" for call in self.stack] if len(self.stack) > 1 else []
        return "\n    ".join([f"{self.text}.{times}", *calls, *filter(None, [self.advice])])

    def __str__(self) -> str:
        calls = f" In {', called from '.join(self.stack)}." if len(self.stack) > 1 else ""
        return f"{self.text}.{calls}"


def read_findings(report: str, frames: Callable[[set[str]], Mapping[str, list[tuple[str, str]]]]) -> list[Finding]:
    """Parse the report of the runtime (`runtime/findings.cpp`).

    Args:
        report: a line per finding: grade, times, text, stack, separated by tabs. Addresses of code are `{pc 1a2b}`.
        frames: returns the functions and lines at addresses such as "1a2b", innermost first.
    """
    known = frames(set(re.findall(r"\{pc (\w+)\}", report)))

    def line(address: str) -> str:
        return known[address][0][1] if known[address] else f"address 0x{address}"

    findings: dict[tuple[str, ...], Finding] = {}
    for row in report.splitlines():
        grade, times, text, stack = row.split("\t")
        addresses = re.findall(r"\{pc (\w+)\}", text)
        calls = [f"{name} at {where}" for pc in re.findall(r"\{pc (\w+)\}", stack) for name, where in known[pc]]
        text = re.sub(r"\{pc (\w+)\}", lambda m: line(m[1]), text)
        lines = tuple(line(pc) for pc in addresses) or tuple(re.findall(r"[\w.-]+\.\w+:\d+", text))
        finding = Finding(GRADES[int(grade)], kind_of(text), text, lines, tuple(calls), int(times))
        same = findings.get(finding.key)
        if same is not None:
            worse = min(same, finding, key=lambda f: f.rank)
            finding = worse._replace(times=same.times + finding.times)
        findings[finding.key] = finding
    return list(findings.values())


def kind_of(text: str) -> str:
    """Return a finding's kind, with which its text begins."""
    return re.split(r": | at |,", text, maxsplit=1)[0]


def allowed_lines(source: str, name: str) -> dict[str, set[str]]:
    """Return the kinds that comments in a source allow, by "file:line" (as changed by `#line`)."""
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
    """Grade findings that a comment allows as benign."""

    def grade(finding: Finding) -> str:
        lines = {*finding.lines, *(call.rpartition(" at ")[2] for call in finding.stack)}
        kinds = {kind for line in lines for kind in allowed.get(line, ())}
        return "benign" if any(finding.kind.startswith(kind) for kind in kinds) else finding.grade

    return [finding._replace(grade=grade(finding)) for finding in findings]


def raise_errors(kernel: str, findings: Iterable[Finding]) -> None:
    """Raise one `KernelError` with all findings of grade "error"."""
    if errors := [str(finding) for finding in findings if finding.grade == "error"]:
        raise KernelError(f"kernel {kernel}: " + "\nand: ".join(errors))
