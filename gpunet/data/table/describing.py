"""Format the schema of a table for the terminal."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from gpunet.arguments import counted, shortened
from gpunet.data.labels import listing
from gpunet.data.table.columns import Column
from gpunet.data.table.numerals import canonical

MOST_LINES = 40
"""Maximum number of columns in a description; the others are only counted."""

MOST_REASONS = 10
"""Maximum number of ignored columns that a warning names."""

LONGEST_NAME, LONGEST_REASON = 24, 60


def described_columns(columns: Sequence[Column], target: str, missing: str) -> str:
    """Return one line per column: role, reason, number of missing values."""
    rows = [(c.name, str(c.role), _reason(c, missing), str(c.missing or "")) for c in columns[:MOST_LINES]]
    rows = [("column", "role", "why", "missing"), *rows, (target, "target", "", "")]
    cells = [[shortened(name, LONGEST_NAME), role, shortened(why, LONGEST_REASON), n] for name, role, why, n in rows]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    lines = ["  ".join(f"{c:<{w}}" for c, w in zip(line, widths, strict=True)).rstrip() for line in cells]
    more = Counter(column.role for column in columns[MOST_LINES:])
    if more:
        lines.insert(-1, f"and {', '.join(f'{count} {role}' for role, count in more.items())}")
    return "\n".join(lines)


def ignored_columns(columns: Sequence[Column]) -> str:
    """Return the warning that names the ignored columns, the reasons, and how to use them."""
    more = f" and {len(columns) - MOST_REASONS} more" if len(columns) > MOST_REASONS else ""
    reasons = "; ".join(f"{column.name!r} ({column.why})" for column in columns[:MOST_REASONS])
    usable = any(not column.why.startswith("has ") for column in columns)  # "has no value", "has one value"
    return f"ignored columns: {reasons}{more}." + " To use one, give it a role: --as NAME=category." * usable


def near_duplicates(name: str, texts: Sequence[str]) -> str:
    """Return the warning about texts of a column that differ only in case or blanks; "" if there are none."""
    spellings: dict[str, list[str]] = {}
    for text in dict.fromkeys(map(canonical, texts)):
        spellings.setdefault(" ".join(text.casefold().split()), []).append(text)
    same = [group for group in spellings.values() if len(group) > 1]
    if not same:
        return ""
    more = f" (and {counted(len(same) - 1, 'more such group')})" if same[1:] else ""
    found = f"{listing(sorted(same[0]))} differ only in case or blanks{more}, and are kept apart"
    return f"column {name!r}: {found}; if they mean the same, write them alike in the file."


def _reason(column: Column, missing: str) -> str:
    """Return the reason for a column's role and how it is encoded."""
    if column.role == "category":
        return f"{column.why}; {'embedded' if column.embedded else 'one-hot'}"
    filled = column.indicator and missing in ("median", "mean")
    return f"{column.why}; missing: {missing} and indicator" if filled else column.why
