"""Long short-term memory (Hochreiter & Schmidhuber 1997, with the forget gate of Gers et al. 2000).

    z_t = x_t·W_ih + bias + h_{t-1}·W_hh, in four parts: i, f, o are their sigmoids, g is the tanh
    c_t = f·c_{t-1} + i·g,    h_t = o·tanh(c_t),    c_{-1} = h_{-1} = 0

    dc_t = dh_t·o·(1 - tanh²(c_t)) + dc_{t+1}·f_{t+1},    where dh_t includes dz_{t+1}·W_hhᵀ
    do = dh_t·tanh(c_t),  di = dc_t·g,  df = dc_t·c_{t-1},  dg = dc_t·i,    each times its function's derivative

The gates are in PyTorch's order i, f, g, o. Layout and products are as in `gpunet.ops._rnn`: two launches per step on a
GPU.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.cuda import Kernel
from gpunet.device import Array
from gpunet.ops._linear import linear
from gpunet.ops._rnn import Gradients, by_step, check_steps, gradients_of_steps, sum_of
from gpunet.ops.activations import sigmoid
from gpunet.ops.checks import check_shape, float_module
from gpunet.ops.launch import THREADS, block_count, operand
from gpunet.tape import Tape, empty, empty_like

FORWARD = Kernel("lstm.cu", "lstm_forward")
BACKWARD = Kernel("lstm.cu", "lstm_backward")


def lstm(
    x: Array, weight_ih: Array, weight_hh: Array, bias: Array | None = None, *, tape: Tape | None = None
) -> tuple[Array, Array, Array]:
    """Return (h, c, gates): the hidden states, the cell states and the gates of all steps.

    h and c are (steps, rows, hidden_size), gates (steps, rows, 4·hidden_size).

    Args:
        x: (steps, rows, input_size), at least one step.
        weight_ih, weight_hh: (input_size, 4·hidden_size) and (hidden_size, 4·hidden_size), with the columns of i, f, g
            and o side by side.
        bias: (4·hidden_size,), or None.

    Example:
        >>> x, weight_ih, weight_hh = np.ones((5, 2, 3)), np.zeros((3, 16)), np.zeros((4, 16))
        >>> h, c, gates = gn.ops.lstm(x, weight_ih, weight_hh)
        >>> h.shape, c.shape, gates.shape
        ((5, 2, 4), (5, 2, 4), (5, 2, 16))
    """
    xp = float_module("lstm", x=x, weight_ih=weight_ih, weight_hh=weight_hh, bias=bias)
    check_steps("lstm", x, weight_ih, weight_hh, gates=4)
    (steps, rows, _), hidden = x.shape, len(weight_hh)
    gates = linear(x, weight_ih, bias, tape=tape)
    h, c = (empty(tape, (steps, rows, hidden), x.dtype, xp) for _ in range(2))
    product = empty(tape, gates.shape[1:], x.dtype, xp)
    for step in range(steps):
        recurrent = linear(h[step - 1], weight_hh, out=product, tape=tape) if step else None
        before = c[step - 1] if step else None
        if xp is np:
            _forward_step(gates[step], recurrent, before, c[step], h[step])
        else:
            grid, given = (block_count(rows * hidden, THREADS),), (gates[step], recurrent, before, c[step], h[step])
            FORWARD(grid, (THREADS,), *given, rows, hidden)
    return h, c, gates


def _forward_step(gates: Array, recurrent: Array | None, before: Array | None, c: Array, h: Array) -> None:
    """Turn z, in `gates`, into the gates in place; write the states c and h."""
    if recurrent is not None:
        np.add(gates, recurrent, out=gates)
    i, f, g, o = _parts(gates)
    for gate in (gates[:, : 2 * c.shape[1]], o):
        sigmoid(gate, gate, np)
    np.tanh(g, out=g)
    np.multiply(i, g, out=c)
    if before is not None:
        np.multiply(f, before, out=h)
        np.add(c, h, out=c)
    np.tanh(c, out=h)
    np.multiply(h, o, out=h)


def lstm_backward(
    dh: Array,
    x: Array,
    h: Array,
    c: Array,
    gates: Array,
    weight_ih: Array,
    weight_hh: Array,
    *,
    tape: Tape | None = None,
    **options: Any,
) -> Gradients:
    """Return (dx, dweight_ih, dweight_hh, dbias), the gradients of h = lstm(x, ...)[0].

    Args:
        dh: (steps, rows, hidden_size), or (rows, hidden_size) for the last step if the others are zero.
        gates: the result of `lstm`; overwritten.
        **options: as for `gpunet.ops._rnn.gradients_of_steps`.

    Example:
        >>> x, weight_ih, weight_hh = np.ones((5, 2, 3)), np.zeros((3, 16)), np.zeros((4, 16))
        >>> h, c, gates = gn.ops.lstm(x, weight_ih, weight_hh)
        >>> gradients = gn.ops.lstm_backward(np.ones((2, 4)), x, h, c, gates, weight_ih, weight_hh)
        >>> [gradient.shape for gradient in gradients]
        [(5, 2, 3), (3, 16), (4, 16), (16,)]
    """
    xp = float_module("lstm_backward", dh=dh, x=x, h=h, c=c, gates=gates, weight_ih=weight_ih, weight_hh=weight_hh)
    steps, rows, hidden = h.shape
    check_shape("lstm_backward", h.shape, c=c)
    check_shape("lstm_backward", (steps, rows, 4 * hidden), gates=gates)
    dh_of = by_step("lstm_backward", operand(dh, tape, xp), h)
    product, carry = empty_like(tape, h[0], xp), empty_like(tape, h[0], xp)
    scratch = empty(tape, (3, rows, hidden), h.dtype, xp)
    recurrent = None
    for step in reversed(range(steps)):
        before = c[step - 1] if step else None
        if xp is np:
            dstate = sum_of(dh_of[step], recurrent, product)
            _backward_step(dstate, recurrent is None, c[step], before, carry, gates[step], *scratch)
        else:
            grid, given = (block_count(rows * hidden, THREADS),), (dh_of[step], recurrent, c[step], before)
            BACKWARD(grid, (THREADS,), *given, carry, gates[step], rows, hidden)
        recurrent = linear(gates[step], weight_hh.T, out=product, tape=tape) if step else None
    return gradients_of_steps(gates, x, h, weight_ih, weight_hh, tape=tape, **options)


def _backward_step(
    dh: Array,
    is_last: bool,
    c: Array,
    before: Array | None,
    carry: Array,
    gates: Array,
    tanh_c: Array,
    dc: Array,
    slope: Array,
) -> None:
    """Turn the gates into dz in place, and `carry` from dc·f of the next step into that of this step.

    `tanh_c`, `dc` and `slope` are scratch arrays.
    """
    i, f, g, o = _parts(gates)
    np.tanh(c, out=tanh_c)
    np.multiply(tanh_c, tanh_c, out=dc)
    np.subtract(1, dc, out=dc)
    np.multiply(dc, o, out=dc)
    np.multiply(dc, dh, out=dc)
    if not is_last:
        np.add(dc, carry, out=dc)
    np.multiply(dc, f, out=carry)
    _times_slope(o, slope)
    np.multiply(o, tanh_c, out=o)
    np.multiply(o, dh, out=o)
    if before is None:
        f.fill(0)
    else:
        _times_slope(f, slope)
        np.multiply(f, before, out=f)
        np.multiply(f, dc, out=f)
    dg = tanh_c
    np.multiply(g, g, out=dg)
    np.subtract(1, dg, out=dg)
    np.multiply(dg, i, out=dg)
    _times_slope(i, slope)
    np.multiply(i, g, out=i)
    np.multiply(i, dc, out=i)
    np.multiply(dg, dc, out=g)


def _times_slope(gate: Array, scratch: Array) -> None:
    """Multiply the sigmoid s by 1 - s, which gives its derivative."""
    np.subtract(1, gate, out=scratch)
    np.multiply(gate, scratch, out=gate)


def _parts(gates: Array) -> list[Array]:
    """Return the views of i, f, g and o in (rows, 4·hidden)."""
    hidden = gates.shape[1] // 4
    return [gates[:, part * hidden : (part + 1) * hidden] for part in range(4)]
