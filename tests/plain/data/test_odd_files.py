"""Irregular files: each gives the right schema, or an error that names the line and the column."""

from __future__ import annotations

import gzip
import warnings
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from gpunet.data import ReadOptions, TableOptions, load
from gpunet.errors import DataError, GpunetWarning


@dataclass
class Odd:
    """A file and the expected result.

    Attributes:
        content: its bytes; text is encoded as UTF-8.
        roles: the columns with their roles, such as "x number, c category"; "" if the file must be rejected.
        error: the parts of the error message, in order.
        X: the features of the first rows.
        found: the text that the line about the file's format must contain.
    """

    content: bytes | str
    roles: str = ""
    error: tuple[str, ...] = ()
    X: list[list[float]] | None = None
    found: tuple[str, ...] = ()
    suffix: str = ".csv"
    target: str | None = None
    task: Any = None
    reading: dict[str, Any] = field(default_factory=dict)
    options: dict[str, Any] = field(default_factory=dict)


def utf16(text: str) -> bytes:
    return text.encode("utf-16")


PLAIN = "x,c,y\n1.5,a,p\n2.5,b,q\n4.5,a,p\n"
ROLES = "x number, c category"
JAPANESE = "値,都市,y\n1.5,東京,p\n2.5,大阪,q\n4.5,東京,p\n"
FEATURES = [[1.5, 1, 0], [2.5, 0, 1], [4.5, 1, 0]]

