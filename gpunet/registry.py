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

_classes: dict[str, type] = {}


def register(cls: C) -> C:
    """Let files name a layer, a loss, an optimizer or a schedule of yours; a decorator for its class.

    Its `config` must return the arguments of the constructor, as JSON. Whoever loads such a file registers the class
    before, by importing its module.

    Example:
        >>> @gn.register
        ... class Shift(gn.Layer):
        ...     def __init__(self, by=1.0):
        ...         self.by = by
        ...         super().__init__()
        ...
        ...     def config(self):
        ...         return {"by": self.by}

    Raises:
        ArgumentError: no class with a `config`, or there is another class of that name.
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
    cls: type = vars(type(part)).get("saved_as", type(part))
    if not _same(_classes.get(cls.__name__), cls):
        raise ArgumentError(
            f"{part!r} cannot be saved: a file holds no code, only the names of classes that are known. Decorate "
            f"{cls.__name__} with @gn.register, and let its config() return the constructor's arguments."
        )
    return cls.__name__


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


def _same(one: type | None, other: type) -> bool:
    """Return whether two classes are one, perhaps defined again, as when a cell of a notebook runs twice."""
    return one is not None and (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
