"""Find the unit of numbers in text: %, a currency, or one word behind every number, as in "5.2 kg"."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

CURRENCY = "$€£¥₹"
SPACES = " \t\u2009\u00a0\u202f"
PERCENT = "%"

_PART = r"(?:[^\W\d_]|°)+\^?[23]?"
_WORD = re.compile(rf"[^{PERCENT}{CURRENCY}]*[0-9.,)][{SPACES}]*({_PART}(?:[/·]{_PART})*)")
"""A number without another unit, and a word such as kg, EUR, °C, m², m2 or km/h."""


def is_word(unit: str) -> bool:
    """Return whether a unit is a word; every number of its column has it then."""
    return unit not in ("", PERCENT, *CURRENCY)


def in_unit(form: str) -> str:
    """Return " in" and the unit of a column's `form`; "" if it has none."""
    return f" in {form[1:]}" if form[1:] else ""


def common_word(texts: Sequence[str]) -> str:
    """Return the word at the end of each text, behind a number; "" if they differ."""
    found = _word(texts[0]) if texts else ""
    return found if found and all(_word(text) == found for text in texts) else ""


def without_word(texts: Sequence[str], word: str) -> list[str]:
    """Return the texts without the word at their end; "" for a text that lacks it."""
    return [text.removesuffix(word).rstrip(SPACES) if _word(text) == word else "" for text in texts]


def _word(text: str) -> str:
    match = _WORD.fullmatch(text)
    return match[1] if match else ""


def units_of(texts: Sequence[str]) -> np.ndarray:
    """Return the unit of each text: %, a currency, or ""."""
    import pandas

    series = pandas.Series(texts, dtype="str")
    units = np.full(len(series), "")
    for sign in (PERCENT, *CURRENCY):
        units[series.str.contains(sign, regex=False).to_numpy(bool)] = sign
    return units


def main_unit(units: np.ndarray) -> str:
    """Return a column's most frequent unit; a currency counts even if more numbers have no unit."""
    counts = {sign: int((units == sign).sum()) for sign in ("", PERCENT, *CURRENCY)}
    currency = max(CURRENCY, key=lambda sign: counts[sign])
    if counts[PERCENT] > counts[""] + counts[currency]:
        return PERCENT
    return currency if counts[currency] else ""
