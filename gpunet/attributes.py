"""Attributes that an object does not have: setting one is refused, and the habits of other frameworks are answered."""

from __future__ import annotations

import difflib
import inspect
import sys
from types import FrameType
from typing import TYPE_CHECKING, Any, Self

from gpunet.errors import UnknownAttributeError
from gpunet.habits import ARGUMENTS, check_arguments, habit


class Strict:
    """The base of gpunet's classes that users configure: code outside of gpunet sets attributes that are there already.

    A class derived from one elsewhere may have any attributes.
    """

    __slots__ = ()

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """Say how it is done here, where an argument's name is another framework's."""
        if not ARGUMENTS.keys().isdisjoint(given):
            check_arguments(cls.__init__, cls.__name__, (None, *args), given)
        return super().__new__(cls)

    def _lacks(self, method: str) -> NotImplementedError:
        """Return the error for a method that a derived class must have, and has not."""
        return NotImplementedError(f"{type(self).__name__} has no method `{method}` of its own, and needs one.")

    if not TYPE_CHECKING:  # for which it would make an attribute of every name

        def __getattr__(self, name: str) -> Any:
            """Say how it is done here, where the name is another framework's."""
            if answer := habit(type(self), name):
                raise UnknownAttributeError(f"{type(self).__name__} has no attribute {name!r}: {answer}.")
            return object.__getattribute__(self, name)  # raises as usual, or as the property of that name did

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__ and not hasattr(type(self), name):
            _check(self, name)
        object.__setattr__(self, name, value)


def _check(part: Strict, name: str) -> None:
    """Refuse an attribute that is not there, unless gpunet's own code sets it or the class is not gpunet's."""
    cls = type(part)
    if is_own(cls.__module__) and not _set_by_own_code():
        raise UnknownAttributeError(f"{cls.__name__} has no attribute {name!r}; {_choices(part, name)}")


def is_own(module: str) -> bool:
    """Return whether a module, of that name, is gpunet's."""
    return module.startswith("gpunet.")


def _set_by_own_code() -> bool:
    """Return whether the statement that sets an attribute, the caller of all `__setattr__`s, is gpunet's."""
    frame: FrameType | None = sys._getframe(2)  # behind _check
    while frame is not None and frame.f_code.co_name == "__setattr__":
        frame = frame.f_back
    return frame is not None and is_own(frame.f_globals.get("__name__", ""))


def _choices(part: Strict, name: str) -> str:
    """Return the nearest attribute that may be set, or all of them."""
    cls = type(part)
    computed = {known for known in dir(cls) if getattr(inspect.getattr_static(cls, known), "fset", None)}
    settable = sorted(known for known in computed | vars(part).keys() if not known.startswith("_"))
    near = difflib.get_close_matches(name, settable, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(settable) or 'none'}."
