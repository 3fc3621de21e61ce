"""Define a benchmark case: an operation at one size, with its inputs, its reference and its kernels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import ModuleType
from typing import Any, Literal, NamedTuple, TypeAlias

import numpy as np

from gpunet.device import Array, Device
from gpunet.errors import ArgumentError
from gpunet.ops._matmul_plan import KERNEL_NAMES, TENSOR_CORE_KERNELS
from gpunet.ops.tuned import Product

Call: TypeAlias = Callable[[], tuple[Array, ...]]
"""Computes once and returns the results, arrays on the device."""

Prepare: TypeAlias = Callable[..., Call]
"""Takes the array module and the operands on the device by name; returns the call that is timed."""

Arguments: TypeAlias = Callable[..., tuple[dict[str, Any], tuple[Array, ...]]]
"""Takes the arguments of `Prepare`; returns all arguments of a kernel by name, and those of them that are results."""


Size: TypeAlias = tuple[int, ...]
DType: TypeAlias = np.dtype[Any]


class Operand(NamedTuple):
    """An input: standard normal numbers in the dtype of the case, or labels below `classes`."""

    shape: tuple[int, ...]
    classes: int | None = None


@dataclass(frozen=True)
class Case:
    """An operation at one size.

    Attributes:
        variant: a form of the operation, such as "NT".
        size: as written for `--sizes`.
        reference: computes the results with NumPy from the inputs by name, in float64.
        kernels: functions that prepare each kernel; the first is the library, the baseline of the comparison.
        nbytes: minimum bytes that a call moves.
        terms: length of the longest sums; rounding errors grow with it.
        arguments: the arguments for a user's own kernel; None if the operation supports none.
        options: macros for the compiler of such a kernel.
        products: the matrix products whose plans are shown with the results.
        calls: after how many calls the results are checked.
        eager: whether the time on the host counts, as in a training step.
    """

    op: str
    variant: str
    size: str
    dtype: DType
    operands: Mapping[str, Operand]
    reference: Callable[..., tuple[np.ndarray, ...]]
    kernels: Mapping[str, Prepare]
    flops: int
    nbytes: int
    terms: int
    unit: Literal["FLOP/s", "B/s"]
    arguments: Arguments | None = None
    options: Mapping[str, Any] | None = None
    products: Sequence[Product] = ()
    eager: bool = False
    calls: int = 1

    def kernels_on(self, device: Device) -> dict[str, Prepare]:
        """Return the kernels that run on a device."""
        return {name: prepare for name, prepare in self.kernels.items() if self._runs(name, device)}

    def _runs(self, kernel: str, device: Device) -> bool:
        if kernel not in KERNEL_NAMES:
            return True
        if device.name == "cpu":
            return False
        if kernel not in TENSOR_CORE_KERNELS:
            return True
        return self.dtype == np.float32 and int(device.xp.cuda.Device(device.index).compute_capability) >= 80

    def draw(self, seed: int = 0) -> dict[str, np.ndarray]:
        """Return random inputs."""
        rng = np.random.default_rng(seed)
        return {name: self._draw(rng, operand) for name, operand in self.operands.items()}

    def _draw(self, rng: np.random.Generator, operand: Operand) -> np.ndarray:
        if operand.classes is not None:
            return rng.integers(operand.classes, size=operand.shape)
        return rng.standard_normal(operand.shape, self.dtype.type)

    def check(self, inputs: Mapping[str, np.ndarray]) -> None:
        """Raise `ArgumentError` unless the inputs are as random as their operands specify.

        Zeros would be fast to multiply, and hide errors.
        """
        for name, operand in self.operands.items():
            a = inputs[name]
            wanted = self.dtype if operand.classes is None else np.dtype(np.int64)
            if (a.shape, a.dtype) != (operand.shape, wanted):
                raise ArgumentError(
                    f"{self.op} {self.size}: input {name} is {a.dtype} {a.shape}, expected {wanted} {operand.shape}."
                )
            if fault := _normal_fault(a) if operand.classes is None else _label_fault(a, operand.classes):
                raise ArgumentError(f"{self.op} {self.size}: input {name} is not random: {fault}.")


def _normal_fault(a: np.ndarray) -> str:
    """Return how `a` differs from independent standard normal numbers; "" if it does not."""
    if a.size == 0:
        return ""
    if np.count_nonzero(a) < 0.999 * a.size:
        return "it holds zeros"
    sample = a.ravel()[:: max(1, a.size // 10_000)].astype(np.float64)
    if len(np.unique(sample)) < 0.9 * len(sample):
        return "its numbers repeat"
    n, mean, power = len(sample), sample.mean(), np.square(sample).mean()
    near = 6 / n**0.5  # six standard errors of the mean, four of the mean square, whose tail is longer for small n
    if abs(mean) <= near and abs(power - 1) <= near + 20 / n:
        return ""
    return f"mean {mean:.2g}, mean square {power:.2g}"


def _label_fault(a: np.ndarray, classes: int) -> str:
    """Return how `a` differs from labels of all classes; "" if it does not."""
    if a.size and not (a.min() >= 0 and a.max() < classes):
        return f"it has labels outside [0, {classes})"
    if a.size > 20 and classes > 1 and a.min() == a.max():
        return "its labels are all the same"
    return ""


def blank(xp: ModuleType, shape: tuple[int, ...], dtype: DType) -> Array:
    """Return an array of NaN, which reveals elements that a kernel does not write."""
    a = xp.empty(shape, dtype)
    a.fill(math.nan)
    return a
