"""Describe the format of a text file: as the user gives it, and as inferred."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

from gpunet.arguments import counted
from gpunet.data.table.cells import BLANKS
from gpunet.errors import ArgumentError

SEPARATORS = {"\t": "tab", ";": "';'", "|": "'|'", ",": "','"}
"""In order of preference: the comma comes last because it is also the decimal mark of many files."""

NAMES = SEPARATORS | {BLANKS: "blanks"}


@dataclass(frozen=True)
class ReadOptions:
    """The format of a text file; None is inferred from the file.

    Attributes:
        sep: the separator of cells, one character.
        decimal: the decimal mark, "." or ",".
        encoding: such as "latin-1".
        header: whether the first line names the columns.

    An invalid option raises `ArgumentError`.

    Example:
        >>> import pandas as pd
        >>> pd.DataFrame({"size": [1.5, 2.5]}).to_csv("houses.csv", sep=";", decimal=",", index=False)
        >>> options = gn.data.ReadOptions(sep=";", decimal=",")
        >>> gn.data.read_table("houses.csv", options).frame
           size
        0   1.5
        1   2.5
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
    """The inferred format of a text file; see `ReadOptions`.

    Attributes:
        decimal: None if no cell has a decimal mark.
        names: the column names; "column 1", "column 2", … for columns without a name.
        unnamed: the positions of columns that the header does not name.
        skipped: number of lines before the first row.
        comments: number of comments among them.
        spaced: whether spaces follow separators, which pandas parses more slowly.
        row_names: whether the first column holds row names, which the header does not name.
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
    row_names: bool

    def __str__(self) -> str:
        parts = [
            f"separator {NAMES.get(self.sep, repr(self.sep))}",
            {".": "decimal point", ",": "decimal comma", None: ""}[self.decimal],
            {"utf-8-sig": "utf-8"}.get(self.encoding, self.encoding),
            "header" if self.header else "no header",
        ]
        parts += [counted(self.comments, "comment line")] * bool(self.comments)
        parts += [f"row names as {self.names[0]!r}"] * self.row_names
        return ", ".join(filter(None, parts))
