"""Detect whether an object that a recorded step depends on has changed since the recording.

The process has one counter. Setting an attribute of a `Versioned` object increments the counter and stores it as the
object's version. While the counter is unchanged, no object has changed; otherwise those with another version have.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

from gpunet.attributes import Strict, is_own

_numbers = itertools.count(1)

latest = 0
"""The version of the latest change in this process."""


def advance() -> int:
    """Count a change and return its version."""
    global latest
    latest = version = next(_numbers)
    return version


class Versioned(Strict):
    """Base class of what a recorded step depends on, such as a layer, a loss or an optimizer.

    Attributes:
        version: a number that changes whenever an attribute is set.
        outside_the_step: attributes that no step reads; setting them does not change the version.
    """

    __slots__ = ("version",)  # a slot, because the instance's dict contains the settings
    version: int
    outside_the_step: ClassVar[frozenset[str]] = frozenset()

    @property
    def is_own_code(self) -> bool:
        """Whether its class is gpunet's; user code may do things that a recording misses."""
        return is_own(type(self).__module__)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self.outside_the_step:
            object.__setattr__(self, "version", advance())


def parts(*objects: Any) -> list[Versioned]:
    """Return all versioned objects among `objects` and in their attributes, recursively."""
    found: dict[int, Versioned] = {}  # by identity: two equal activations are two parts
    waiting: list[Any] = list(objects)
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, Versioned) and id(item) not in found:
            if not hasattr(item, "version"):  # no attribute was set yet, or the object was unpickled
                object.__setattr__(item, "version", 0)
            found[id(item)] = item
            waiting += vars(item).values()
    return list(found.values())
