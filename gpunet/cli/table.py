"""The options of `gpunet train` for tables: file format and roles of columns."""

from __future__ import annotations

import csv
from collections.abc import Callable
from typing import Any, get_args

import click

from gpunet.data.table import Missing

ROLES = {"category": "category", "number": "number", "date": "date", "ignore": "ignored"}


def names_of(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the column names of a repeatable option, whose values are lines of CSV."""
    try:
        rows = [row for text in given for row in csv.reader([text], skipinitialspace=True, strict=True)]
    except csv.Error:
        quoted = "quote a whole name that contains a comma, such as '\"a,b\",c'"
        raise click.BadParameter(f"{', '.join(map(repr, given))}: not comma-separated names; {quoted}.") from None
    return tuple(name.strip() for row in rows for name in row if name.strip())


def _roles(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for text in given:
        name, _, role = text.rpartition("=")
        if not name or role not in ROLES:
            raise click.BadParameter(f"{text!r}: use COLUMN=ROLE; the roles are {', '.join(ROLES)}.")
        if roles.setdefault(name, ROLES[role]) != ROLES[role]:
            raise click.BadParameter(f"two roles for column {name!r}; give one.")
    return roles


_OPTIONS = (
    click.option("--target", metavar="COLUMN", help="Column of a table to predict.  [default: the last]"),
    click.option(
        "--columns", metavar="NAMES", multiple=True, callback=names_of,
        help="Columns to learn from, such as age,fare or '\"a, b\",c'; repeatable.  [default: all]",
    ),
    click.option("--drop", metavar="NAMES", multiple=True, callback=names_of, help="Columns to ignore; repeatable."),
    click.option(
        "--as", "roles", metavar="COLUMN=ROLE", multiple=True, callback=_roles,
        help="Role of a column: category, number, date or ignore; repeatable.  [default: inferred]",
    ),
    click.option(
        "--missing", type=click.Choice(get_args(Missing)), default="median", show_default=True,
        help="How to handle missing numbers and dates: fill value, drop the row, or error.",
    ),
    click.option("--sep", metavar="CHARACTER", help="Separator of cells, such as ';' or 'tab'.  [default: inferred]"),
    click.option("--decimal", type=click.Choice([".", ","]), help="Decimal mark.  [default: inferred]"),
    click.option("--encoding", help="Text encoding, such as latin-1.  [default: inferred]"),
    click.option(
        "--header/--no-header", default=None, help="Whether the first line names the columns.  [default: inferred]"
    ),
)  # fmt: skip


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of tables to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
