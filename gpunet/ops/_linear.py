"""The linear layer in one operation: matrix product, bias and activation.

    z = x·W + bias,    y = f(z)
    dz = dy · f'(z),   dW = xᵀ·dz,   dbias = Σ_rows dz,   dx = dz·Wᵀ

x is (rows, in), W (in, out), bias (out,): 2·rows·in·out FLOPs forward, twice that backward.
"""

from __future__ import annotations

import math
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops._bias_activation import activation_backward, bias_activation, bias_activation_backward, sum_columns
from gpunet.ops._matmul_plan import MatmulPlan
from gpunet.ops.activations import ActivationFunction, Identity, activation_function
from gpunet.ops.checks import check_buffers, check_shape, float_module
from gpunet.ops.linear_gradients import launch_both, shared_tile
from gpunet.ops.matmul_launch import plan_for, product, run_plan
from gpunet.tape import Tape, empty


class Below(NamedTuple):
    """The layer whose output x = g(z) is the input of this one.

    Attributes:
        activation: the function g.
        saved: the array that g' needs, in the shape of x.
    """

    activation: ActivationFunction
    saved: Array | None


def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: str | ActivationFunction | None = None,
    *,
    out: Array | None = None,
    preactivation: Array | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return f(x·weight + bias), (..., out_features).

    Args:
        x: (..., in_features).
        weight: (in_features, out_features).
        bias: (out_features,), or None.
        out: C-contiguous.
        preactivation: where to write x·weight + bias, C-contiguous and not `out`.

    Example:
        >>> x, weight, bias = np.array([[1.0, 2.0]]), np.array([[1.0, -1.0], [1.0, -1.0]]), np.array([1.0, 1.0])
        >>> gn.ops.linear(x, weight, bias, "relu")
        array([[4., 0.]])
    """
    xp = float_module("linear", x=x, weight=weight, bias=bias, out=out, preactivation=preactivation)
    shape = _output_shape(x, weight, bias)
    check_buffers("linear", shape, out=out, preactivation=preactivation)
    if out is None:
        out = empty(tape, shape, x.dtype, xp)
    function = activation_function(activation)
    a, c, kept = _rows(x), _rows(out), None if preactivation is None else _rows(preactivation)
    plan = plan_for(a, weight, c, None, xp)
    if plan is not None and function.cuda_options() is not None:
        run_plan(plan, a, weight, c, bias=bias, activation=function, preactivation=kept, tape=tape, xp=xp)
        return out
    z = c if kept is None else kept
    product(plan, a, weight, z, tape, xp)
    bias_activation(z, bias, function, out=c, preactivation=kept, tape=tape)
    return out


def linear_backward(
    dy: Array,
    x: Array,
    weight: Array,
    saved: Array | None = None,
    activation: str | ActivationFunction | None = None,
    *,
    input_gradient: bool = True,
    weight_gradient: bool = True,
    bias_gradient: bool = True,
    below: Below | None = None,
    dweight: Array | None = None,
    dbias: Array | None = None,
    tape: Tape | None = None,
) -> tuple[Array | None, Array | None, Array | None]:
    """Return (dx, dweight, dbias), the gradients of y = linear(x, weight, bias, activation).

    Args:
        below: the layer whose output is x = g(z). The returned dx is multiplied by g'(z).

    Example:
        >>> x, weight, dy = np.ones((2, 3)), np.ones((3, 4)), np.ones((2, 4))
        >>> dx, dweight, dbias = gn.ops.linear_backward(dy, x, weight)
        >>> dx.shape, dweight.shape, dbias
        ((2, 3), (3, 4), array([2., 2., 2., 2.]))
    """
    xp = _check_backward(dy, x, weight, below, dweight, dbias)
    if dweight is None and weight_gradient:
        dweight = xp.empty(weight.shape, weight.dtype)
    if dbias is None and bias_gradient:
        dbias = xp.empty(weight.shape[1:], weight.dtype)
    dz, to_sum = _output_gradient(dy, saved, activation_function(activation), dbias, tape, xp)
    if input_gradient:
        dx = empty(tape, x.shape, dz.dtype, xp)
        return _both_gradients(_rows(dz), x, weight, dx, dweight, to_sum, below, tape, xp), dweight, dbias
    rows, dz = _rows(x), _rows(dz)
    _weight_gradient(_weight_plan(rows, dz, dweight, xp), rows, dz, dweight, to_sum, tape, xp)
    return None, dweight, dbias


def _check_backward(
    dy: Array, x: Array, weight: Array, below: Below | None, dweight: Array | None, dbias: Array | None
) -> ModuleType:
    saved = None if below is None else below.saved
    xp = float_module("linear_backward", dy=dy, x=x, weight=weight, saved_below=saved, dweight=dweight, dbias=dbias)
    if dy.shape != _output_shape(x, weight, None):
        raise ShapeError(f"linear_backward: dy has shape {dy.shape}, expected {_output_shape(x, weight, None)}.")
    check_shape("linear_backward", weight.shape, dweight=dweight)
    check_shape("linear_backward", weight.shape[1:], dbias=dbias)
    check_shape("linear_backward", x.shape, saved_below=saved)
    return xp


def _output_gradient(
    dy: Array, saved: Array | None, function: ActivationFunction, dbias: Array | None, tape: Tape | None, xp: ModuleType
) -> tuple[Array, Array | None]:
    """Return dz = dy · f'(z), and `dbias` if the column sums are not computed yet; on a GPU one kernel does both."""
    if isinstance(function, Identity):
        return dy, dbias
    if xp is np or dbias is None:
        return activation_backward(dy, saved, function, tape=tape), dbias
    return bias_activation_backward(dy, saved, function, dbias=dbias, tape=tape)[0], None