FORMATS = {
    "as it should be": Odd(PLAIN, ROLES, X=FEATURES, found=("separator ','", "decimal point", "utf-8", ", header")),
    "byte order mark": Odd(b"\xef\xbb\xbf" + PLAIN.encode(), ROLES, X=FEATURES, found=("utf-8",)),
    "UTF-16": Odd(utf16(PLAIN), ROLES, X=FEATURES, found=("utf-16",)),
    "UTF-16 without a mark": Odd(PLAIN.encode("utf-16-le"), error=("null bytes", "utf-16-le")),
    "UTF-16 without a mark, given as an option": Odd(
        PLAIN.encode("utf-16-le"), ROLES, X=FEATURES, reading={"encoding": "utf-16-le"}
    ),
    "Latin-1": Odd("x,c,y\n1.5,é,p\n2.5,ü,q\n".encode("latin-1"), ROLES, X=[[1.5, 1, 0]], found=("cp1252",)),
    "Windows-1252": Odd("x,c,y\n1.5,€,p\n2.5,“ü”,q\n".encode("cp1252"), ROLES, found=("cp1252",)),
    "Shift-JIS": Odd(JAPANESE.encode("shift_jis"), error=("neither UTF-8", "--encoding shift_jis")),
    "Shift-JIS beyond the beginning": Odd(
        b"x,c,y\n" + b"1.5,a,p\n2.5,b,q\n" * 6000 + f"3.5,{'さくら' * 6},p\n".encode("shift_jis"),
        error=("neither UTF-8", "--encoding"),
    ),
    "Shift-JIS, given as an option": Odd(
        JAPANESE.encode("shift_jis"), "値 number, 都市 category", X=[[1.5, 0, 1]], reading={"encoding": "shift_jis"}
    ),
    "Cyrillic": Odd("x,город,y\n1.5,Москва,p\n2.5,Казань,q\n".encode("cp1251"), error=("neither UTF-8", "cp1251")),
    "Latin-1 beyond the beginning": Odd(
        b"x,c,y\n" + b"1.5,a,p\n2.5,b,q\n" * 6000 + "3.5,é,p\n".encode("latin-1"), ROLES, X=[[1.5, 1, 0, 0]]
    ),
    "a wrong encoding": Odd(
        "x,c,y\n1.5,é,p\n".encode("latin-1"), error=("not ascii text",), reading={"encoding": "ascii"}
    ),
    "semicolons": Odd(PLAIN.replace(",", ";"), ROLES, X=FEATURES, found=("separator ';'", "decimal point")),
    "semicolons and decimal commas": Odd(
        PLAIN.replace(",", ";").replace(".", ","), ROLES, X=FEATURES, found=("separator ';'", "decimal comma")
    ),
    "decimal commas without a header": Odd(
        "1,5;2,5;p\n2,5;3,5;q\n",
        "column 1 number, column 2 number",
        X=[[1.5, 2.5]],
        found=("separator ';'", "no header"),
    ),
    "decimal commas of three digits next to dates with points": Odd(
        "d;x;y\n31.12.1970;1,234;p\n1.2.1970;2,345;q\n", "d date, x number", found=("decimal comma",)
    ),
    "decimal commas with points between thousands": Odd(
        "x;y\n1.234,5;p\n2.000,5;q\n", "x number", X=[[1234.5], [2000.5]]
    ),
    "quoted decimal commas": Odd('x,y\n"1,5",p\n"2,25",q\n', "x number", X=[[1.5], [2.25]]),
    "tabs": Odd(PLAIN.replace(",", "\t"), ROLES, X=FEATURES, found=("separator tab",), suffix=".tsv"),
    "tabs and empty cells": Odd("x\tc\ty\n1.5\t\tp\n\tb\tq\n3.5\tb\tp\n", ROLES, X=[[1.5, 0, 1, 0], [2.5, 1, 0, 1]]),
    "bars": Odd(PLAIN.replace(",", "|"), ROLES, X=FEATURES, found=("separator '|'",)),
    "groups of thousands next to whole numbers": Odd(
        "x\ty\n527\tp\n1,177\tq\n12,500\tq\n", "x number", X=[[527], [1177], [12500]], found=("decimal point",)
    ),
    "European groups of thousands next to whole numbers": Odd(
        "x;y\n527;p\n1.177;q\n", "x number", X=[[527], [1177]], found=("decimal comma",)
    ),
    "three decimals in a comma-separated file": Odd("x,y\n2,p\n1.177,q\n", "x number", X=[[2], [1.177]]),
    "tabs and blanks": Odd(
        "0.13\t-13.21 p\n0.5   2.5\tq\n", "column 1 number, column 2 number", X=[[0.13, -13.21]], reading={"sep": " "}
    ),
    "aligned columns, a tab and quotes": Odd(
        '18.0   8   307.0\t"chevrolet chevelle"\n15.0   8   350.0\t"buick skylark"\n'
        '14.0   8   340.0\t"buick skylark"\n12.0   8   340.0\t"chevrolet chevelle"\n',
        "column 1 number, column 2 ignored, column 3 number",
        X=[[18, 307]],
    ),
    "blanks": Odd(" x    c  y\n1.5  a  p \n2.5 b   q\n 4.5 a p\n", ROLES, X=FEATURES, found=("separator blanks",)),
    "row names of R without a name": Odd(
        '"x" "c" "y"\n' + "".join(f'"{i}" {i % 4}.5 "{"ab"[i % 2]} a" "{"pq"[i % 2]}"\n' for i in range(1, 13)),
        f"column 1 ignored, {ROLES}",
        X=[[1.5, 0, 1], [2.5, 1, 0]],
        found=("separator blanks", "header"),
    ),
    "a comma after quoted values": Odd(
        '"x","y"\n"1.5","p",\n"2.5","q",\n"4.5","p",\n', "x number", X=[[1.5], [2.5], [4.5]]
    ),
    "row names of R without quotes": Odd(
        "x\tc\ty\n" + "".join(f"car {i}\t{i % 4}.5\t{'ab'[i % 2]}\t{'pq'[i % 2]}\n" for i in range(1, 13)),
        f"column 1 ignored, {ROLES}",
        X=[[1.5, 0, 1], [2.5, 1, 0]],
        found=("separator tab", "header, row names as 'column 1'"),
    ),
    "row numbers of R without quotes": Odd(
        "x c y\n" + "".join(f"{i} {i % 4}.5 {'ab'[i % 2]} {'pq'[i % 2]}\n" for i in range(1, 13)),
        f"column 1 ignored, {ROLES}",
        X=[[1.5, 0, 1], [2.5, 1, 0]],
        found=("separator blanks", "header, row names as 'column 1'"),
    ),
    "an unquoted comma in the text of each row": Odd(
        "x,town,y\n" + "".join(f"{i}.5,Paris, France,{'pq'[i % 2]}\n" for i in range(12)),
        error=("line 2: 4 values, the header has 3 columns",),
    ),
    "an additional cell in each row that is no row name": Odd(
        "x,c,y\n1.5,a,p,7\n1.5,b,q,8\n", error=("line 2: 4 values, the header has 3 columns",)
    ),
    "row names of R between commas": Odd(
        '"x","c","y"\n' + "".join(f'"{i}",{i % 4}.5,"{"ab"[i % 2]}","{"pq"[i % 2]}"\n' for i in range(1, 13)),
        f"column 1 ignored, {ROLES}",
        X=[[1.5, 0, 1], [2.5, 1, 0]],
    ),
    "blanks without a header": Odd(
        "  0.5  18.00   2.3\n 10.5   0.00   7.1\n", "column 1 number, column 2 number", X=[[0.5, 18], [10.5, 0]]
    ),
    "a short row between blanks": Odd("x c y\n1.5 a p\n" * 2 + "2.5 q\n", error=("line 5",), reading={"sep": " "}),
    "an unusual separator, given as an option": Odd(PLAIN.replace(",", "^"), ROLES, X=FEATURES, reading={"sep": "^"}),
    "Excel's line for the separator": Odd("sep=;\n" + PLAIN.replace(",", ";"), ROLES, X=FEATURES),
    "an unknown separator": Odd(PLAIN.replace(",", "^"), error=("but the target 'x^c^y'", "--sep")),
    "packed": Odd(gzip.compress(PLAIN.encode()), ROLES, X=FEATURES, suffix=".csv.gz"),
    "packed under another name": Odd(gzip.compress(PLAIN.encode()), ROLES, X=FEATURES),
    "packed and cut off": Odd(
        gzip.compress(PLAIN.encode())[:-9], error=("cannot be read", "truncated or corrupt"), suffix=".csv.gz"
    ),
    "a workbook": Odd(b"PK\x03\x04\x14\0\6\0", error=("not text",)),
    "quoted decimal commas, given as an option": Odd(
        'x,y\n"1,234",p\n"2,000",q\n', "x number", X=[[1.234], [2]], reading={"decimal": ","}, found=("decimal comma",)
    ),
}

