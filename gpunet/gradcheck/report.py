"""The report of a gradient check."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GradientReport:
    """The result of a successful `check_gradients`: what is correct, and what was not checked and why."""

    subject: str
    device: str
    checked: tuple[str, ...]
    unchecked: tuple[str, ...] = ()

    def __repr__(self) -> str:
        correct = f"{self.subject}: correct on {self.device}: {', '.join(self.checked)}"
        return "\n".join([correct, *(f"  not checked: {what}" for what in self.unchecked)])
