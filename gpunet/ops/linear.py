"""The linear layer in one operation: matrix product, bias and activation.

    z = x·W + bias,    y = f(z)
    dz = dy · f'(z),   dW = xᵀ·dz,   dbias = Σ_rows dz,   dx = dz·Wᵀ

x is (rows, in), W (in, out), bias (out,): 2·rows·in·out FLOPs forward, twice that backward.
"""

from __future__ import annotations

import math
from types import ModuleType

import numpy as np

from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.ops.activations import ActivationFunction, Identity, activation_function
from gpunet.ops.bias_activation import activation_backward, bias_activation_backward, sum_columns
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.product import check_kernel, plan_for, run_plan
from gpunet.tape import Tape, empty


def linear(
    x: Array,
    weight: Array,
    bias: Array | None = None,
    activation: str | ActivationFunction | None = None,
    *,
    out: Array | None = None,
    preactivation: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> Array:
    """Return f(x·weight + bias).

    Args:
        x: (..., in_features), float32 or float64.
        weight: (in_features, out_features).
        bias: (out_features,), or None for no bias.
        activation: the function f by name or object; None is the identity.
        out: where to write the result, C-contiguous; by default the tape's or a fresh array.
        preactivation: where to leave x·weight + bias, C-contiguous and not `out`; the backward pass of an activation
            whose `saves` is "input" needs it.
        kernel: as for `matmul`.
        tape: where memory comes from; None makes fresh arrays.

    Returns:
        (..., out_features), in the dtype of `x`.

    Raises:
        ShapeError: the shapes don't fit; the message names both and the axes that disagree.
        DTypeError: dtypes that differ or are not float32 or float64.
    """
    xp = float_module("linear", x=x, weight=weight, bias=bias, out=out, preactivation=preactivation)
    check_kernel(kernel, xp)
    shape = _output_shape(x, weight, bias)
    for name, a in (("out", out), ("preactivation", preactivation)):
        if a is not None and (a.shape != shape or not a.flags.c_contiguous):
            raise ShapeError(f"linear: {name} must be C-contiguous of shape {shape}, got shape {a.shape}.")
    if out is None:
        out = empty(tape, shape, x.dtype, xp)
    function = activation_function(activation)
    a, c, kept = _rows(x), _rows(out), None if preactivation is None else _rows(preactivation)
    plan = plan_for(a, weight, c, kernel, xp)
    if plan is not None and function.cuda_options() is not None:
        run_plan(plan, a, weight, c, bias=bias, activation=function, preactivation=kept, tape=tape, xp=xp)
        return out
    z = out if preactivation is None else preactivation
    _product(a, weight, _rows(z), kernel, tape, xp)
    if bias is not None:
        xp.add(z, bias, out=z)
    function.forward(z, out, xp, tape)
    return out


def linear_backward(
    dy: Array,
    x: Array,
    weight: Array,
    saved: Array | None = None,
    activation: str | ActivationFunction | None = None,
    *,
    input_gradient: bool = True,
    input_saved: Array | None = None,
    input_activation: str | ActivationFunction | None = None,
    bias_gradient: bool = True,
    dweight: Array | None = None,
    dbias: Array | None = None,
    kernel: str | None = None,
    tape: Tape | None = None,
) -> tuple[Array | None, Array, Array | None]:
    """Return (dx, dweight, dbias), the gradients of y = linear(x, weight, bias, activation) from the gradient of y.

    Args:
        dy: (..., out_features), the gradient of y.
        x: as given to `linear`.
        weight: as given to `linear`.
        saved: what the activation's `saves` names: y, or the preactivation; None where there is no activation.
        activation: as given to `linear`.
        input_gradient: False leaves dx out (it is None then): a first layer does not need it.
        input_saved: with `input_activation`, what its `saves` names, in the shape of `x`.
        input_activation: g where x = g(z) is another layer's output: in place of dx comes dz = dx · g'(z), what that
            layer goes on with, finished while it is in a register.
        bias_gradient: False leaves dbias out (it is None then): a layer without bias does not need it.
        dweight: where to write the weight's gradient; a fresh array by default.
        dbias: where to write the bias's gradient; a fresh array by default.
        kernel: as for `matmul`.
        tape: where memory comes from; None makes fresh arrays.

    Returns:
        dx in the shape of `x`, dweight in the shape of `weight`, dbias (out_features,).

    Raises:
        ShapeError: the shapes don't fit.
        DTypeError: dtypes that differ or are not float32 or float64.
    """
    xp = float_module(
        "linear_backward", dy=dy, x=x, weight=weight, input_saved=input_saved, dweight=dweight, dbias=dbias
    )
    check_kernel(kernel, xp)
    if dy.shape != _output_shape(x, weight, None):
        raise ShapeError(f"linear_backward: dy has shape {dy.shape}, the output {_output_shape(x, weight, None)}.")
    check_shape("linear_backward", weight.shape, dweight=dweight)
    check_shape("linear_backward", weight.shape[1:], dbias=dbias)
    check_shape("linear_backward", x.shape, input_saved=input_saved)
    if dweight is None:
        dweight = xp.empty(weight.shape, weight.dtype)
    if dbias is None and bias_gradient:
        dbias = xp.empty(weight.shape[1:], weight.dtype)
    dz, to_sum = dy, dbias
    function = activation_function(activation)
    if not isinstance(function, Identity):
        if xp is np or dbias is None:
            dz = activation_backward(dy, saved, function, tape=tape)
        else:  # one kernel does both
            dz, _ = bias_activation_backward(dy, saved, function, dbias=dbias, kernel=kernel, tape=tape)
            to_sum = None
    dz = _rows(dz)
    _weight_gradient(_rows(x), dz, dweight, to_sum, kernel, tape, xp)
    if not input_gradient:
        return None, dweight, dbias
    below = activation_function(input_activation)
    return _input_gradient(dz, weight, x.shape, input_saved, below, kernel, tape, xp), dweight, dbias


def _input_gradient(
    dz: Array,
    weight: Array,
    shape: tuple[int, ...],
    saved: Array | None,
    below: ActivationFunction,
    kernel: str | None,
    tape: Tape | None,
    xp: ModuleType,
) -> Array:
    """Return dz·Wᵀ in the given shape, times the derivative of the activation below."""
    dx = empty(tape, shape, dz.dtype, xp)
    out = _rows(dx)
    if isinstance(below, Identity):
        _product(dz, weight.T, out, kernel, tape, xp)
        return dx
    plan = plan_for(dz, weight.T, out, kernel, xp)
    if plan is None or saved is None or below.cuda_options() is None:
        _product(dz, weight.T, out, kernel, tape, xp)
        return activation_backward(dx, saved, below, tape=tape)
    run_plan(plan, dz, weight.T, out, activation=below, saved=_rows(saved), tape=tape, xp=xp)
    return dx


def _weight_gradient(
    x: Array, dz: Array, dweight: Array, dbias: Array | None, kernel: str | None, tape: Tape | None, xp: ModuleType
) -> None:
    """Write xᵀ·dz to `dweight` and, where asked for, the sums of the columns of `dz` to `dbias`."""
    plan = plan_for(x.T, dz, dweight, kernel, xp)
    if plan is not None and plan.tile is not None and dweight.size:
        # the columns pass through its shared memory anyway
        run_plan(plan, x.T, dz, dweight, column_sums=dbias, tape=tape, xp=xp)
        return
    _product(x.T, dz, dweight, kernel, tape, xp)
    if dbias is not None:
        sum_columns(dz, dbias, tape, xp)


def _product(a: Array, b: Array, out: Array, kernel: str | None, tape: Tape | None, xp: ModuleType) -> None:
    """Write the product of two matrices to `out`."""
    plan = plan_for(a, b, out, kernel, xp)
    if plan is None:
        xp.dot(a, b, out=out)  # on matrices matmul does the same, with more ado
    else:
        run_plan(plan, a, b, out, tape=tape, xp=xp)


def _rows(a: Array) -> Array:
    """View (..., n) as the matrix (rows, n)."""
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
