"""The classes that a file may name: gpunet's own layers, losses, optimizers and schedules, and those of yours.

A file holds no code. What it says of a layer is the name of its class and the arguments of the constructor; whoever
reads it must know a class of that name.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from gpunet.errors import ArgumentError

T = TypeVar("T")
C = TypeVar("C", bound=type)

Custom = Mapping[str, type]
"""Classes by the names that a file has for them; they come before those that are registered."""

INITIAL = {"rng", "params", "buffers"}
"""Arguments of constructors that make initial values, for which a file has arrays."""

_classes: dict[str, type] = {}


def register(cls: C) -> C:
    """Let files name a layer, a loss, an optimizer or a schedule of yours; a decorator for its class.

    Its `config` returns the arguments of the constructor, as JSON: by default what the attributes of the same names
    are. Whoever loads such a file registers the class before, by importing its module.

    Raises:
        ArgumentError: no class with a `config`, or there is another class of that name.

    Example:
        >>> @gn.register
        ... class Shift(gn.Layer):
        ...     def __init__(self, by=1.0):
        ...         self.by = by
        ...         super().__init__()
        >>> Shift(by=2.0).config()
        {'by': 2.0}
    """
    if not inspect.isclass(cls) or not callable(getattr(cls, "config", None)):
        raise ArgumentError(f"register takes the class of a layer, a loss, an optimizer or a schedule, got {cls!r}.")
    known = _classes.get(cls.__name__, cls)
    if not _same(known, cls):
        raise ArgumentError(f"register: {known.__module__} has a class {cls.__name__} already; choose another name.")
    _classes[cls.__name__] = cls
    return cls


def name_of(part: object) -> str:
    """Return the name that files have for the class of `part`; a class may be `saved_as` another one.

    Raises:
        ArgumentError: it is not registered.
    """
    cls = saved_class(part)
    if not _same(_classes.get(cls.__name__), cls):
        raise ArgumentError(
            f"{part!r} cannot be saved: a file holds no code, only the names of classes that are known. Decorate "
            f"{cls.__name__} with @gn.register, and let its config() return the constructor's arguments."
        )
    return cls.__name__


def arguments_of(part: object) -> dict[str, Any]:
    """Return the arguments of an object's constructor that it keeps as attributes of the same names."""
    return {name: getattr(part, name) for name in _arguments(saved_class(part)) if hasattr(part, name)}


def check_complete(part: object, config: Mapping[str, Any]) -> None:
    """Refuse a configuration that lacks arguments of the constructor: another object would be rebuilt from it.

    Raises:
        ArgumentError: it does.
    """
    if missing := [name for name in _arguments(saved_class(part)) if name not in config]:
        raise ArgumentError(
            f"it lacks {', '.join(map(repr, missing))}; keep each argument of {type(part).__name__} as an attribute of "
            "its name, or return it by config()."
        )


def takes_many(cls: type) -> bool:
    """Return whether the constructor of a class takes any number of arguments, such as layers."""
    return any(p.kind is p.VAR_POSITIONAL for p in _parameters(cls))


def find(name: Any, kind: type[T], custom: Custom) -> type[T]:
    """Return the class that a file names, derived from `kind`.

    Raises:
        ArgumentError: there is none, or it is of another kind.
    """
    cls = custom.get(name, _classes.get(name))
    what = kind.__name__.lower()
    if cls is None:
        raise ArgumentError(
            f"unknown {what} {name!r}; import the module that registers it with @gn.register, or give "
            f"custom={{{name!r}: its class}}."
        )
    if not inspect.isclass(cls) or not issubclass(cls, kind):
        raise ArgumentError(f"{name!r} must be a class derived from {kind.__name__}, got {cls!r}.")
    return cls


def checked(custom: Custom | None) -> Custom:
    """Return the classes that a caller gives by name; None are none.

    Raises:
        ArgumentError: no mapping.
    """
    if not isinstance(custom, Mapping | None):
        raise ArgumentError(f"custom takes classes by their names in the file, as in {{'Mine': Mine}}, got {custom!r}.")
    return custom or {}


def saved_class(part: object) -> type:
    """Return the class that a file names for an object."""
    cls: type = vars(type(part)).get("saved_as", type(part))
    return cls


def _parameters(cls: type) -> list[inspect.Parameter]:
    return list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]


def _arguments(cls: type) -> list[str]:
    """Return the names of a constructor's arguments that a file holds."""
    return [
        p.name for p in _parameters(cls) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in INITIAL
    ]


def _same(one: type | None, other: type) -> bool:
    """Return whether two classes are one, perhaps defined again, as when a cell of a notebook runs twice."""
    return one is not None and (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