LINES = {
    "Windows' line ends": Odd(PLAIN.replace("\n", "\r\n"), ROLES, X=FEATURES),
    "old Macs' line ends": Odd(PLAIN.replace("\n", "\r"), ROLES, X=FEATURES),
    "mixed line ends": Odd("x,c,y\r\n1.5,a,p\n2.5,b,q\r4.5,a,p\r\n", ROLES, X=FEATURES),
    "no line end at the end": Odd(PLAIN.rstrip(), ROLES, X=FEATURES),
    "blank lines": Odd("\n\nx,c,y\n\n1.5,a,p\n   \n2.5,b,q\n4.5,a,p\n\n\n", ROLES, X=FEATURES),
    "rows of separators alone, as spreadsheets write them": Odd(PLAIN + ",,\n,,\n", ROLES, X=FEATURES),
    "spaces around cells": Odd("x , c,y \n 1.5, a ,p\n2.5 ,b ,q\n 4.5 ,a, p\n", ROLES, X=FEATURES),
    "a separator at the end of each row": Odd("x,c,y\n1.5,a,p,\n2.5,b,q,\n4.5,a,p,\n", ROLES, X=FEATURES),
    "a separator at the end of all lines": Odd("x,c,y,\n1.5,a,p,\n2.5,b,q,\n4.5,a,p,\n", ROLES, X=FEATURES),
    "quoted separators and line ends": Odd(
        'x,c,y\n1.5,"a, b\nc",p\n2.5,"say ""no""",q\n', ROLES, X=[[1.5, 1, 0], [2.5, 0, 1]]
    ),
    "a quoted line end in the header": Odd('"x\n1",c,y\n1.5,a,p\n2.5,b,q\n', "x\n1 number, c category"),
    "a quote that does not end": Odd('x,c,y\n1.5,"a,p\n2.5,b,q\n', error=("line 3", "not CSV")),
    "a quote within a cell": Odd('x,c,y\n1.5,5" pipe,p\n2.5,b,q\n', ROLES),
    "two cells below one name": Odd("x\n1,2\n", error=("line 2: 2 values, the header has 1 column.",)),
    "a short row": Odd("x,c,y\n1.5,a,p\n2.5,b\n4.5,a,p\n", error=("line 3", "2 values", "the header has 3 columns")),
    "a short row after quoted lines": Odd('x,c,y\n1.5,"a\n\nb",p\n\n2.5,b\n', error=("line 6", "2 values")),
    "a long row": Odd("x,c,y\n1.5,a,p\n2.5,b,q,r\n", error=("line 3", "4 values", "3 columns")),
    "a first row that is long": Odd("x,c,y\n1.5,a,p,r\n2.5,b,q\n", error=("line 2", "4 values", "3 columns")),
    "all rows longer than the header": Odd("x,y\n1.5,a,p\n2.5,b,q\n", error=("line 2", "3 values", "2 columns")),
    "a short row without a header": Odd(
        "1.5,a,p\n2.5,q\n", error=("line 2", "2 values", "the first row has 3 columns")
    ),
    "a comment at the top": Odd("# made by hand\n" + PLAIN, ROLES, X=FEATURES, found=("1 comment line",)),
    "comments at the top": Odd("# made by hand\n# in May\n" + PLAIN, ROLES, X=FEATURES, found=("2 comment lines",)),
    "a header after a comment sign": Odd("# x, c, y\n1.5,a,p\n2.5,b,q\n4.5,a,p\n", ROLES, X=FEATURES),
    "a comment among the rows": Odd("x,c,y\n1.5,a,p\n# half\n2.5,b,q\n", error=("line 3", "1 value")),
    "a number sign in a cell": Odd("x,c,y\n1.5,#1,p\n2.5,C#,q\n", ROLES),
    "an empty file": Odd("", error=("no data",)),
    "blank lines alone": Odd("\n \n\n", error=("no data",)),
    "comments alone": Odd("# nothing\n", error=("no data",)),
    "a header alone": Odd("x,c,y\n", error=("no data",)),
    "a header and rows of separators": Odd("x,c,y\n,,\n", error=("no data",)),
}

