"""What a check of gradients returns."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class GradientReport:
    """What `check_gradients` found right.

    Attributes:
        subject: what was checked.
        device: where.
        checked: what is right.
        unchecked: what was not checked, and why.
    """

    subject: str
    device: str
    checked: tuple[str, ...]
    unchecked: tuple[str, ...] = ()

    def __repr__(self) -> str:
        right = f"{self.subject}: right on {self.device}: {', '.join(self.checked)}"
        return "\n".join([right, *(f"  not checked: {what}" for what in self.unchecked)])
