"""Whether an object that a recorded step depends on was changed since the step was recorded.

There is one counter for the process. Setting an attribute of a `Versioned` object advances it and notes its value as
the object's version. While the counter stands still nothing was changed; once it has moved, the versions of the objects
of a step say whether one of them was.
"""

from __future__ import annotations

import itertools
from typing import Any, ClassVar

from gpunet.attributes import Strict, is_own

_numbers = itertools.count(1)

latest = 0
"""The version of the last change anywhere in this process."""


def advance() -> int:
    """Count a change; return its version."""
    global latest
    latest = version = next(_numbers)
    return version


class Versioned(Strict):
    """What a recorded step depends on, such as a layer, a loss or an optimizer.

    Attributes:
        version: a number that changes whenever an attribute is set.
        outside_the_step: names of attributes that no step reads.
    """

    __slots__ = ("version",)  # not among the settings, which are in the instance's dict
    version: int
    outside_the_step: ClassVar[frozenset[str]] = frozenset()

    @property
    def is_own_code(self) -> bool:
        """Whether all of its code is gpunet's; code of others may escape a recording."""
        return is_own(type(self).__module__)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(name, value)
        if name not in self.outside_the_step:
            object.__setattr__(self, "version", advance())


def parts(*objects: Any) -> list[Versioned]:
    """Return the versioned objects among those given and inside them, such as the layers of a model."""
    found: dict[int, Versioned] = {}  # by identity: two equal activations are two parts
    waiting: list[Any] = list(objects)
    while waiting:
        item = waiting.pop()
        if isinstance(item, list | tuple):
            waiting += item
        elif isinstance(item, dict):
            waiting += item.values()
        elif isinstance(item, Versioned) and id(item) not in found:
            if not hasattr(item, "version"):  # no attribute was set since it was made, or unpickled
                object.__setattr__(item, "version", 0)
            found[id(item)] = item
            waiting += vars(item).values()
    return list(found.values())