def _both_gradients(
    dz: Array,
    x: Array,
    weight: Array,
    dx: Array,
    dweight: Array | None,
    dbias: Array | None,
    below: Below | None,
    tape: Tape | None,
    xp: ModuleType,
) -> Array:
    """Write the requested gradients of weight and bias; return that of the input."""
    rows, into = _rows(x), _rows(dx)
    of_weight, of_input = _weight_plan(rows, dz, dweight, xp), plan_for(dz, weight.T, into, None, xp)
    fused = _epilogue(below) if of_input is not None else {}
    if dweight is not None and (tile := shared_tile(of_weight, of_input, rows, weight, dz)) is not None:
        launch_both(tile, rows, weight, dz, into, dweight, dbias, **fused)
    else:
        _weight_gradient(of_weight, rows, dz, dweight, dbias, tape, xp)
        product(of_input, dz, weight.T, into, tape, xp, **fused)
    if below is None or fused or isinstance(below.activation, Identity):
        return dx
    return activation_backward(dx, below.saved, below.activation, tape=tape)


def _epilogue(below: Below | None) -> dict[str, Any]:
    """Return the arguments of an epilogue that multiplies the input gradient by g'(z); empty if no kernel can."""
    if below is None or below.saved is None or isinstance(below.activation, Identity):
        return {}
    if below.activation.cuda_options() is None:
        return {}
    return {"activation": below.activation, "saved": _rows(below.saved)}


def _weight_plan(x: Array, dz: Array, dweight: Array | None, xp: ModuleType) -> MatmulPlan | None:
    return None if dweight is None else plan_for(x.T, dz, dweight, None, xp)


def _weight_gradient(
    plan: MatmulPlan | None,
    x: Array,
    dz: Array,
    dweight: Array | None,
    dbias: Array | None,
    tape: Tape | None,
    xp: ModuleType,
) -> None:
    """Write xᵀ·dz to `dweight` and the column sums of `dz` to `dbias`, if they are not None."""
    if dweight is not None:
        if plan is not None and plan.tile is not None and dweight.size and dz.flags.c_contiguous:
            # the kernel has the columns in shared memory anyway
            run_plan(plan, x.T, dz, dweight, column_sums=dbias, tape=tape, xp=xp)
            return
        product(plan, x.T, dz, dweight, tape, xp)
    if dbias is not None:
        sum_columns(dz, dbias, tape, xp)


def _rows(a: Array) -> Array:
    """View (..., n) as a matrix (rows, n)."""
    if a.ndim == 2:
        return a
    return a.reshape(math.prod(a.shape[:-1]), a.shape[-1])


def _output_shape(x: Array, weight: Array, bias: Array | None) -> tuple[int, ...]:
    if weight.ndim != 2 or x.ndim == 0 or x.shape[-1] != weight.shape[0]:
        raise ShapeError(
            f"linear: x of shape {x.shape} and weight of shape {weight.shape} don't fit: the last axis of x must have "
            "as many elements as axis 0 of a two-dimensional weight."
        )
    if bias is not None and bias.shape != weight.shape[1:]:
        raise ShapeError(f"linear: bias of shape {bias.shape} does not fit axis 1 of weight, {weight.shape}.")
    return (*x.shape[:-1], weight.shape[1])
