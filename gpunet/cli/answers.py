"""Format predictions as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Sequence
from typing import Any

FORMULA = ("=", "+", "-", "@", "\t", "\r")
"""First characters of a cell that a spreadsheet runs as a formula (OWASP, "CSV Injection")."""


def as_csv(header: Sequence[str], rows: Iterable[Sequence[Any]], *, formulas: bool = False) -> str:
    """Return rows as CSV; unless `formulas`, put a ' before text that a spreadsheet would run as a formula."""
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
