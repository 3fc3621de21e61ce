"""The values of a column, whatever its dtype: numbers, dates, or distinct texts."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from gpunet.data.labels import class_name
from gpunet.errors import DataError

MISSING = frozenset({"", "?", "na", "n/a", "nan", "-nan", "+nan", "null", "<na>", "#n/a"})
"""Texts, in lower case, that stand for a missing value."""

NO_NUMBER = MISSING | {"none", "-", "--", "."}
"""Those that do so among numbers."""

LARGEST = 1e150
"""The largest number that is taken: the square of a larger one may overflow."""

FEW_SLIPS = 0.2
"""Where so large a share of the texts, or less, cannot be read, they are slips and tell nothing of the column."""

_CURRENCY = "$€£¥₹"
_SPACES = " \u2009\u00a0\u202f"
_MINUS = str.maketrans("\u2212\u2013", "--")
_NUMBER = re.compile(rf"([-+]?)[{_CURRENCY}]?\s*([-+]?)([\d.,'{_SPACES}]*\d[.,]?)((?:[eE][-+]?\d+)?)\s*[%{_CURRENCY}]?")
_DIGITS = {
    mark: re.compile(
        rf"\d+(?:{point}\d*)?|{point}\d+|[1-9]\d{{0,2}}([{other}'{_SPACES}])\d{{3}}(?:\1\d{{3}})*(?:{point}\d*)?"
    )
    for mark, point, other in ((".", "[.]", ","), (",", ",", "."))
}
"""Digits as they are, or in groups of three, by the decimal mark."""


class Values(NamedTuple):
    """The values of a column as numbers.

    Attributes:
        numbers: float64 (n,), NaN where one is missing.
        bad: the rows whose values cannot be read.
        form: how the texts were read: a decimal mark, or the format of a date; "" where none were text.
    """

    numbers: np.ndarray
    bad: np.ndarray
    form: str


def is_number(series: Any) -> bool:
    """Return whether the dtype of a column is one of real numbers, not of booleans."""
    from pandas.api import types

    others = types.is_bool_dtype(series.dtype) or types.is_complex_dtype(series.dtype)
    return bool(types.is_numeric_dtype(series.dtype) and not others)


def is_date(series: Any) -> bool:
    """Return whether the dtype of a column is one of points in time."""
    from pandas.api import types

    return bool(types.is_datetime64_any_dtype(series.dtype))


def texts(series: Any, missing: frozenset[str] = MISSING) -> tuple[np.ndarray, list[str]]:
    """Return a column as indices int64 (n,) into its distinct texts, -1 where one is missing, and the texts.

    Raises:
        DataError: lists or other nested values.
    """
    import pandas

    try:
        codes, distinct = pandas.factorize(series)
    except TypeError as error:
        raise DataError(f"column {series.name!r} holds nested values ({error}); flatten or drop it.") from None
    index: dict[str, int] = {}
    merged = np.full(len(distinct) + 1, -1)  # the last for the missing ones
    for i, value in enumerate(distinct):
        text = _text(value)
        if text.lower() not in missing:
            merged[i] = index.setdefault(text, len(index))
    return merged[codes], list(index)


def numbers(series: Any, decimal: str | None = None, likely: str | None = None) -> Values:
    """Return a column of numbers; text is read with its decoration, as "$5", "3 %", "1,234", or a sign in Unicode.

    Args:
        series: the column.
        decimal: the decimal mark of text; None: the one that its texts prove, else `likely`.
        likely: the mark of texts that both marks can read, as "1,234"; None: the point.
    """
    if is_number(series):
        values, form = series.to_numpy(np.float64, na_value=np.nan), ""
        bad = np.zeros(len(values), bool)
    else:
        codes, distinct = texts(series, NO_NUMBER)
        form = decimal or likely or "."
        parsed = [parse_number(text, form) for text in distinct]
        if decimal is None and None in parsed and (proven := _proven_mark(distinct, form)) != form:
            form, parsed = proven, [parse_number(text, proven) for text in distinct]
        values = np.array([*parsed, None], np.float64)[codes]
        bad = np.array([*(number is None for number in parsed), False])[codes]
    return Values(values, np.flatnonzero(bad | (np.abs(values) > LARGEST)), form)


def _proven_mark(distinct: Sequence[str], likely: str) -> str:
    """Return the decimal mark without which more than a few texts, and most of those in doubt, cannot be read."""
    proofs = Counter(proven_mark(text) for text in distinct if "," in text or "." in text)
    other = "," if likely == "." else "."
    proven = proofs[other] > max(proofs[likely], FEW_SLIPS * (proofs.total() - proofs[None]))
    return other if proven else likely


def proven_mark(text: str) -> str | None:
    """Return the decimal mark that alone reads a text, "" where both do, and None where none does."""
    readers = [mark for mark in _DIGITS if parse_number(text, mark) is not None]
    return None if not readers else readers[0] if len(readers) == 1 else ""


def parse_number(text: str, decimal: str) -> float | None:
    """Return the number that a text is, with a sign, a currency, a percent sign, or digits in groups; else None."""
    if decimal == ".":
        with suppress(ValueError):  # plain numbers, fast; Python reads 10_20 as a number, people don't
            return float(text) if "_" not in text else None
    match = _NUMBER.fullmatch(text.translate(_MINUS))
    if match is None or (match[1] and match[2]) or not _DIGITS[decimal].fullmatch(match[3]):
        return None
    digits = re.sub(rf"[^\d{decimal}]", "", match[3]).replace(",", ".")
    return float(match[1] + match[2] + digits + match[4])


DATES = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}([.]\d{1,6})?)?)?(Z|[-+]\d{2}:?\d{2})?$")
"""Dates as ISO 8601 writes them, with or without a time."""

_DAYS = (
    *("%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y"),
)
FORMATS = ("ISO", *(day + time for day in _DAYS for time in ("", " %H:%M", " %H:%M:%S")))
"""The formats of dates that are tried, of which the first is taken that reads them all."""

_SAMPLE, _SHARE = 20, 0.8
_EPOCH = datetime(1970, 1, 1)


def dates(series: Any, form: str = "") -> Values | None:
    """Return a column of dates as days since 1970, with a fraction where it has a time; None where it is none.

    Args:
        series: the column.
        form: the format of its texts; "": the first of `FORMATS` that reads all, or at least most of them.
    """
    if is_date(series):
        plain = series.dt.tz_convert(None) if series.dt.tz is not None else series
        days = (plain.to_numpy("datetime64[us]") - np.datetime64(0, "D")) / np.timedelta64(1, "D")
        return Values(days, np.empty(0, np.int64), "")
    if is_number(series):
        return None
    codes, distinct = texts(series)
    form = form or _date_format(distinct)
    if not form:
        return None
    days = np.array([*map(partial(_day, form=form), distinct), np.nan])
    bad = np.append(np.isnan(days[:-1]), False)
    return Values(days[codes], np.flatnonzero(bad[codes]), form)


def _date_format(distinct: Sequence[str]) -> str:
    """Return the format that reads the most of some texts, "" where all leave many unread."""
    sample = distinct[:_SAMPLE]
    read = {form: _count(sample, form) for form in FORMATS if sample}
    best = max(read, key=lambda form: read[form], default="")
    if not best or read[best] < _SHARE * len(sample):
        return ""
    rivals = [form for form in FORMATS if read[form] == read[best]]  # as day/month and month/day of few rows
    return best if len(rivals) == 1 else max(rivals, key=partial(_count, distinct[_SAMPLE:]))


def _count(distinct: Sequence[str], form: str) -> int:
    """Return how many texts are dates of a format."""
    return len(distinct) - int(np.isnan([_day(text, form) for text in distinct]).sum())


def _day(text: str, form: str) -> float:
    """Return the days since 1970 of a date, NaN where it does not have the format."""
    try:
        if form != "ISO":
            moment = datetime.strptime(text, form)
        elif DATES.match(text):
            moment = datetime.fromisoformat(text)
        else:
            return np.nan
    except ValueError:
        return np.nan
    if moment.tzinfo is not None:
        moment = moment.astimezone(UTC).replace(tzinfo=None)
    return (moment - _EPOCH).total_seconds() / 86400


def _text(value: Any) -> str:
    """Return a value as text: without spaces around it, 3.0 as "3", midnight as a date."""
    if isinstance(value, str):
        return value.strip()
    if isinstance(value, datetime):  # pandas' own as well
        return value.isoformat(" ").removesuffix(" 00:00:00")
    return class_name(value)


def canonical(text: str) -> str:
    """Return the one way of writing a number or a truth value; other text as it is."""
    if text.lower() in ("true", "false"):
        return text.capitalize()
    number = parse_number(text, ".")
    return text if number is None else class_name(number)
