"""Bias and activation in one pass: what follows a matrix product.

    y = f(z + bias),    dz = dy · f'(z + bias),    dbias = Σ_rows dz

z is (rows, n), bias (n,). Read and written once each: 8 bytes an element forward in float32, 12 backward.
"""

from __future__ import annotations

from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops.activations import ActivationFunction, activation_function
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.matmul import check_kernel
from gpunet.tape import Tape, empty_like


def bias_activation(
    z: Array,
    bias: Array | None,
    activation: str | ActivationFunction | None,
    *,
    out: Array | None = None,
    preactivation: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return f(z + bias).

    Args:
        z: (..., n), float32 or float64.
        bias: (n,), or None for no bias.
        activation: the function f by name or object; None is the identity.
        out: where to write the result, an array like `z` (also `z` itself); by default the tape's or a fresh one.
        preactivation: where to leave z + bias, an array like `z` (also `z` itself, not `out`). The backward pass of an
            activation whose `saves` is "input" needs it.
        kernel: as for `matmul`.
        tape: where memory comes from; None makes fresh arrays.

    Returns:
        (..., n), in the dtype of `z`.

    Raises:
        ShapeError: the shapes don't fit.
        DTypeError: dtypes that differ or are not float32 or float64.
    """
    check_kernel(kernel)
    xp = float_module("bias_activation", z=z, bias=bias, out=out, preactivation=preactivation)
    if bias is not None and (bias.ndim != 1 or z.ndim == 0 or bias.shape[0] != z.shape[-1]):
        raise ShapeError(f"bias_activation: bias of shape {bias.shape} does not fit the last axis of z, {z.shape}.")
    check_shape("bias_activation", z.shape, out=out, preactivation=preactivation)
    if out is None:
        out = empty_like(tape, z, xp)
    inner = out if preactivation is None else preactivation
    if bias is not None:
        xp.add(z, bias, out=inner)
    elif inner is not z:
        xp.copyto(inner, z)
    activation_function(activation).forward(inner, out, xp, tape)
    return out


def bias_activation_backward(
    dy: Array,
    saved: Array,
    activation: str | ActivationFunction | None,
    *,
    dbias: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> tuple[Array, Array]:
    """Return (dz, dbias), the gradients of y = bias_activation(z, bias, activation) from the gradient of y.

    Args:
        dy: (..., n), the gradient of y.
        saved: what the activation's `saves` names: y, or the preactivation z + bias.
        activation: as given to `bias_activation`.
        dbias: where to write the bias gradient, (n,); a fresh array by default.
        kernel: as for `matmul`.
        tape: where memory comes from; None makes fresh arrays.

    Returns:
        dz (..., n) and dbias (n,), summed over all rows in a fixed order.

    Raises:
        ShapeError: `dy` and `saved` differ in shape.
        DTypeError: dtypes that differ or are not float32 or float64.
    """
    check_kernel(kernel)
    xp = float_module("bias_activation_backward", dy=dy, saved=saved, dbias=dbias)
    check_shape("bias_activation_backward", dy.shape[-1:], dbias=dbias)
    dz = activation_backward(dy, saved, activation, tape=tape)
    return dz, xp.sum(dz, axis=tuple(range(dz.ndim - 1)), out=dbias)


def activation_backward(
    dy: Array, saved: Array | None, activation: str | ActivationFunction | None, *, tape: Tape | None = None
) -> Array:
    """Return dz = dy · f'(z). Arguments as for `bias_activation_backward`."""
    function = activation_function(activation)
    xp = float_module(function.name, dy=dy, saved=saved)
    if saved is None or saved.shape != dy.shape:
        raise ShapeError(f"{function.name} backward: dy has shape {dy.shape}, saved {getattr(saved, 'shape', None)}.")
    dz = empty_like(tape, dy, xp)
    function.backward(dy, saved, dz, xp, tape)
    return dz
