"""The options of tables: how their files are read, and what their columns are taken for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, get_args

import click

from gpunet.data.table import Missing

ROLES = {"category": "category", "number": "number", "date": "date", "ignore": "ignored"}


def names_of(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> tuple[str, ...]:
    """Return the names of columns that a repeatable option gives, with commas between them."""
    return tuple(name.strip() for name in ",".join(given).split(",") if name.strip())


def _roles(ctx: click.Context, parameter: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    roles: dict[str, str] = {}
    for text in given:
        name, _, role = text.rpartition("=")
        if not name or role not in ROLES:
            raise click.BadParameter(f"{text!r}: give COLUMN=ROLE, a role of {', '.join(ROLES)}.")
        if roles.setdefault(name, ROLES[role]) != ROLES[role]:
            raise click.BadParameter(f"two roles for column {name!r}; give one.")
    return roles


_OPTIONS = (
    click.option("--target", metavar="COLUMN", help="Column of a table to predict.  [default: the last]"),
    click.option(
        "--columns", metavar="NAMES", multiple=True, callback=names_of,
        help="To learn from: age,fare; repeatable.  [default: all]",
    ),
    click.option("--drop", metavar="NAMES", multiple=True, callback=names_of, help="Columns to ignore; repeatable."),
    click.option(
        "--as", "roles", metavar="COLUMN=ROLE", multiple=True, callback=_roles,
        help="What a column is: category, number, date or ignore; repeatable.  [default: told by its values]",
    ),
    click.option(
        "--missing", type=click.Choice(get_args(Missing)), default="median", show_default=True,
        help="For missing numbers: fill in, drop the row, or refuse.",
    ),
    click.option("--sep", metavar="CHARACTER", help="Between the cells of a CSV file: ';', 'tab'.  [default: found]"),
    click.option("--decimal", type=click.Choice([".", ","]), help="The decimal mark.  [default: found]"),
    click.option("--encoding", help="Such as latin-1.  [default: found]"),
    click.option("--header/--no-header", default=None, help="Does the first line name the columns?  [default: found]"),
)  # fmt: skip


def table_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the options of tables to a command."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command
