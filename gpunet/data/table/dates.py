"""Read dates and times in the usual formats, as days since 1970."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np

from gpunet.data.table.values import Values

DATES = re.compile(r"\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}([.,]\d{1,9})?)?)?( ?(Z|UTC|GMT)| ?[-+]\d{2}(:?\d{2})?)?$")
"""Dates of ISO 8601, with or without a time and a time zone."""

_DAYS = (
    *("%Y/%m/%d", "%d.%m.%Y", "%d.%m.%y", "%m/%d/%Y", "%d/%m/%Y", "%m/%d/%y", "%d/%m/%y", "%d-%m-%Y", "%m-%d-%Y"),
    *("%d %b %Y", "%d-%b-%Y", "%d-%b-%y", "%b %d, %Y", "%d %B %Y", "%B %d, %Y", "%Y-%m-%d", "%Y.%m.%d"),
)
_TIMES = ("", " %H:%M", " %H:%M:%S", " %H:%M:%S.%f", " %I:%M %p", " %I:%M:%S %p")
FORMATS = ("ISO", "%Y-%m", *(day + time for day in _DAYS for time in _TIMES))
"""The formats that are tried; the first of those that read the most texts is chosen."""

_SAMPLE, _SHARE = 20, 0.8
_TWO_NUMBERS = re.compile(r"\d\D+\d")


def dates(series: Any) -> Values:
    """Return a column of points in time as days, with a fraction for the time of the day."""
    plain = series.dt.tz_convert(None) if series.dt.tz is not None else series
    return Values(_days_since_1970(plain), np.empty(0, np.int64), "")


def dates_of_texts(codes: np.ndarray, distinct: Sequence[str], form: str = "") -> Values | None:
    """Return a column of text as days, like `dates`; None if most texts are not dates."""
    form = form or _date_format(distinct)
    if not form:
        return None
    days = np.append(_read(distinct, form), np.nan)
    bad = np.append(np.isnan(days[:-1]), False)
    return Values(days[codes], np.flatnonzero(bad[codes]), form)


def _date_format(distinct: Sequence[str]) -> str:
    """Return the format that reads the most texts, or "" if none reads at least 80 %."""
    sample = distinct[:_SAMPLE]
    if sum(bool(_TWO_NUMBERS.search(text)) for text in sample) < max(_SHARE * len(sample), 1):
        return ""
    read = {form: _count(sample, form) for form in FORMATS}
    best = max(read, key=lambda form: read[form])
    if read[best] < _SHARE * len(sample):
        return ""
    rivals = [form for form in FORMATS if read[form] == read[best]]  # such as day/month and month/day in a short table
    return best if len(rivals) == 1 else max(rivals, key=lambda form: _count(distinct, form))


def example(form: str) -> str:
    """Return the last day of 2024 in a format, for an error message."""
    return datetime(2024, 12, 31).strftime("%Y-%m-%d" if form in ("", "ISO") else form)


def doubt(distinct: Sequence[str], form: str) -> str:
    """Return what is ambiguous about dates in a format; "" if nothing is."""
    swapped = form.translate(str.maketrans("dm", "md"))
    if swapped != form and swapped in FORMATS and not np.isnan(_read(distinct, swapped)).any():
        return f"its dates are read as {form}, but {swapped} is possible too; dates such as 2024-12-31 are clear"
    if "%y" in form:
        return "its years of two digits are read as 1969 to 2068; write four digits if this is wrong"
    return ""


def _count(distinct: Sequence[str], form: str) -> int:
    """Count the texts that are dates in a format."""
    return len(distinct) - int(np.isnan(_read(distinct, form)).sum())


def _read(distinct: Sequence[str], form: str) -> np.ndarray:
    """Return dates as days, float64 (n,); NaN for a text in another format."""
    import pandas

    if form == "ISO":
        iso = pandas.Series(distinct, dtype="str")
        iso = iso.where(iso.str.match(DATES.pattern)).str.replace(" ?(UTC|GMT)$", "Z", regex=True)
        iso = iso.str.replace(",", ".").str.replace(r" ([-+]\d{2}:?\d*)$", r"\1", regex=True)
        moments = pandas.to_datetime(iso, format="ISO8601", utc=True, errors="coerce")
        return _days_since_1970(moments.dt.tz_localize(None))
    return _days_since_1970(pandas.to_datetime(pandas.Series(distinct), format=form, errors="coerce"))


def _days_since_1970(moments: Any) -> np.ndarray:
    """Return a column of points in time, without a time zone, as days; NaN for a missing one."""
    days: np.ndarray = (moments.to_numpy("datetime64[us]") - np.datetime64(0, "D")) / np.timedelta64(1, "D")
    return days
