"""Give functions the parameters of the CuPy functions that they stand in for."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from inspect import Parameter, Signature
from typing import Any


def with_signature(name: str, parameters: str, function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a function CuPy's parameters; it receives the required ones by position and the others by name.

    Args:
        name: CuPy's name of the function.
        parameters: such as "x / out= * dtype="; those that end with `=` are optional.
    """
    signature = Signature(list(_parameters(parameters)))
    required = [p.name for p in signature.parameters.values() if p.default is Parameter.empty]

    def call(*args: Any, **options: Any) -> Any:
        try:
            given = signature.bind(*args, **options).arguments
        except TypeError as error:
            raise TypeError(f"{name}{signature}: {error}") from None
        positional = [given.pop(name) for name in required]
        return function(*positional, **given)

    call.__name__ = call.__qualname__ = name
    call.__doc__ = f"See `numpy.{name}`; the parameters are CuPy's."
    call.__dict__["__signature__"] = signature
    return call


def _parameters(text: str) -> Iterator[Parameter]:
    names, _, keywords = text.partition(" * ")
    positional, _, both = names.rpartition(" / ")
    for part, kind in (
        (positional, Parameter.POSITIONAL_ONLY),
        (both, Parameter.POSITIONAL_OR_KEYWORD),
        (keywords, Parameter.KEYWORD_ONLY),
    ):
        for name in part.split():
            yield Parameter(name.rstrip("="), kind, default=None if name.endswith("=") else Parameter.empty)