HEADERS = {
    "no header": Odd(
        "1.5,a,p\n2.5,b,q\n4.5,a,p\n", "column 1 number, column 2 category", X=FEATURES, found=("no header",)
    ),
    "no header, all text, given as an option": Odd(
        "a,p\nb,q\na,p\n", "column 1 category", X=[[1, 0], [0, 1], [1, 0]], reading={"header": False}
    ),
    "a header of years, given as an option": Odd(
        "2019,2020,y\n1.5,2.5,p\n2.5,1.5,q\n", "2019 number, 2020 number", reading={"header": True}
    ),
    "a header of numbers and a label": Odd(
        "0,1,2,label\n1.5,2,3,p\n2.5,1,2,q\n3.5,2,1,p\n", "0 number, 1 number, 2 number"
    ),
    "a header of one number and a label": Odd("7,y\n1.5,p\n2.5,q\n3.5,p\n4.5,q\n", "7 number", X=[[1.5]]),
    "a header of years": Odd(
        "country,2019,2020,2021\nPeru,1.5,2,3.5\nChad,2.5,1,2.5\nPeru,3,2,1\n",
        "country category, 2019 number, 2020 number",
        X=[[0, 1, 1.5, 2], [1, 0, 2.5, 1]],
    ),
    "a header with a numeric name": Odd("age,5,c,y\n20,1.5,a,p\n21,2.5,b,q\n", "age number, 5 number, c category"),
    "no header, whole numbers and a label": Odd("7,1,p\n8,2,q\n9,1,p\n8,2,q\n", "column 1 number, column 2 number"),
    "no header, all text of the first row occurs again": Odd(
        "sunny,hot,yes\nrainy,hot,no\nsunny,mild,yes\nrainy,mild,no\n",
        "column 1 category, column 2 category",
        found=("no header",),
    ),
    "a header of text, one of which occurs again": Odd(
        "no,weather,y\nyes,hot,p\nno,mild,q\nno,hot,q\n", "no category, weather category"
    ),
    "a header after a comment sign, above text": Odd(
        "#name,kind,y\na,b,p\na,c,q\nb,b,p\nb,c,q\n", "name category, kind category"
    ),
    "an unnamed column next to one with its default name": Odd(
        ",column 1,y\n1.5,2.5,p\n2.5,1.5,q\n", "column 2 number, column 1 number"
    ),
    "a name twice": Odd("x,x,y\n1.5,2.5,p\n", error=("line 1", "names column 'x' twice")),
    "the index that pandas writes": Odd(
        ",x,y\n" + "".join(f"{i},{i * i}.5,{'pq'[i % 2]}\n" for i in range(12)), "column 1 ignored, x number", X=[[0.5]]
    ),
    "300 columns": Odd(
        ",".join(f"x{i}" for i in range(300))
        + ",y\n"
        + "".join(f"{'1.5,2.5,' * 150}{c}\n{'2.5,1.5,' * 150}{c}\n" for c in "pq"),
        ", ".join(f"x{i} number" for i in range(300)),
    ),
    "names with spaces, quotes and signs": Odd('"a ""b""",ü_1,y\n1.5,2.5,p\n2.5,3.5,q\n', 'a "b" number, ü_1 number'),
    "a target that does not exist": Odd(PLAIN, error=("no column 'z'", "'x', 'c', 'y'"), target="z"),
    "a target in the middle": Odd(PLAIN, "x number, y category", target="c"),
}

