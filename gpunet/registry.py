"""The classes that a file may name: gpunet's layers, losses, optimizers and schedules, and registered user classes.

A file contains no code. It describes an object by its class name and constructor arguments.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any, TypeVar

from gpunet.errors import ArgumentError

T = TypeVar("T")
C = TypeVar("C", bound=type)

Custom = Mapping[str, type]
"""Classes by their names in a file; they take precedence over registered classes."""

INITIAL = {"rng", "params", "buffers"}
"""Constructor arguments that a file does not store, because it stores the resulting arrays."""

_classes: dict[str, type] = {}


def register(cls: C) -> C:
    """Register your layer, loss, optimizer or schedule, so that it can be saved to a file; a class decorator.

    The class's `config` returns the constructor's arguments as JSON values; by default the attributes of the same
    names. Import the module that registers a class before you load such a file.

    Raises:
        ArgumentError: another class is registered by this name.

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
        raise ArgumentError(f"register: {known.__module__} already registers {cls.__name__}; choose another name.")
    _classes[cls.__name__] = cls
    return cls


def name_of(part: object) -> str:
    """Return the name of the class of `part` in a file; raise `ArgumentError` if it is not registered."""
    cls = saved_class(part)
    if not _same(_classes.get(cls.__name__), cls):
        raise ArgumentError(
            f"{part!r} cannot be saved: a file contains no code, only the names of registered classes. Decorate "
            f"{cls.__name__} with @gn.register, and let its config() return the constructor's arguments."
        )
    return cls.__name__


def arguments_of(part: object) -> dict[str, Any]:
    """Return an object's constructor arguments, from its attributes of the same names."""
    return {name: getattr(part, name) for name in _arguments(saved_class(part)) if hasattr(part, name)}


def check_complete(part: object, config: Mapping[str, Any]) -> None:
    """Raise `ArgumentError` if a configuration lacks a constructor argument: it would rebuild a different object."""
    if missing := [name for name in _arguments(saved_class(part)) if name not in config]:
        raise ArgumentError(
            f"config() lacks {', '.join(map(repr, missing))}; store each argument of {type(part).__name__} as an "
            "attribute of the same name, or return it from config()."
        )


def is_variadic(cls: type) -> bool:
    """Return whether the constructor of a class has a `*args` parameter, for example for layers."""
    return any(p.kind is p.VAR_POSITIONAL for p in _parameters(cls))


def find(name: Any, kind: type[T], custom: Custom) -> type[T]:
    """Return the class that a file names; raise `ArgumentError` if it is unknown or does not derive from `kind`."""
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
    """Return the argument `custom`, an empty mapping for None; raise `ArgumentError` if it is not a mapping."""
    if not isinstance(custom, Mapping | None):
        raise ArgumentError(f"custom must map names in the file to classes, as in {{'Mine': Mine}}, got {custom!r}.")
    return custom or {}


def saved_class(part: object) -> type:
    """Return the class that a file names for `part`: that of its class attribute `saved_as`, else its own."""
    cls: type = vars(type(part)).get("saved_as", type(part))
    return cls


def _parameters(cls: type) -> list[inspect.Parameter]:
    return list(inspect.signature(cls.__init__).parameters.values())[1:]  # type: ignore[misc]


def _arguments(cls: type) -> list[str]:
    """Return the names of the constructor arguments that a file stores."""
    return [
        p.name for p in _parameters(cls) if p.kind not in (p.VAR_POSITIONAL, p.VAR_KEYWORD) and p.name not in INITIAL
    ]


def _same(one: type | None, other: type) -> bool:
    """Return whether two classes are the same, or one defined twice, as when a notebook cell runs again."""
    return one is not None and (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
