"""Infer the header, the column names and the decimal mark from the first rows of a table."""

from __future__ import annotations

import csv
import re
from collections import Counter
from collections.abc import Iterable
from itertools import count, zip_longest
from typing import Any

from gpunet.data.table.dates import DATES
from gpunet.data.table.numerals import NO_NUMBER, is_plain, proven_mark
from gpunet.errors import DataError

_WHOLE, _YEAR = re.compile(r"\d+"), re.compile(r"(1[89]|2[01])\d\d")
_MARKED = re.compile(r"[-+]?[\d.,]*[.,]\d+")


BLANKS = " "
"""The separator of files whose cells are separated by one or more blanks."""


def reader(lines: Iterable[str], sep: str, *, spaced: bool = True, strict: bool = False) -> Any:
    """Return Python's CSV reader of lines."""
    if sep == BLANKS:
        lines = (f"{line.replace(chr(9), BLANKS).rstrip()}\n" for line in lines)
    return csv.reader(lines, delimiter=sep, skipinitialspace=spaced, strict=strict)


def is_value(cell: str) -> bool:
    """Return whether a cell is a number or a date, as no cell of a header is."""
    return is_plain(cell) or bool(DATES.match(cell))


def is_header(rows: list[list[str]]) -> bool:
    """Return whether the first row is a header."""
    first, below = rows[0], rows[1:]
    values = [cell for cell in first if is_value(cell)]
    columns = [[row[i] for row in below if i < len(row) and row[i].lower() not in NO_NUMBER] for i in range(len(first))]
    text = [i for i, cell in enumerate(first) if cell.lower() not in NO_NUMBER and cell not in values]
    if any(columns[i] and all(map(is_value, columns[i])) for i in text):
        return True  # text above a column of numbers or dates
    again = sum(first[i] in columns[i] for i in text)
    if not values:  # text alone: cells of a header rarely occur again below it
        return 2 * again < max(len(text), 1)
    if not below or not text or again or not all(map(_WHOLE.fullmatch, values)) or len({*values}) < len(values):
        return False
    # text that does not occur again, and whole numbers: default names of pandas, years, or a header of class labels
    numbered = values == [str(i) for i in range(len(values))] and len(values) > 1
    years = len(values) > 1 and all(map(_YEAR.fullmatch, values))
    labelled = text[-1] == len(first) - 1 and min(Counter(columns[-1]).values(), default=0) > 1
    return numbered or years or labelled


def column_names(
    header: list[str] | None, rows: list[list[str]], name: str, line: int
) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return the column names, and the positions of columns that the header does not name."""
    cells = [""] * max(Counter(map(len, rows)).most_common(1)[0][0] if rows else 0, 1) if header is None else [*header]
    if header is not None and rows and all(len(row) == len(header) + 1 and not row[-1] for row in rows):
        cells = [*header, ""]  # each row ends in a separator
    for i, cell in enumerate(cells):
        if cell and cell in cells[:i]:
            raise DataError(
                f"{name}, line {line}: the header names column {cell!r} twice; rename one, or use --no-header if this "
                "line is data."
            )
    unnamed = tuple(i for i, cell in enumerate(cells) if not cell)
    for i in unnamed:
        cells[i] = next(free for k in count(i + 1) if (free := f"column {k}") not in cells)
    return tuple(cells), unnamed if header is not None else ()


def decimal_mark(rows: list[list[str]], sep: str, likely: str | None) -> str | None:
    """Return the decimal mark that most cells require, else the more plausible one; None if no cell has a mark."""
    proofs: Counter[str] = Counter()
    plausible: Counter[str] = Counter()
    for column in zip_longest(*rows, fillvalue=""):
        has_whole = any(map(_WHOLE.fullmatch, column))
        for cell in filter(_MARKED.fullmatch, column):
            proof, last = proven_mark(cell), max(",.", key=cell.rfind)
            if proof is not None:  # None for dates, versions, addresses
                proofs[proof] += 1
                groups = has_whole and not proof and sep != ","  # 1,177 next to 527 has a group of thousands
                plausible[{",": ".", ".": ","}[last] if groups else last] += 1
    if likely is not None:
        others = {*proofs} - {likely}
        return others.pop() or likely if len(others) == 1 and not proofs[likely] else likely
    if sep == ",":
        return "." if proofs["."] or plausible["."] else None
    votes = proofs if proofs["."] != proofs[","] else plausible
    return ("," if votes[","] > votes["."] else ".") if proofs else None
