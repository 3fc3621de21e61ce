"""Validate JSON from files, which are untrusted input, against type hints.

A format is a type hint: `dict[str, float | None]`, a dataclass, a TypedDict, a Literal, or lists and tuples of these. A
value that does not match raises a `ValueError` that names its place in the file.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import types
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints, is_typeddict

from gpunet.arguments import listed, shown

T = TypeVar("T")

MOST_DIGITS = 300
"""Maximum number of digits of an integer read as a float; larger ones could overflow."""


def parse_json(text: str | bytes) -> Any:
    """Parse a JSON text; raise `ValueError` if it is not JSON in UTF-8, or is nested too deeply."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("the JSON is nested too deeply") from None


def read_as(hint: type[T], value: Any, where: str = "") -> T:
    """Check a JSON value against a type hint and return it, with its dataclasses and tuples built.

    Args:
        where: the value's name in an error message, such as "rows[3]".

    Raises:
        ValueError: a key is missing or unknown, or a value has another type.
    """
    read: T = _read(hint, value, where)
    return read


def _read(hint: Any, value: Any, where: str) -> Any:
    origin, arguments = get_origin(hint), get_args(hint)
    if hint is Any:
        return value
    if origin in (Union, types.UnionType):
        return _read_choice(arguments, value, where)
    if origin is Literal:
        if any(type(value) is type(choice) and value == choice for choice in arguments):
            return value
        raise _wrong(where, listed(arguments) if len(arguments) > 1 else repr(arguments[0]), value)
    if dataclasses.is_dataclass(hint) or is_typeddict(hint):
        return _read_record(hint, value, where)
    if origin in (dict, Mapping):
        _expect(dict, value, where)
        return {key: _read(arguments[1], item, f"{where}[{key!r}]") for key, item in value.items()}
    if origin in (list, Sequence):
        _expect(list, value, where)
        return [_read(arguments[0], item, f"{where}[{i}]") for i, item in enumerate(value)]
    if origin is tuple:
        return _read_tuple(arguments, value, where)
    return _read_plain(hint, value, where)


def _read_plain(hint: Any, value: Any, where: str) -> Any:
    """Return a scalar; an int also matches float, but a bool matches neither."""
    if hint is float and type(value) is int and abs(value) < 10**MOST_DIGITS:
        return value
    _expect(type(None) if hint is None else hint, value, where)
    return value


def _read_choice(hints: Sequence[Any], value: Any, where: str) -> Any:
    """Return the value read by the first hint that it matches."""
    if value is None and type(None) in hints:
        return None
    others = [hint for hint in hints if hint is not type(None)]
    errors = []
    for hint in others:
        try:
            return _read(hint, value, where)
        except ValueError as error:
            errors.append(error)
    raise errors[-1]


def _read_record(hint: Any, value: Any, where: str) -> Any:
    """Return a dataclass or a TypedDict."""
    _expect(dict, value, where)
    hints = _hints_of(hint)
    if dataclasses.is_dataclass(hint):
        required = {field.name for field in dataclasses.fields(hint) if not _has_default(field)}
    else:
        required = hint.__required_keys__
    if missing := sorted(required - value.keys()):
        raise ValueError(f"{where or 'it'} lacks {', '.join(map(repr, missing))}")
    if unknown := sorted(value.keys() - hints.keys()):
        raise ValueError(f"{where or 'it'} has {', '.join(map(repr, unknown))}, unknown to this version of gpunet")
    read = {key: _read(hints[key], item, f"{where}.{key}".lstrip(".")) for key, item in value.items()}
    return hint(**read)


_hints_of = functools.cache(get_type_hints)


def _has_default(field: dataclasses.Field[Any]) -> bool:
    return field.default is not dataclasses.MISSING or field.default_factory is not dataclasses.MISSING


def _read_tuple(hints: tuple[Any, ...], value: Any, where: str) -> tuple[Any, ...]:
    _expect(list, value, where)
    if hints[-1] is Ellipsis:
        hints = hints[:1] * len(value)
    if len(hints) != len(value):
        raise ValueError(f"{where} must have {len(hints)} elements, got {len(value)}")
    return tuple(_read(hint, item, f"{where}[{i}]") for i, (hint, item) in enumerate(zip(hints, value, strict=True)))


NAMES = {
    dict: "an object",
    list: "a list",
    str: "text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
}


def _expect(kind: type, value: Any, where: str) -> None:
    if type(value) is not kind:
        raise _wrong(where, NAMES.get(kind, "null"), value)


def _wrong(where: str, expected: str, value: Any) -> ValueError:
    return ValueError(f"{where or 'it'} must be {expected}, got {shown(value)}")
