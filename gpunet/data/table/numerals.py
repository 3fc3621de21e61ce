"""Parse numbers as people write them: "1,234.5", "12,34,567", "$5", "($5)", "3 %", with a decimal point or comma."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.data.labels import class_name
from gpunet.data.table.values import LARGEST, MISSING, Values

NO_NUMBER = MISSING | {"none", "-", "--", "."}
"""Texts, in lower case, that stand for a missing number."""

FEW_SLIPS = 0.2
"""A column of numbers may have up to this share of unreadable texts, which count as typing errors."""

_CURRENCY = "$€£¥₹"
_SPACES = " \t\u2009\u00a0\u202f"
_MINUS = "\u2212\u2013"
_NEGATIVE = f"{_MINUS}("
_OTHER = {".": ",", ",": "."}


def _grammar(decimal: str) -> str:
    """Return the regular expression of a number with a decimal mark; Python and RE2 (pandas) both read it."""
    sign, point, space = f"[-+{_MINUS}]", f"[{decimal}]", f"[{_SPACES}]*"
    plain = f"[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+"
    groups = [f"[1-9][0-9]{{0,2}}(?:[{mark}][0-9]{{3}})+" for mark in f"{_OTHER[decimal]}'{_SPACES}"]
    if decimal == ".":
        groups.append("[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")  # lakhs and crores
    grouped = f"(?:{'|'.join(groups)})(?:{point}[0-9]*)?"
    before = f"(?:{sign}?[{_CURRENCY}]?{space}|[{_CURRENCY}]?{space}{sign})"
    number = f"(?:(?:{plain}|{grouped})(?:[eE][-+]?[0-9]+)?|(?i:inf|infinity)){space}[%{_CURRENCY}]?"
    negative = rf"[{_CURRENCY}]?\([{_CURRENCY}]?(?:{plain}|{grouped})\)[%{_CURRENCY}]?"  # as in accounts
    return f"(?:{before}{number}|{negative})"


_GRAMMARS = {decimal: _grammar(decimal) for decimal in _OTHER}
_COMPILED = {decimal: re.compile(grammar) for decimal, grammar in _GRAMMARS.items()}
_DECORATION = {decimal: re.compile(f"[)%{_CURRENCY}{_SPACES}'{other}]") for decimal, other in _OTHER.items()}


def numbers(series: Any, form: str = "") -> Values:
    """Return a column of real numbers as float64; all are bad if `form` asks for percentages."""
    values = series.to_numpy(np.float64, na_value=np.nan)
    bad = ~np.isnan(values) if form.endswith("%") else np.abs(values) > LARGEST
    return Values(values, np.flatnonzero(bad), "")


def numbers_of_texts(codes: np.ndarray, distinct: Sequence[str], form: str = "", likely: str | None = None) -> Values:
    """Return a column of text as numbers.

    A text in another unit than the rest is bad: 5 % is not 5, and € is not $. Plain numbers may occur among those of
    one currency.

    Args:
        likely: the decimal mark of texts that either mark can read, such as "1,234"; the point by default.
    """
    mark = form[:1] or likely or "."
    read = parse_numbers(distinct, mark)
    missing = np.zeros(len(distinct), bool)
    unread = np.flatnonzero(np.isnan(read))
    missing[unread] = [distinct[i].lower() in NO_NUMBER for i in unread.tolist()]
    if not form and not missing[unread].all():
        other = parse_numbers(distinct, _OTHER[mark])
        if _proves(other, read, distinct):
            mark, read = _OTHER[mark], other
    units = _units(distinct)
    unit = form[1:] if form else _main_unit(units)
    fits = np.isin(units, ["", unit]) if unit != "%" else units == unit
    if form and not unit:
        fits = units != "%"  # a column of plain numbers doesn't know its currency
    bad = (np.isnan(read) | ~fits | (np.abs(read) > LARGEST)) & ~missing
    return Values(np.append(read, np.nan)[codes], np.flatnonzero(np.append(bad, False)[codes]), mark + unit)


def parse_numbers(texts: Sequence[str], decimal: str) -> np.ndarray:
    """Parse texts with signs, currencies, percent signs or grouped digits as float64 (n,); NaN for no number."""
    import pandas

    series: Any = pandas.Series(texts, dtype="str")
    read = series.str.fullmatch(_GRAMMARS[decimal]).to_numpy(bool)
    numerals = series[read].str.replace(_DECORATION[decimal].pattern, "", regex=True)
    numerals = numerals.str.replace(f"[{_NEGATIVE}]", "-", regex=True).str.replace(",", ".")
    values = np.full(len(series), np.nan)
    values[read] = numerals.to_numpy(object).astype(np.float64)
    return values


def parse_number(text: str, decimal: str) -> float | None:
    """Parse one text like `parse_numbers`; return None if it is no number."""
    if not _COMPILED[decimal].fullmatch(text):
        return None
    digits = _DECORATION[decimal].sub("", text).replace(",", ".")
    return float(digits.translate(dict.fromkeys(map(ord, _NEGATIVE), "-")))


def proven_mark(text: str) -> str | None:
    """Return the only decimal mark that reads a text, "" if both do, None if neither does."""
    readers = [mark for mark in _OTHER if _COMPILED[mark].fullmatch(text)]
    return None if not readers else readers[0] if len(readers) == 1 else ""


def is_plain(text: str) -> bool:
    """Return whether a text is a number by itself; one in parentheses is not, as it may be text."""
    return ")" not in text and any(parse_number(text, decimal) is not None for decimal in _OTHER)


def canonical(text: str) -> str:
    """Return one spelling for all spellings of a number or truth value; other text unchanged."""
    if text.lower() in ("true", "false"):
        return text.capitalize()
    number = parse_number(text, ".") if is_plain(text) else None
    return text if number is None else class_name(number)


def _proves(other: np.ndarray, read: np.ndarray, distinct: Sequence[str]) -> bool:
    """Return whether more texts need the other decimal mark than this one, and more than a few of all with a mark."""
    for_other = int((~np.isnan(other) & np.isnan(read)).sum())
    for_this = int((~np.isnan(read) & np.isnan(other)).sum())
    by_both = np.flatnonzero(~np.isnan(other) & ~np.isnan(read)).tolist()
    both = sum("," in distinct[i] or "." in distinct[i] for i in by_both)
    return for_other > max(for_this, FEW_SLIPS * (for_other + for_this + both))


def _units(distinct: Sequence[str]) -> np.ndarray:
    """Return the unit of each text: %, a currency, or ""."""
    import pandas

    series = pandas.Series(distinct, dtype="str")
    units = np.full(len(series), "")
    for sign in ("%", *_CURRENCY):
        units[series.str.contains(sign, regex=False).to_numpy(bool)] = sign
    return units


def _main_unit(units: np.ndarray) -> str:
    """Return a column's most frequent unit; a currency counts even if more numbers have no unit."""
    counts = {sign: int((units == sign).sum()) for sign in ("", "%", *_CURRENCY)}
    currency = max(_CURRENCY, key=lambda sign: counts[sign])
    return "%" if counts["%"] > counts[""] + counts[currency] else currency if counts[currency] else ""
