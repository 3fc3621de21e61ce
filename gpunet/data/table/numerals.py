"""Numbers as people write them: "1,234.5", "$5", "3 %", with a decimal point or a decimal comma."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from gpunet.data.labels import class_name
from gpunet.data.table.values import LARGEST, MISSING, Values, is_number, texts

NO_NUMBER = MISSING | {"none", "-", "--", "."}
"""Texts, in lower case, that stand for a missing number."""

FEW_SLIPS = 0.2
"""Up to this share of unreadable texts in a column are typing errors, and the column stays one of numbers."""

_CURRENCY = "$€£¥₹"
_UNIT = re.compile(rf"[%{_CURRENCY}]")
_SPACES = " \u2009\u00a0\u202f"
_MINUS = str.maketrans("\u2212\u2013", "--")
_NUMBER = re.compile(rf"([-+]?)[{_CURRENCY}]?\s*([-+]?)([\d.,'{_SPACES}]*\d[.,]?)((?:[eE][-+]?\d+)?)\s*[%{_CURRENCY}]?")
_DIGITS = {
    mark: re.compile(
        rf"\d+(?:{point}\d*)?|{point}\d+|[1-9]\d{{0,2}}([{other}'{_SPACES}])\d{{3}}(?:\1\d{{3}})*(?:{point}\d*)?"
    )
    for mark, point, other in ((".", "[.]", ","), (",", ",", "."))
}
"""Plain digits or groups of three, by the decimal mark."""


def numbers(series: Any, form: str = "", likely: str | None = None) -> Values:
    """Return a column as numbers.

    A text in another unit than the rest is bad: 5 % is not 5, and € is not $. A plain number may stand among those of
    one currency.

    Args:
        series: the column.
        form: the decimal mark of text and its unit, as in ".", ".%" or ",€"; "": found out from the texts.
        likely: the decimal mark of texts that both marks can read, as "1,234"; None: the point.
    """
    if is_number(series):
        values = series.to_numpy(np.float64, na_value=np.nan)
        bad = ~np.isnan(values) if form.endswith("%") else np.zeros(len(values), bool)
        return Values(values, np.flatnonzero(bad | (np.abs(values) > LARGEST)), "")
    codes, distinct = texts(series, NO_NUMBER)
    mark = form[:1] or likely or "."
    parsed = [parse_number(text, mark) for text in distinct]
    if not form and None in parsed and (proven := _proven_mark(distinct, mark)) != mark:
        mark, parsed = proven, [parse_number(text, proven) for text in distinct]
    units = [_unit(text) for text in distinct]
    unit = form[1:] if form else _main_unit(units)
    wrong = [number is None or not _fits(own, unit) for number, own in zip(parsed, units, strict=True)]
    values = np.array([*parsed, None], np.float64)[codes]
    bad = np.array([*wrong, False])[codes]
    return Values(values, np.flatnonzero(bad | (np.abs(values) > LARGEST)), mark + unit)


def _unit(text: str) -> str:
    found = _UNIT.search(text)
    return found[0] if found else ""


def _main_unit(units: Sequence[str]) -> str:
    """Return the most frequent unit of a column's texts; a currency also among more numbers without one."""
    counts = Counter(units)
    currency = max(_CURRENCY, key=lambda sign: counts[sign])
    candidates = {"%": counts["%"], currency if counts[currency] else "": counts[""] + counts[currency]}
    return max(candidates, key=lambda unit: candidates[unit])


def _fits(own: str, unit: str) -> bool:
    """Return whether a number with a unit of its own fits a column of some unit."""
    return own == unit or (own in _CURRENCY and unit in _CURRENCY and not (own and unit))


def _proven_mark(distinct: Sequence[str], likely: str) -> str:
    """Return the decimal mark without which more than a few texts, and most of those in doubt, cannot be read."""
    proofs = Counter(proven_mark(text) for text in distinct if "," in text or "." in text)
    other = "," if likely == "." else "."
    proven = proofs[other] > max(proofs[likely], FEW_SLIPS * (proofs.total() - proofs[None]))
    return other if proven else likely


def proven_mark(text: str) -> str | None:
    """Return the only decimal mark that reads a text, "" where both do, and None where neither does."""
    readers = [mark for mark in _DIGITS if parse_number(text, mark) is not None]
    return None if not readers else readers[0] if len(readers) == 1 else ""


def parse_number(text: str, decimal: str) -> float | None:
    """Return the number in a text, with a sign, a currency, a percent sign, or digits in groups; None: it is none."""
    if decimal == ".":
        with suppress(ValueError):  # plain numbers, fast; Python reads 10_20 as a number, people don't
            return float(text) if "_" not in text else None
    match = _NUMBER.fullmatch(text.translate(_MINUS))
    if match is None or (match[1] and match[2]) or not _DIGITS[decimal].fullmatch(match[3]):
        return None
    digits = re.sub(rf"[^\d{decimal}]", "", match[3]).replace(",", ".")
    return float(match[1] + match[2] + digits + match[4])


def canonical(text: str) -> str:
    """Return the one way of writing a number or a truth value; other text as it is."""
    if text.lower() in ("true", "false"):
        return text.capitalize()
    number = parse_number(text, ".")
    return text if number is None else class_name(number)
