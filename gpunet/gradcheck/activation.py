"""Check the derivative of an activation, and compare its CUDA expressions with its NumPy code."""

from __future__ import annotations

import numpy as np

from gpunet.default_device import current_device
from gpunet.device import CPU, Device, get_device, to_host
from gpunet.errors import DeviceError, GradientError
from gpunet.gradcheck.differences import STEP, TOLERANCE
from gpunet.gradcheck.report import GradientReport
from gpunet.ops import bias_activation, bias_activation_backward
from gpunet.ops.activations import ActivationFunction

ROUNDING = {"float32": 1e-5, "float64": 1e-10}
"""Maximum difference between a CUDA expression and NumPy, relative to max(|value|, 1)."""


def check_activation(function: ActivationFunction, z: np.ndarray) -> GradientReport:
    """Check an activation at `z`, float64; see `check_gradients`."""
    ahead, behind = function(z + STEP), function(z - STEP)
    name = f"{function!r}: f' in NumPy"
    _require_close(name, z, _derivative(function, z), (ahead - behind) / (2 * STEP), TOLERANCE)
    if function.is_own_code or function.cuda_options() is None:
        return GradientReport(repr(function), CPU.name, ("f'",))
    device = current_device() if current_device() is not CPU else get_device("sim")
    try:
        for dtype, tolerance in ROUNDING.items():
            _compare(function, z.astype(dtype), device, tolerance)
    except DeviceError as error:
        return GradientReport(repr(function), CPU.name, ("f'",), (f"the CUDA expressions of {function!r}: {error}",))
    return GradientReport(repr(function), CPU.name, ("f'", f"CUDA expressions on {device.name}"))


def _derivative(function: ActivationFunction, z: np.ndarray) -> np.ndarray:
    """Return f'(z) by the NumPy code, computed with an output gradient that is not 1."""
    dy = np.linspace(0.5, 1.5, z.size).reshape(z.shape)
    dz = np.empty_like(z)
    function.backward(dy, z if function.saves == "input" else function(z), dz, np, None)
    return dz / dy


def _compare(function: ActivationFunction, z: np.ndarray, device: Device, tolerance: float) -> None:
    """Compare f and f' computed by a device's kernels with NumPy's, in the dtype of `z`."""
    z_device, ones = device.asarray(z), device.asarray(np.ones_like(z))
    with device.activate():
        y = bias_activation(z_device, None, function)
        dz, _ = bias_activation_backward(ones, z_device if function.saves == "input" else y, function)
    exact = z.astype(np.float64)
    where = f"in CUDA, {z.dtype} on {device.name},"
    _require_close(f"{function!r}: f {where}", exact, to_host(y), function(exact), tolerance)
    _require_close(f"{function!r}: f' {where}", exact, to_host(dz), _derivative(function, exact), tolerance)


def _require_close(name: str, z: np.ndarray, found: np.ndarray, expected: np.ndarray, tolerance: float) -> None:
    """Raise `GradientError` if values differ by more than `tolerance`, relative to max(|value|, 1), or are NaN."""
    difference = np.abs(found - expected) / np.maximum(np.abs(expected), 1)
    if not (difference <= tolerance).all():
        worst = np.unravel_index(np.argmax(difference), z.shape)
        raise GradientError(
            f"{name} is wrong: at z = {z[worst]:.6g} expected {expected[worst]:.10g}, found {found[worst]:.10g}."
        )
