"""Predictions as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""What a cell begins with that a spreadsheet would run (OWASP, "CSV Injection")."""


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]], *, formulas: bool = False) -> str:
    """Return rows as CSV; text that a spreadsheet would run as a formula gets a ' before it, unless `formulas`."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for row in (header, *rows):
        writer.writerow(row if formulas else map(_inert, row))
    return text.getvalue()


def _inert(cell: Any) -> Any:
    if not isinstance(cell, str) or len(cell) == 1 or not cell.startswith(FORMULA):
        return cell
    try:
        float(cell)
    except ValueError:
        return f"'{cell}"
    return cell
