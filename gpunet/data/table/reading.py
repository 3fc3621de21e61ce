"""Read the file of a table with pandas."""

from __future__ import annotations

import csv
import io
import warnings
from collections.abc import Collection, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from gpunet.arguments import counted
from gpunet.data.table.cells import BLANKS, reader
from gpunet.data.table.opening import UNPACKING_ERRORS, Source
from gpunet.data.table.parquet import is_parquet, pandas_module, read_parquet
from gpunet.data.table.sniffing import SAMPLE, no_data, not_encoded, sniff, western_encoding
from gpunet.data.table.tables import Table
from gpunet.data.table.text_format import AS_FOUND, Format, ReadOptions
from gpunet.data.table.values import MISSING
from gpunet.errors import ArgumentError, DataError

TEXT = (".csv", ".tsv", ".txt", ".data")
SUFFIXES = (*TEXT, *(f"{suffix}.gz" for suffix in TEXT), ".parquet")
"""How the file names of tables end."""

_MISSING = sorted({form for text in MISSING for form in (text, text.upper(), text.title())} | {"NaN", "n/a"})


def is_table(source: str | Path) -> bool:
    """Return whether a source is named like a table, or is standard input."""
    return str(source) == "-" or str(source).lower().endswith(SUFFIXES)


def read_table(
    source: str | Path,
    options: ReadOptions = AS_FOUND,
    *,
    text: Collection[str | int] = (),
    names: Sequence[str] = (),
    likely: ReadOptions = AS_FOUND,
) -> Table:
    """Read the file of a table.

    Comment lines (#) above the header, blank lines and rows without any value are skipped. Cells are missing values if
    they are empty, ?, NA, N/A, NaN, null, <NA> or #N/A, in lower or upper case.

    Args:
        source: see `load`.
        options: the format of a text file; by default inferred from its first 64 KiB.
        text: columns, by name or position, to read as text.
        names: column names for a file without a header; ignored if their number differs.
        likely: the format, unless the file contradicts it.

    Raises:
        ArgumentError: options for a parquet file.
        DataError: the file cannot be read; the message names the line.
        MissingPackageError: pandas, or pyarrow for a parquet file, is not installed.

    Example:
        >>> import pandas as pd
        >>> pd.DataFrame({"size": [1.5, 2.5], "price": [10, 20]}).to_csv("houses.csv", index=False)
        >>> gn.data.read_table("houses.csv").frame
           size  price
        0   1.5     10
        1   2.5     20
    """
    if is_parquet(source):
        if options != AS_FOUND:
            raise ArgumentError(f"{source}: sep, decimal, encoding and header are for text files, not for parquet.")
        return read_parquet(Path(source))
    opened = Source(Path(source))
    try:
        return _read_text(opened, options, text, names, likely)
    except UNPACKING_ERRORS as error:
        raise DataError(f"{opened.name}: cannot be read ({error}); it is truncated or corrupt.") from error
    except MemoryError:
        raise opened.too_large() from None


class _Rows(io.TextIOBase):
    """The text below the header; reading beyond the limit of its source raises."""

    def __init__(self, source: Source, format: Format):
        self._file, self._source, self._left = _open_text(source, format), source, source.limit

    def read(self, size: int | None = -1, /) -> str:
        text = self._file.read(-1 if size is None else size)
        self._left -= len(text)
        if self._left < 0:
            raise self._source.too_large()
        return text

    def close(self) -> None:
        self._file.close()
        super().close()


def _open_text(source: Source, format: Format) -> io.TextIOWrapper:
    """Open the text of a file after its skipped lines; line endings are not converted."""
    text = io.TextIOWrapper(source.open(), format.encoding, newline="")
    for _ in range(format.skipped):
        text.readline()
    return text


def _read_text(
    source: Source, options: ReadOptions, text: Collection[str | int], names: Sequence[str], likely: ReadOptions
) -> Table:
    with source.open() as file:
        format = sniff(file, options, source.name, likely)
    if not format.header and len(names) == len(format.names):
        format = replace(format, names=tuple(names))
    while True:
        try:
            frame, blank = _parse(source, format, text)
            break
        except UnicodeError as error:
            if options.encoding or format.encoding not in ("utf-8", "cp1252"):
                raise not_encoded(source.name, format.encoding, error) from None
            data = error.object if isinstance(error, UnicodeDecodeError) else b""
            format = replace(format, encoding=western_encoding(data, source.name))
    line = partial(_line, source, format)
    return Table(frame, source.name, str(format), format.header, format.decimal, line, blank)


