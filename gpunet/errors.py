"""The exception tree of gpunet.

Every error says what was wrong, in which argument or layer, and what to do. All derive from `GpunetError`, and each
also derives from the builtin that a Python user would expect to catch.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager


class GpunetError(Exception):
    """The root: `except gn.errors.GpunetError` catches everything that gpunet raises on purpose."""


class ArgumentError(GpunetError, ValueError):
    """An argument has a value that makes no sense, such as a negative learning rate."""


class ShapeError(GpunetError, ValueError):
    """Shapes that don't fit together; the message names both shapes and the axes that disagree."""


class DTypeError(GpunetError, TypeError):
    """An array of a type that the operation does not take, such as complex numbers or Python objects."""


class DataError(GpunetError, ValueError):
    """Features, labels or a data file that cannot be used: NaN, a missing column, labels out of range."""


class DeviceError(GpunetError, RuntimeError):
    """A device that is not there or not usable; the message names the missing part and how to get it."""


class OutOfMemoryError(DeviceError, MemoryError):
    """What does not fit on a device; the message says how much was needed and how much is free."""


class DeviceMismatchError(DeviceError):
    """Arrays from two devices met in one operation; the message says which argument is where."""


class CompileError(GpunetError, RuntimeError):
    """A CUDA or C++ source that the compiler refuses; the message holds the compiler's log with file and line."""


class KernelError(GpunetError, RuntimeError):
    """A fault in a kernel: the message names kernel, file and line, block, thread and what it did."""


class UnknownAttributeError(GpunetError, AttributeError):
    """An attribute that a class does not have was read or set; the message says what there is instead."""


class UnknownArgumentError(GpunetError, TypeError):
    """A call with an argument that it does not have, or without one that it needs; the message says what to write."""


class StateError(GpunetError, RuntimeError):
    """A call out of order, such as `backward` before `forward`."""


class GradientError(GpunetError, AssertionError):
    """A gradient that is not that of its function; the message says where, what was expected and what was found."""


class RankError(GpunetError, RuntimeError):
    """Ranks of a distributed training that do not fit together, or one that cannot go on; the message says which."""


class ModelFileError(GpunetError, ValueError):
    """A model or checkpoint file that is truncated, altered, foreign or of an unknown version."""


class MissingPackageError(GpunetError, ImportError):
    """An optional package that is not installed; the message says how to install it."""


class GpunetWarning(UserWarning):
    """What a user should know though the work goes on, such as a step that could not be recorded."""


@contextmanager
def located(place: str) -> Iterator[None]:
    """Put in front of the message of an error of gpunet's where it was."""
    try:
        yield
    except GpunetError as error:
        raise type(error)(f"{place}{error}") from None
