"""A simple recurrent layer over time.

    h_t = f(x_t·W_ih + bias + h_{t-1}·W_hh),    h_{-1} = 0,    f = tanh or relu
    dz_t = (dh_t + dz_{t+1}·W_hhᵀ) · f'(h_t),   dW_hh = Σ_t h_{t-1}ᵀ·dz_t,   the rest as for `linear` with all dz

Time is axis 0, so that a step is contiguous. The product with W_ih and the gradients of the weights are one product
each, over all steps. The product with W_hh depends on the previous step: two launches per step on a GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.errors import ArgumentError, ShapeError
from gpunet.ops._linear import linear, linear_backward
from gpunet.ops.activations import activation_function
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("rnn.cu", "rnn_forward")
BACKWARD = Kernel("rnn.cu", "rnn_backward")

Gradients = tuple[Array | None, Array | None, Array | None, Array | None]
"""Of x, weight_ih, weight_hh and bias."""


def rnn(
    x: Array,
    weight_ih: Array,
    weight_hh: Array,
    bias: Array | None = None,
    nonlinearity: str = "tanh",
    *,
    tape: Tape | None = None,
) -> Array:
    """Return the hidden states of all steps, (steps, rows, hidden_size).

    Args:
        x: (steps, rows, input_size), at least one step.
        weight_ih: (input_size, hidden_size).
        weight_hh: (hidden_size, hidden_size).
        bias: (hidden_size,), or None.
        nonlinearity: "tanh" or "relu".

    Example:
        >>> x, weight = np.ones((3, 1, 1)), np.ones((1, 1))
        >>> gn.ops.rnn(x, weight, weight, nonlinearity="relu").ravel()  # h grows by x at each step
        array([1., 2., 3.])
    """
    xp = float_module("rnn", x=x, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)
    check_steps("rnn", x, weight_ih, weight_hh, gates=1)
    function = activation_function(check_nonlinearity("rnn", nonlinearity))
    h = linear(x, weight_ih, bias, tape=tape)
    product = empty(tape, h.shape[1:], h.dtype, xp)
    for step in range(len(h)):
        recurrent = linear(h[step - 1], weight_hh, out=product, tape=tape) if step else None
        state = h[step]
        if xp is not np:
            grid, options = (block_count(state.size, THREADS),), function.cuda_options()
            FORWARD(grid, (THREADS,), state, recurrent, state.size, options=options)
            continue
        if recurrent is not None:
            np.add(state, recurrent, out=state)
        function.forward(state, state, np, tape)
    return h


def rnn_backward(
    dh: Array,
    x: Array,
    h: Array,
    weight_ih: Array,
    weight_hh: Array,
    nonlinearity: str = "tanh",
    *,
    tape: Tape | None = None,
    **options: Any,
) -> Gradients:
    """Return (dx, dweight_ih, dweight_hh, dbias), the gradients of h = rnn(x, ...).

    Args:
        dh: (steps, rows, hidden_size), or (rows, hidden_size) for the last step if the others are zero.
        **options: as for `gradients_of_steps`.

    Example:
        >>> x, weight = np.ones((3, 1, 1)), np.ones((1, 1))
        >>> h = gn.ops.rnn(x, weight, weight, nonlinearity="relu")
        >>> dx, dweight_ih, dweight_hh, dbias = gn.ops.rnn_backward(np.ones((1, 1)), x, h, weight, weight, "relu")
        >>> dx.ravel(), dweight_ih, dweight_hh, dbias
        (array([1., 1., 1.]), array([[3.]]), array([[3.]]), array([3.]))
    """
    xp = float_module("rnn_backward", dh=dh, x=x, h=h, weight_ih=weight_ih, weight_hh=weight_hh)
    dh_of = by_step("rnn_backward", operand(dh, tape, xp), h)
    function = activation_function(check_nonlinearity("rnn_backward", nonlinearity))
    dz, product, total = empty_like(tape, h, xp), empty_like(tape, h[0], xp), empty_like(tape, h[0], xp)
    recurrent = None
    for step in reversed(range(len(h))):
        if xp is np:
            function.backward(sum_of(dh_of[step], recurrent, total), h[step], dz[step], np, tape)
        else:
            size, grid = product.size, (block_count(product.size, THREADS),)
            given = dh_of[step], recurrent, h[step], dz[step]
            BACKWARD(grid, (THREADS,), *given, size, options=function.cuda_options())
        recurrent = linear(dz[step], weight_hh.T, out=product, tape=tape) if step else None
    return gradients_of_steps(dz, x, h, weight_ih, weight_hh, tape=tape, **options)


def check_nonlinearity(op: str, name: str) -> str:
    """Return the name if `rnn_backward` can compute the derivative from the states alone."""
    if name not in ("tanh", "relu"):
        raise ArgumentError(f"{op}: nonlinearity must be 'tanh' or 'relu', got {name!r}.")
    return name


def check_steps(op: str, x: Array, weight_ih: Array, weight_hh: Array, *, gates: int) -> None:
    """Check the shapes of a recurrent operation, except those that `linear` checks."""
    if x.ndim != 3 or not len(x):
        raise ShapeError(f"{op}: x must be (steps, rows, features) with at least one step, got shape {x.shape}.")
    hidden = len(weight_hh)
    check_shape(op, (hidden, gates * hidden), weight_hh=weight_hh)
    check_shape(op, (x.shape[2], gates * hidden), weight_ih=weight_ih)


def by_step(op: str, dh: Array, h: Array) -> list[Array | None]:
    """Return the gradient of each step's state; if `dh` is that of the last step, None for the others."""
    if dh.ndim == 2:
        check_shape(op, h.shape[1:], dh=dh)
        return [*[None] * (len(h) - 1), dh]
    check_shape(op, h.shape, dh=dh)
    return [dh[step] for step in range(len(h))]


def sum_of(dh: Array | None, recurrent: Array | None, out: Array) -> Array:
    """Return the sum of a state's own gradient and that from the next step, on the CPU; one may be None."""
    if dh is not None and recurrent is not None:
        return np.add(dh, recurrent, out=out)
    return next(a for a in (dh, recurrent) if a is not None)


def gradients_of_steps(
    dz: Array,
    x: Array,
    h: Array,
    weight_ih: Array,
    weight_hh: Array,
    *,
    input_gradient: bool = True,
    weight_gradient: bool = True,
    bias_gradient: bool = True,
    dweight_ih: Array | None = None,
    dweight_hh: Array | None = None,
    dbias: Array | None = None,
    tape: Tape | None = None,
) -> Gradients:
    """Return the gradients of both products of a recurrent layer, from the gradient `dz` of their sum in all steps.

    dz is (steps, rows, gates·hidden_size).
    """
    _, dweight_hh, _ = linear_backward(
        dz[1:], h[:-1], weight_hh, input_gradient=False, weight_gradient=weight_gradient, bias_gradient=False,
        dweight=dweight_hh, tape=tape,
    )  # fmt: skip
    dx, dweight_ih, dbias = linear_backward(
        dz, x, weight_ih, input_gradient=input_gradient, weight_gradient=weight_gradient, bias_gradient=bias_gradient,
        dweight=dweight_ih, dbias=dbias, tape=tape,
    )  # fmt: skip
    return dx, dweight_ih, dweight_hh, dbias
