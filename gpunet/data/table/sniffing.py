"""Infer the encoding, separator, decimal mark and header of a text file from its beginning."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Sequence
from contextlib import suppress
from typing import BinaryIO

from gpunet.data.table.cells import BLANKS, column_names, decimal_mark, is_header, is_value, reader
from gpunet.data.table.numerals import is_plain
from gpunet.data.table.text_format import AS_FOUND, NAMES, Format, ReadOptions
from gpunet.errors import DataError

SAMPLE = 2**16
"""Bytes that are inspected; more if a line is longer."""

LEAST_LETTERS = 8
"""Minimum number of non-ASCII bytes to judge the language by."""

LONGEST_BEGINNING = 2**24
"""Maximum bytes of the first lines."""

USABLE_ENCODINGS = "save it as UTF-8, or give `gpunet train` its encoding, such as --encoding"
"""The advice for text that cannot be decoded. `gpunet predict` infers UTF-8 and the encoding of the training."""

BYTE_ORDER_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}


def sniff(file: BinaryIO, options: ReadOptions, name: str, likely: ReadOptions = AS_FOUND) -> Format:
    """Return the format of a file, inferred from its beginning.

    Args:
        options: the known parts of the format.
        likely: the parts to assume unless the file contradicts them.
    """
    data, is_all = _beginning(file, name)
    encoding = options.encoding or _encoding(data, name, likely.encoding)
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
    sep = options.sep or (declared[1] if declared else _separator(lines[first:], likely.sep))
    rows = _rows(lines[first:], sep, name)
    if not rows:
        raise no_data(name)
    comment = [line for line in lines[:first] if line.startswith("#")]
    first_row, *below = (row for _, row in rows)
    row_names = has_row_names(lines[first:], [row for _, row in rows], sep)
    if row_names:
        first_row = ["", *first_row]
    named = is_header([first_row, *below])
    has_header = named if options.header is None else options.header
    cells = first_row if has_header else None
    if comment and options.header is not False and (not named or any(map(is_value, first_row))):
        above = _rows([comment[-1].lstrip("# ")], sep, name)
        if above and len(above[0][1]) == len(first_row) > 1:  # the header is a comment, as NumPy's savetxt writes it
            cells, comment, has_header = above[0][1], comment[:-1], False
    skipped = first + (rows[0][0] if has_header else 0)
    below = below if has_header else [first_row, *below]
    names, unnamed = column_names(cells, below, name, skipped)
    decimal = options.decimal or decimal_mark(below, sep, likely.decimal)
    spaced = f"{sep} " in text or "\n " in text
    return Format(encoding, sep, decimal, cells is not None, names, unnamed, skipped, len(comment), spaced, row_names)


def has_row_names(lines: Sequence[str], rows: Sequence[Sequence[str]], sep: str) -> bool:
    """Return whether the first column has row names and no name in the header, as R's write.table writes them.

    Lines that end with a separator have an empty last column instead. Row names are quoted, or they differ and are no
    fractions; a blank behind a separator then belongs to text with an unquoted comma.
    """
    lines = [line.rstrip("\r\n") for line in lines if line.strip()]
    if not rows[1:] or {len(row) for row in rows[1:]} != {len(rows[0]) + 1} or all(x.endswith(sep) for x in lines[1:]):
        return False
    if all(line.startswith('"') for line in lines):
        return True
    names = [row[0] for row in rows[1:]]
    are_names = len({*names}) == len(names) > 1 and all(name.isdigit() or not is_plain(name) for name in names)
    return are_names and not any(f"{sep} " in line for line in lines)


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


def _encoding(data: bytes, name: str, likely: str | None) -> str:
    for mark, encoding in BYTE_ORDER_MARKS.items():
        if data.startswith(mark):
            return encoding
    with suppress(UnicodeDecodeError):
        if "\0" not in codecs.getincrementaldecoder("utf-8")().decode(data) or likely is None:
            return "utf-8"
    return likely or western_encoding(data, name)


def western_encoding(data: bytes, name: str) -> str:
    """Return cp1252, or latin-1 if a byte is undefined in cp1252.

    Too many non-ASCII letters in a row for a Western language raise `DataError`.
    """
    runs = [len(run) for run in re.findall(rb"[\x80-\xff]+", data)]
    if sum(runs) >= LEAST_LETTERS and sum(run for run in runs if run > 1) > sum(runs) / 2:
        raise DataError(
            f"{name}: neither UTF-8 nor the text of a Western language; if it is text, "
            f"{USABLE_ENCODINGS} shift_jis, gb18030, cp1251 or utf-16-le."
        )
    try:
        data.decode("cp1252")
    except UnicodeDecodeError:
        return "latin-1"
    return "cp1252"


def not_encoded(name: str, encoding: str, error: UnicodeError) -> DataError:
    """Return the error for a file that is not text of the given or inferred encoding."""
    return DataError(f"{name}: not {encoding} text ({error}); {USABLE_ENCODINGS} latin-1.")


def _decoded(data: bytes, encoding: str, name: str) -> str:
    try:
        text = codecs.getincrementaldecoder(encoding)().decode(data)
    except UnicodeError as error:
        raise not_encoded(name, encoding, error) from None
    if "\0" in text:
        raise DataError(
            f"{name}: not text, it has null bytes; save it as CSV. If it is text, {USABLE_ENCODINGS} utf-16-le."
        )
    return text


def _separator(lines: Sequence[str], likely: str | None) -> str:
    """Return the likely separator if it fits all lines, else the one that splits the most lines like the first one.

    Blanks are chosen if they fit all lines, and either runs of them align the cells or no other separator fits.
    """
    share = {}
    for sep in dict.fromkeys((*filter(None, [likely]), *NAMES)):
        try:
            rows = [row for row in reader(lines, sep) if row]
        except csv.Error:
            continue
        widths = [len(row) for row in rows]
        if rows and widths[0] > 1:
            share[sep] = 1.0 if has_row_names(lines, rows, sep) else widths.count(widths[0]) / len(widths)
    if likely and share.get(likely) == 1:
        return likely
    by_blanks = share.pop(BLANKS, 0) == 1 and len(lines) > 1
    if by_blanks and (not share or all("  " in line.strip() for line in lines if line.strip())):
        return BLANKS
    return max(share, key=lambda sep: share[sep]) if share else ","


def _rows(lines: Sequence[str], sep: str, name: str) -> list[tuple[int, list[str]]]:
    """Return the rows that are not blank, each with the number of its last line."""
    rows = reader(lines, sep)
    try:
        return [(rows.line_num, [cell.strip() for cell in row]) for row in rows if "".join(row).strip()]
    except csv.Error as error:
        raise DataError(f"{name}, line {rows.line_num}: not CSV ({error}).") from None
