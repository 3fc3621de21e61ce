"""Refuse unknown attributes, and explain the gpunet equivalent of names from other frameworks."""

from __future__ import annotations

import difflib
import inspect
import sys
from abc import ABCMeta
from types import FrameType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from gpunet.errors import ArgumentError, UnknownAttributeError
from gpunet.habits import check_arguments, equivalent_of


class _Answering(ABCMeta):
    """A class that explains the gpunet equivalent of its methods in other frameworks, such as `gn.MLP.load`."""

    if not TYPE_CHECKING:  # a type checker would accept every attribute name

        def __getattr__(cls, name: str) -> Any:
            if answer := equivalent_of(cls, name):
                raise UnknownAttributeError(f"{cls.__name__} has no attribute {name!r}: {answer}.")
            raise AttributeError(f"type object {cls.__name__!r} has no attribute {name!r}", name=name, obj=cls)


class Strict(metaclass=_Answering):
    """Base of the classes that users configure: code outside gpunet can set only existing attributes.

    User-defined subclasses may have any attributes.
    """

    __slots__ = ()
    _guide: ClassVar[str] = "help(gn.Layer)"  # shows how to write a subclass
    _set_by_init: ClassVar[frozenset[str]] = frozenset()  # attributes that a user's subclass may have forgotten to set

    def __new__(cls, *args: Any, **given: Any) -> Self:
        """Explain which arguments the class takes if the given ones do not match."""
        if args or given:  # copy and pickle call it without arguments
            check_arguments(cls.__init__, cls.__name__, (None, *args), given)
        return super().__new__(cls)

    def __init__(self) -> None:
        super().__init__()  # without this method, classes that define none would accept any arguments

    def _not_implemented(self, method: str) -> NotImplementedError:
        """Return the error for an abstract method that a derived class did not implement."""
        return NotImplementedError(f"{type(self).__name__} does not implement `{method}`; define this method.")

    @classmethod
    def _check_method(cls, method: str, expected: str, *args: Any, **given: Any) -> None:
        """Raise `ArgumentError` if a user's class defines a method that does not take these arguments.

        Args:
            expected: the method's signature, for the error message.
        """
        defined = vars(cls).get(method)
        if inspect.isfunction(defined) and not is_own(cls.__module__):
            signature = inspect.signature(defined, follow_wrapped=False)
            try:
                signature.bind_partial(*args, **given)
            except TypeError:
                raise ArgumentError(
                    f"{cls.__name__}.{method} must take {expected}, as in {cls._guide}, got {signature}."
                ) from None

    if not TYPE_CHECKING:  # a type checker would accept every attribute name

        def __getattr__(self, name: str) -> Any:
            """Explain a missing `super().__init__`, or the gpunet equivalent of a name of another framework."""
            kind = type(self).__name__
            if name in self._set_by_init and not is_own(type(self).__module__):
                raise UnknownAttributeError(
                    f"{kind} has no attribute {name!r}: call super().__init__(...) at the start of its __init__."
                )
            if answer := equivalent_of(type(self), name):
                raise UnknownAttributeError(f"{kind} has no attribute {name!r}: {answer}.")
            return object.__getattribute__(self, name)  # raises the usual error, or that of a property of this name

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in self.__dict__ and not hasattr(type(self), name):
            _check(self, name)
        object.__setattr__(self, name, value)


def _check(part: Strict, name: str) -> None:
    """Refuse a new attribute, unless gpunet's own code sets it or the class is the user's."""
    cls = type(part)
    if is_own(cls.__module__) and not _set_by_own_code():
        raise UnknownAttributeError(f"{cls.__name__} has no attribute {name!r}; {_choices(part, name)}")


def is_own(module: str) -> bool:
    """Return whether the module of that name belongs to gpunet."""
    return module.startswith("gpunet.")


def _set_by_own_code() -> bool:
    """Return whether the assignment, the first frame outside any `__setattr__`, is in gpunet's code."""
    frame: FrameType | None = sys._getframe(2)  # the caller of _check
    while frame is not None and frame.f_code.co_name == "__setattr__":
        frame = frame.f_back
    return frame is not None and is_own(frame.f_globals.get("__name__", ""))


def _choices(part: Strict, name: str) -> str:
    """Return a hint for an error message: the settable attribute with the closest name, or all of them."""
    cls = type(part)
    computed = {known for known in dir(cls) if getattr(inspect.getattr_static(cls, known), "fset", None)}
    settable = sorted(known for known in computed | vars(part).keys() if not known.startswith("_"))
    near = difflib.get_close_matches(name, settable, n=1, cutoff=0.5)
    return f"did you mean {near[0]!r}?" if near else f"it has {', '.join(settable) or 'none'}."
