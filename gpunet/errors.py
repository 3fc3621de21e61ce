"""The exception tree of gpunet.

Every message says what was wrong, in which argument or layer, and what to do. All errors derive from `GpunetError` and
from the matching built-in exception.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager


class GpunetError(Exception):
    """Base class of every error that gpunet raises deliberately."""


class ArgumentError(GpunetError, ValueError):
    """An argument has an invalid value, such as a negative learning rate."""


class ShapeError(GpunetError, ValueError):
    """Incompatible shapes; the message names both."""


class DTypeError(GpunetError, TypeError):
    """An array has an unsupported dtype, such as complex numbers or Python objects."""


class DataError(GpunetError, ValueError):
    """Features, labels or a data file cannot be used: NaN, a missing column, labels out of range."""


class DeviceError(GpunetError, RuntimeError):
    """A device is missing or unusable."""


class OutOfMemoryError(DeviceError, MemoryError):
    """A device does not have enough memory."""


class DeviceMismatchError(DeviceError):
    """An operation got arrays on different devices."""


class CompileError(GpunetError, RuntimeError):
    """A CUDA or C++ source does not compile; the message holds the compiler's log."""


class KernelError(GpunetError, RuntimeError):
    """A kernel failed; the message names it and the fault."""


class UnknownAttributeError(GpunetError, AttributeError):
    """A missing attribute was read or set."""


class UnknownArgumentError(GpunetError, TypeError):
    """A call has an unknown argument, too many positional arguments, or lacks a required one."""


class StateError(GpunetError, RuntimeError):
    """A call out of order, such as `backward` before `forward`."""


class GradientError(GpunetError, AssertionError):
    """A gradient is wrong; the message gives the expected and the actual value."""


class RankError(GpunetError, RuntimeError):
    """Ranks of a distributed training disagree, or one failed."""


class ModelFileError(GpunetError, ValueError):
    """A model or checkpoint file is truncated, altered, written by another program, or of an unknown version."""


class MissingPackageError(GpunetError, ImportError):
    """An optional package is not installed."""


class GpunetWarning(UserWarning):
    """A problem that does not stop the work, such as a step that could not be recorded."""


@contextmanager
def located(place: str) -> Iterator[None]:
    """Prefix the message of a `GpunetError` raised in the block with `place`."""
    try:
        yield
    except GpunetError as error:
        raise type(error)(f"{place}{error}") from None


def warn(message: str, category: type[Warning] = GpunetWarning) -> None:
    """Issue a warning at the line that called gpunet, outside it and scikit-learn."""
    frame, level = sys._getframe(1), 2
    while frame.f_back is not None and frame.f_globals.get("__name__", "").partition(".")[0] in ("gpunet", "sklearn"):
        frame, level = frame.f_back, level + 1
    warnings.warn(message, category, stacklevel=level)