VALUES = {
    "decorated numbers": Odd(
        'x,z,y\n$5,3%,p\n\u22127,"1,234%",q\n$8,5 %,p\n', "x number, z number", X=[[5, 3], [-7, 1234], [8, 5]]
    ),
    "a fraction among percentages": Odd(
        "x,y\n5%,p\n6%,q\n0.07,q\n8%,p\n",
        error=("column 'x'", "'0.07' (line 4)", "in the unit of the others (%)"),
    ),
    "a percentage among fractions": Odd(
        "x,y\n0.05,p\n0.06,q\n7%,q\n", error=("'7%' (line 4)", "in the unit of the others (none)")
    ),
    "two currencies": Odd("x,y\n$5,p\n€6,q\n$7,q\n8,q\n", error=("'€6' (line 3)", "in the unit of the others ($)")),
    "1e300": Odd("x,y\n1,p\n1e300,q\n", error=("column 'x'", "(line 3)", "up to 1e150")),
    "infinite numbers": Odd("x,y\n1,p\n2,q\ninf,q\n-inf,p\n", error=("column 'x'", "(line 4)", "(line 5)", "finite")),
    "more digits than a float has": Odd(
        "x,y\n123456789012345678901234567890,p\n1,q\n", "x number", X=[[1.2345678901234568e29]]
    ),
    "leading zeros": Odd("x,y\n007,p\n010,q\n", "x number", X=[[7], [10]]),
    "leading zeros of a category": Odd(
        "x,y\n007,p\n7,q\n", "x category", X=[[1, 0], [0, 1]], options={"roles": {"x": "category"}}
    ),
    "truth values": Odd("x,y\nTRUE,p\nFalse,q\ntrue,p\n", "x category", X=[[0, 1], [1, 0], [0, 1]]),
    "negative numbers in parentheses": Odd(
        'x,y\n"(1,250.50)",p\n$3,q\n($4.25),p\n$(5),q\n', "x number", X=[[-1250.5], [3], [-4.25], [-5]]
    ),
    "only numbers in parentheses": Odd("x,y\n(212),p\n(646),q\n(212),p\n", "x category", X=[[1, 0], [0, 1]]),
    "only numbers in parentheses, as numbers": Odd(
        "x,y\n(1.5),p\n(2),q\n(3),p\n", "x number", X=[[-1.5], [-2], [-3]], options={"roles": {"x": "number"}}
    ),
    "numbers in parentheses in the header": Odd("(1),(2)\n1.5,p\n2.5,q\n4.5,p\n", "(1) number", X=[[1.5], [2.5]]),
    "a number in one parenthesis": Odd(
        "x,y\n" + "1.5,p\n2.5,q\n" * 9 + "(1.5,p\n", error=("'(1.5'",), options={"roles": {"x": "number"}}
    ),
    "Indian digit groups": Odd(
        'x,y\n"2,11,81,574.5",p\n"1,00,000",q\n"12,345",p\n',
        "x number",
        X=[[21181574.5], [100000], [12345]],
    ),
    "truth values with blanks": Odd("x,y\nTrue,p\n,q\nFalse,p\n", "x category", X=[[0, 0, 1], [1, 0, 0], [0, 1, 0]]),
    "whole numbers with blanks": Odd("x,y\n1,p\n,q\n3,p\n", "x number", X=[[1, 0], [2, 1], [3, 0]]),
    "all marks of a missing value": Odd(
        "x,y\n"
        + "".join(f"{sign},p\n1.5,q\n" for sign in ("", "NA", "na", "N/A", "NaN", "null", "NULL", "?", "<NA>", "#N/A")),
        "x number",
        X=[[1.5, 1], [1.5, 0]],
    ),
    "marks of a missing value among numbers": Odd(
        "x,y\n-,p\n1.5,q\n.,p\nNone,q\n2.5,p\n", "x number", X=[[2, 1], [1.5, 0]]
    ),
    "the text None": Odd("x,y\nNone,p\nsome,q\n", "x category", X=[[1, 0], [0, 1]]),
    "a column without a value": Odd("x,z,y\n,1.5,p\n,2.5,q\n", "x ignored, z number", X=[[1.5]]),
    "a column of one value": Odd("x,z,y\n7,1.5,p\n7,2.5,q\n", "x ignored, z number", X=[[1.5]]),
    "no column with something to learn": Odd(
        "x,y\n7,p\n7,q\n", error=("no column to learn from", "'x' (has one value, 7)")
    ),
    "unique text": Odd(
        "name,x,y\n" + "".join(f"n{i},{i * i},{'pq'[i % 2]}\n" for i in range(12)),
        "name ignored, x number",
        X=[[0], [1]],
    ),
    "consecutive numbers": Odd(
        "nr,x,y\n" + "".join(f"{i + 7},{i * i},{'pq'[i % 2]}\n" for i in range(12)),
        "nr ignored, x number",
        X=[[0], [1]],
    ),
    "consecutive numbers that count down": Odd(
        "a,x,y\n" + "".join(f"{12 - i},{i * i},{'pq'[i % 2]}\n" for i in range(12)), "a ignored, x number"
    ),
    "many consecutive numbers from any start": Odd(
        "a,x,y\n" + "".join(f"{100_000 + i},{i * i},{'pq'[i % 2]}\n" for i in range(300)), "a ignored, x number"
    ),
    "consecutive years": Odd(
        "year,x,y\n" + "".join(f"{2001 + i},{i * i},{'pq'[i % 2]}\n" for i in range(12)), "year number, x number"
    ),
    "text among numbers": Odd(
        "x,y\n1,p\n2,q\nthree,q\n4,p\n", error=("column 'x'", "'three' (line 4)", "--as x=category")
    ),
    "text among numbers after a quoted line": Odd('c,x,y\n"a\nb",1,p\nb,2,q\nc,n o,q\n', error=("'n o' (line 5)",)),
    "text after many numbers": Odd(
        "x,y\n" + "".join(f"{i * i},{'pq'[i % 2]}\n" for i in range(100_000)) + "many,p\n",
        error=("'many' (line 100002)",),
    ),
    "ISO dates": Odd("d,y\n1970-01-02,p\n1970-01-03,q\n", "d date", X=[[1, *np.sin([2 * np.pi / 365.2425]), 1.0]]),
    "German dates": Odd("d,y\n31.12.1970,p\n1.2.1970,q\n", "d date", X=[[364, 0, 1], [31, 0.51, 0.86]]),
    "American dates": Odd("d,y\n12/31/1970,p\n2/1/1970,q\n", "d date", X=[[364, 0, 1], [31, 0.51, 0.86]]),
    "British dates": Odd("d,y\n31/12/1970,p\n1/2/1970,q\n", "d date", X=[[364, 0, 1], [31, 0.51, 0.86]]),
    "years of two digits": Odd("d,y\n31.12.70,p\n01.02.70,q\n", "d date", X=[[364, 0, 1], [31, 0.51, 0.86]]),
    "dates with names of months": Odd(
        "d,y\n31 Dec 1970,p\n1 Feb 1970,q\n", "d date", X=[[364, 0, 1], [31, 0.51, 0.86]]
    ),
    "times of twelve hours": Odd(
        "d,y\n1/2/1970 12:00 PM,p\n1/3/1970 6:00 AM,q\n",
        "d date",
        X=[[1.5, 0.03, 1], [2.25, 0.04, 1]],
    ),
    "times with nanoseconds and a time zone": Odd(
        "d,y\n1970-01-02 12:00:00.123456789 UTC,p\n1970-01-03T08:00:00+02:00,q\n",
        "d date",
        X=[[1.5, 0.03, 1], [2.25, 0.04, 1]],
    ),
    "times of a Postgres dump": Odd(
        "d,y\n1970-01-02 12:00:00+00,p\n1970-01-03 06:00:00+00,q\n", "d date", X=[[1.5, 0.03, 1]]
    ),
    "times of Python's logging": Odd('d,y\n"1970-01-02 12:00:00,500",p\n"1970-01-03 06:00:00,000",q\n', "d date"),
    "an offset after a blank": Odd(
        "d,y\n1970-01-02 13:00:00 +0100,p\n1970-01-03 06:00:00 +0000,q\n", "d date", X=[[1.5, 0.03, 1]]
    ),
    "dates without zeros": Odd("d,y\n1970-1-2,p\n1970-1-15,q\n", "d date", X=[[1, 0.02, 1], [14, 0.24, 0.97]]),
    "dates with dots, the year first": Odd(
        "d,y\n1970.01.02 12:00,p\n1970.01.15 00:00,q\n", "d date", X=[[1.5, 0.03, 1]]
    ),
    "milliseconds after slashes": Odd(
        "d,y\n1970/01/02 12:00:00.000,p\n1970/01/15 00:00:00.500,q\n", "d date", X=[[1.5, 0.03, 1]]
    ),
    "months": Odd("d,y\n1970-01,p\n1970-02,q\n", "d date", X=[[0, 0, 1], [31, 0.51, 0.86]]),
    "dates before 1970": Odd("d,y\n1815-06-18,p\n1969-12-31,q\n", "d date", X=[[-56445, 0.25, -0.97], [-1, -0.02, 1]]),
    "dates of two formats": Odd(
        "d,y\n" + "1970-01-02,p\n" * 2 + "".join(f"1971-01-{i},q\n" for i in range(10, 20)) + "3.4.1970,q\n",
        error=("column 'd'", "'3.4.1970' (line 14)"),
    ),
    "dates with blanks": Odd(
        "d,y\n1970-01-02,p\n,q\n1970-01-04,q\n", "d date", X=[[1, 0.02, 1, 0], [2, 0.03, 1, 1], [3, 0.05, 1, 0]]
    ),
    "a date that does not exist": Odd(
        "d,y\n" + "".join(f"2021-02-{i},p\n2021-02-{i + 1},q\n" for i in range(10, 29)),
        error=("column 'd'", "'2021-02-29' (line 39)"),
    ),
    "versions": Odd("v,y\n1.2.3,p\n1.2.4,q\n1.2.3,p\n", "v category"),
    "times of the day": Odd("t,y\n12:30,p\n13:45,q\n12:30,p\n", "t category"),
    "a target with a blank": Odd("x,y\n1,p\n2,\n3,q\n", error=("target 'y'", "line 3", "remove these rows")),
    "a target of one value": Odd("x,y\n1,p\n2,p\n", error=("target 'y' is 'p' in all rows",)),
    "text among a target's numbers": Odd("x,y\n1,1.5\n2,2.5\n3,x\n", error=("column 'y'", "'x' (line 4)")),
    "one row": Odd("x,y\n1,p\n", error=("target 'y' is 'p' in all rows",)),
    "lists in cells": Odd('x,y\n"[1, 2]",p\n"[3]",q\n', "x category"),
    "a cell of 100,000 characters": Odd(f"c,x,y\n{'a' * 100_000},1,p\nb,2,q\n", "c category, x number"),
}

CASES = FORMATS | LINES | HEADERS | VALUES


@pytest.mark.parametrize("name", CASES)
def test_an_odd_file_gives_the_right_schema_or_an_error_with_the_place(name, tmp_path):
    case = CASES[name]
    path = tmp_path / f"odd{case.suffix}"
    path.write_bytes(case.content if isinstance(case.content, bytes) else case.content.encode())

    def read():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", GpunetWarning)
            options = TableOptions(ReadOptions(**case.reading), **case.options)
            return load(path, case.target, task=case.task, table=options)

    if not case.roles:
        with pytest.raises(DataError) as error:
            read()
        message = str(error.value)
        places = [message.find(part) for part in case.error]
        assert -1 not in places, message
        assert places == sorted(places), message
        return
    data = read()
    assert ", ".join(f"{column.name} {column.role}" for column in data.schema.columns) == case.roles
    for part in case.found:
        assert part in data.found
    if case.X is not None:
        np.testing.assert_allclose(data.X[: len(case.X)], case.X, atol=0.03)
    np.testing.assert_array_equal(data.schema.read(path), data.X)


def test_there_are_sixty_odd_files():
    assert len(CASES) >= 60
