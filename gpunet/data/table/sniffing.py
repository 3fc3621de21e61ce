"""Infer the format of a text file from its beginning: encoding, separator, decimal mark, header."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from gpunet.data.table.cells import BLANKS, column_names, decimal_mark, is_header, is_value, reader
from gpunet.errors import ArgumentError, DataError

SAMPLE = 2**16
"""Bytes that are inspected; more if a line is longer."""

LEAST_LETTERS = 8
"""Minimum number of non-ASCII bytes to judge the language by."""

LONGEST_BEGINNING = 2**24
"""Maximum bytes of the first lines."""

SEPARATORS = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','"}
"""In order of preference: the comma comes last because it is also the decimal mark of many files."""

NAMES = SEPARATORS | {BLANKS: "blanks"}

BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


@dataclass(frozen=True)
class ReadOptions:
    """The format of a text file; what is None is inferred from the file.

    Attributes:
        sep: the separator of cells, one character.
        decimal: the decimal mark, "." or ",".
        encoding: the name of the encoding, such as "latin-1".
        header: whether the first line names the columns.

    Raises:
        ArgumentError: an invalid option.
    """

    sep: str | None = None
    decimal: str | None = None
    encoding: str | None = None
    header: bool | None = None

    def __post_init__(self) -> None:
        if self.sep in ("\\t", "tab"):
            object.__setattr__(self, "sep", "\t")
        if self.sep is not None and (len(self.sep) != 1 or self.sep in '"\r\n'):
            raise ArgumentError(f"sep={self.sep!r}: give one character, such as ';', or 'tab'.")
        if self.decimal not in (None, ".", ","):
            raise ArgumentError(f"decimal={self.decimal!r}: use '.' or ','.")
        if self.encoding is not None:
            try:
                codecs.lookup(self.encoding)
            except LookupError:
                raise ArgumentError(f"encoding={self.encoding!r}: unknown; usual are utf-8, latin-1, utf-16.") from None


AS_FOUND = ReadOptions()


@dataclass(frozen=True)
class Format:
    """The inferred format of a text file.

    Attributes:
        encoding: Python's name of the encoding.
        sep: the separator of cells.
        decimal: the decimal mark; None if no cell has one.
        header: whether a line names the columns.
        names: the column names; "column 1", "column 2", … for columns without a name.
        unnamed: the positions of columns without a name in the header.
        skipped: number of lines before the first row.
        comments: number of comments among them.
        spaced: whether spaces follow separators, which pandas parses more slowly.
    """

    encoding: str
    sep: str
    decimal: str | None
    header: bool
    names: tuple[str, ...]
    unnamed: tuple[int, ...]
    skipped: int
    comments: int
    spaced: bool

    def __str__(self) -> str:
        parts = [
            f"separator {NAMES.get(self.sep, repr(self.sep))}",
            "decimal comma" if self.decimal == "," else "decimal point",
            {"utf-8-sig": "utf-8"}.get(self.encoding, self.encoding),
            "header" if self.header else "no header",
        ]
        return ", ".join(parts + [f"{self.comments} comment lines"] * bool(self.comments))


def sniff(file: BinaryIO, options: ReadOptions, name: str, likely: str | None = None) -> Format:
    """Return the format of a file, inferred from its beginning.

    Args:
        file: the file, binary.
        options: the known parts of the format.
        name: the name of the file for error messages.
        likely: the decimal mark, unless all numbers require the other one; None: the one that most numbers require.

    Raises:
        DataError: the file is empty or no text, or its header is invalid.
    """
    data, is_all = _beginning(file, name)
    encoding = options.encoding or _encoding(data, name)
    text = _decoded(data, encoding, name)
    lines = list(io.StringIO(text, newline=""))
    if not is_all and len(lines) > 1:
        lines.pop()  # it may be incomplete
    first = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    if first == len(lines):
        raise no_data(name)
    declared = re.fullmatch(r"sep=(.)\s*", lines[first])  # as Excel writes and reads it
    if declared:
        first += 1
    sep = options.sep or (declared[1] if declared else _separator(lines[first:]))
    rows = _rows(lines[first:], sep, name)
    if not rows:
        raise no_data(name)
    comment = [line for line in lines[:first] if line.startswith("#")]
    has_values = any(map(is_value, rows[0][1]))
    above = (
        _rows([comment[-1].lstrip("# ")], sep, name) if comment and has_values and options.header is not False else []
    )
    cells: list[str] | None
    if above and len(above[0][1]) == len(rows[0][1]) > 1:  # the header is a comment, as NumPy's savetxt writes it
        cells, comment, has_header = above[0][1], comment[:-1], False
    else:
        has_header = is_header([row for _, row in rows]) if options.header is None else options.header
        cells = rows[0][1] if has_header else None
    skipped = first + (rows[0][0] if has_header else 0)
    below = [row for _, row in rows[has_header:]]
    names, unnamed = column_names(cells, below, name, skipped)
    decimal = options.decimal or decimal_mark(below, sep, likely)
    spaced = f"{sep} " in text or "\n " in text
    return Format(encoding, sep, decimal, cells is not None, names, unnamed, skipped, len(comment), spaced)


def no_data(name: str) -> DataError:
    """Return the error for a table without rows."""
    return DataError(f"{name}: no data; expected a header line and at least one row below it.")


def _beginning(file: BinaryIO, name: str) -> tuple[bytes, bool]:
    """Return the first bytes, at least two complete lines, and whether these are the whole file."""
    data, size = b"", SAMPLE
    while data.count(b"\n") + data.count(b"\r") < 4:
        more = file.read(size)
        data, size = data + more, 2 * size
        if not more:
            return data, True
        if len(data) > LONGEST_BEGINNING:
            raise DataError(f"{name}: its first lines have over {LONGEST_BEGINNING // 2**20} MiB; not a table.")
    return data, not file.read(1)


def _encoding(data: bytes, name: str) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    with suppress(UnicodeDecodeError):
        codecs.getincrementaldecoder("utf-8")().decode(data)
        return "utf-8"
    return western_encoding(data, name)


def western_encoding(data: bytes, name: str) -> str:
    """Return the encoding of text that is not UTF-8: cp1252, or latin-1 if a byte is undefined in cp1252.

    Raises:
        DataError: the text is not in a Western language, where non-ASCII letters rarely follow one another.
    """
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    if sum(runs) >= LEAST_LETTERS and sum(run for run in runs if run > 1) > sum(runs) / 2:
        raise DataError(
            f"{name}: neither UTF-8 nor the text of a Western language; give its encoding, as --encoding shift_jis, "
            "gb18030, cp1251 or utf-16-le."
        )
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def _decoded(data: bytes, encoding: str, name: str) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeError as error:
        raise DataError(f"{name}: not {encoding} text ({error}); give its encoding, as --encoding latin-1.") from None
    if "\0" in text:
        raise DataError(f"{name}: not text, it has zero bytes; save it as CSV, or give its encoding (utf-16-le).")
    return text


def _separator(lines: Sequence[str]) -> str:
    """Return the separator by which most lines have as many cells as the first.

    Blanks are the separator only if all lines have as many cells, and no other character separates any.
    """
    share = {}
    for sep in NAMES:
        try:
            widths = [len(row) for row in reader(lines, sep) if row]
        except csv.Error:
            continue
        if widths and widths[0] > 1:
            share[sep] = widths.count(widths[0]) / len(widths)
    if share.pop(BLANKS, 0) == 1 and not share and len(lines) > 1:
        return BLANKS
    return max(share, key=lambda sep: share[sep]) if share else ","


def _rows(lines: Sequence[str], sep: str, name: str) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, each with the number of its last line."""
    rows = reader(lines, sep)
    try:
        return [(rows.line_num, [cell.strip() for cell in row]) for row in rows if "".join(row).strip()]
    except csv.Error as error:
        raise DataError(f"{name}, line {rows.line_num}: not CSV ({error}).") from None
