"""Parse numbers as people write them: "1,234.5", "12,34,567", "$5", "($5)", "3 %", "5 kg", with a point or a comma."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from gpunet.data.labels import class_name
from gpunet.data.table.units import CURRENCY, PERCENT, SPACES, common_word, is_word, main_unit, units_of, without_word
from gpunet.data.table.values import LARGEST, MISSING, Values

NO_NUMBER = MISSING | {"none", "-", "--", "."}
"""Texts, in lower case, that stand for a missing number."""

FEW_SLIPS = 0.2
"""A column of numbers may have up to this share of unreadable texts, which count as typing errors."""

_CODE = re.compile(r"\([0-9]+\)")
_MINUS = "\u2212\u2013"
_NEGATIVE = f"{_MINUS}("
_OTHER = {".": ",", ",": "."}


def _grammar(decimal: str) -> str:
    """Return the regular expression of a number with a decimal mark; Python and RE2 (pandas) both read it."""
    sign, point, space = f"[-+{_MINUS}]", f"[{decimal}]", f"[{SPACES}]*"
    plain = f"[0-9]+(?:{point}[0-9]*)?|{point}[0-9]+"
    groups = [f"[1-9][0-9]{{0,2}}(?:[{mark}][0-9]{{3}})+" for mark in f"{_OTHER[decimal]}'{SPACES}"]
    if decimal == ".":
        groups.append("[1-9][0-9]?(?:,[0-9]{2})+,[0-9]{3}")  # lakhs and crores
    grouped = f"(?:{'|'.join(groups)})(?:{point}[0-9]*)?"
    before = f"(?:{sign}?[{CURRENCY}]?{space}|[{CURRENCY}]?{space}{sign})"
    number = f"(?:(?:{plain}|{grouped})(?:[eE][-+]?[0-9]+)?|(?i:inf|infinity)){space}[%{CURRENCY}]?"
    sum_ = rf"{space}[{CURRENCY}]?{space}(?:{plain}|{grouped}){space}[%{CURRENCY}]?{space}"
    negative = rf"[{CURRENCY}]?{space}\({sum_}\){space}[%{CURRENCY}]?"  # as in accounts
    return f"(?:{before}{number}|{negative})"


_GRAMMARS = {decimal: _grammar(decimal) for decimal in _OTHER}
_COMPILED = {decimal: re.compile(grammar) for decimal, grammar in _GRAMMARS.items()}
_DECORATION = {decimal: re.compile(f"[)%{CURRENCY}{SPACES}'{other}]") for decimal, other in _OTHER.items()}


def numbers(series: Any, form: str = "") -> Values:
    """Return a column of real numbers as float64; all are bad if `form` asks for percentages or a word behind them."""
    values = series.to_numpy(np.float64, na_value=np.nan)
    bad = ~np.isnan(values) if form[1:] == PERCENT or is_word(form[1:]) else np.abs(values) > LARGEST
    return Values(values, np.flatnonzero(bad), "")


def numbers_of_texts(codes: np.ndarray, distinct: Sequence[str], form: str = "", likely: str | None = None) -> Values:
    """Return a column of text as numbers.

    A text in another unit than the rest is bad: 5 % is not 5, and € is not $. Plain numbers may occur among those of
    one currency. A word is a unit only if it is behind every number.

    Args:
        likely: the decimal mark of texts that either mark can read, such as "1,234"; the point by default.
    """
    mark = form[:1] or likely or "."
    word = form[1:] if form else common_word([text for text in distinct if text.lower() not in NO_NUMBER])
    numerals = without_word(distinct, word) if is_word(word) else distinct
    read = parse_numbers(numerals, mark)
    missing = np.zeros(len(distinct), bool)
    unread = np.flatnonzero(np.isnan(read))
    missing[unread] = [distinct[i].lower() in NO_NUMBER for i in unread.tolist()]
    if not form and not missing[unread].all():
        other = parse_numbers(numerals, _OTHER[mark])
        if _proves(other, read, numerals):
            mark, read = _OTHER[mark], other
    units = units_of(numerals)
    unit = form[1:] if form else word or main_unit(units)
    fits = units == unit if unit == PERCENT else np.isin(units, ["", unit])
    if form and not unit:
        fits = units != PERCENT  # a column of plain numbers doesn't know its currency
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


def may_be_numbers(texts: Sequence[str]) -> bool:
    """Return whether one text is a number by itself, or all are numbers in parentheses or with the same unit.

    Digits in parentheses alone may be codes, such as (212).
    """
    if any(map(is_plain, texts)):
        return True
    read = numbers_of_texts(np.arange(len(texts)), texts)
    return not all(map(_CODE.fullmatch, texts)) and not len(read.bad) and not np.isnan(read.numbers).all()


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