def _parse(source: Source, format: Format, text: Collection[str | int]) -> tuple[Any, int]:
    """Return the data frame of a text file, and the number of its empty rows, which the frame lacks.

    The frame's index counts the rows of the file.
    """
    frame = _read_csv(source, format, text)
    count = len(frame)
    without_last = frame[frame[format.names[-1]].isna()]
    if len(format.names) > 1 and len(without_last):  # pandas pads short rows
        if not _all_cells(source, format, count):
            _check_widths(source, format)
        blank = without_last.index[without_last.isna().all(axis=1)]
        frame = frame.drop(index=blank) if len(blank) else frame
    empty = [format.names[i] for i in format.unnamed if frame[format.names[i]].isna().all()]
    frame = frame.drop(columns=empty) if empty else frame
    if not len(frame):
        raise no_data(source.name)
    return frame, count - len(frame)


def _read_csv(source: Source, format: Format, text: Collection[str | int]) -> Any:
    """Return all rows of a text file as a data frame, empty ones too."""
    pandas = pandas_module()
    options: dict[str, Any] = {
        "sep": r"\s+" if format.sep == BLANKS else format.sep,
        "decimal": format.decimal or ".",
        "header": None,
        "names": list(format.names),
        "index_col": False,
        "skipinitialspace": format.spaced,
        "keep_default_na": False,
        "na_values": _MISSING,
        "dtype": {
            format.names[c] if isinstance(c, int) else c: str for c in text if isinstance(c, int) or c in format.names
        },
    }
    try:
        with _Rows(source, format) as rows, warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            frame = pandas.read_csv(rows, **options)
        if caught:  # pandas inferred different dtypes for parts of a column, or dropped cells
            _check_widths(source, format)
            with _Rows(source, format) as rows:
                frame = pandas.read_csv(rows, low_memory=False, **options)
        return frame
    except pandas.errors.EmptyDataError:
        raise no_data(source.name) from None
    except pandas.errors.ParserError as error:
        _check_widths(source, format)
        raise DataError(f"{source.name}: not CSV ({error}).") from None


def _all_cells(source: Source, format: Format, rows: int) -> bool:
    """Return whether no row lacks cells, judged by the number of separators outside quotes (fast)."""
    if format.sep == BLANKS:
        return False  # any number of blanks separates two cells
    separators, inside = 0, 0
    with _open_text(source, format) as text:
        while part := text.read(SAMPLE):
            pieces = part.split('"')
            separators += "".join(pieces[inside::2]).count(format.sep)
            inside = (inside + len(pieces) - 1) % 2
    return separators == rows * (len(format.names) - 1)


def _cells(source: Source, format: Format) -> Iterator[tuple[int, list[str]]]:
    """Yield each row that is not blank, parsed by Python's csv, with the line on which it ends."""
    with _open_text(source, format) as text:
        rows = reader(text, format.sep, spaced=format.spaced, strict=True)
        try:
            for cells in rows:
                if len(cells) > 1 or "".join(cells).strip():
                    yield format.skipped + rows.line_num, cells
        except csv.Error as error:
            raise DataError(f"{source.name}, line {format.skipped + rows.line_num}: not CSV ({error}).") from None


def _check_widths(source: Source, format: Format) -> None:
    """Raise `DataError` if a row has more or fewer cells than there are columns."""
    width = len(format.names)
    for line, cells in _cells(source, format):
        if len(cells) != width:
            whose = "the header" if format.header else "the first row"
            raise DataError(
                f"{source.name}, line {line}: {counted(len(cells), 'value')}, {whose} has {counted(width, 'column')}."
            )


def _line(source: Source, format: Format, row: int) -> int:
    """Return the line on which a row ends."""
    return next(islice(_cells(source, format), row, None))[0]
