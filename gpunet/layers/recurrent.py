"""Recurrent layers over (rows, steps, features): RNN and LSTM.

Both match PyTorch's modules with `batch_first=True` and `num_layers=1`; the bias is the sum of PyTorch's `bias_ih` and
`bias_hh`. x is (rows, steps, input_size), y (rows, steps, hidden_size), or the last step's (rows, hidden_size) with
`return_sequences=False`. The initial states are zero, the initial weights U(-a, a) with a = 1/√hidden_size.
"""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from gpunet.arguments import whole
from gpunet.device import Array
from gpunet.errors import ShapeError
from gpunet.initializers import filled, initializer
from gpunet.layers.base import Layer
from gpunet.ops import lstm, lstm_backward
from gpunet.ops._rnn import Gradients, check_nonlinearity, rnn, rnn_backward
from gpunet.ops.checks import check_shape, float_module
from gpunet.tape import Tape, empty


class Recurrent(Layer):
    """Base class of RNN and LSTM: it creates the weights, and swaps the axes of rows and steps."""

    gates: ClassVar[int]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool,
        return_sequences: bool,
        rng: np.random.Generator | int | None,
    ):
        name = type(self).__name__
        self.input_size = whole(f"{name}: input_size", input_size)
        self.hidden_size = whole(f"{name}: hidden_size", hidden_size)
        self.return_sequences = bool(return_sequences)
        bound, columns, rng = 1 / math.sqrt(hidden_size), self.gates * hidden_size, np.random.default_rng(rng)
        draw = initializer(lambda shape, generator: generator.uniform(-bound, bound, shape))
        params = {"weight_ih": draw((input_size, columns), rng), "weight_hh": draw((hidden_size, columns), rng)}
        if bias:
            params["bias"] = filled((columns,), 0)
        super().__init__(params)

    def _run(self, x: Array, tape: Tape | None) -> tuple[Array, ...]:
        """Return the states of all steps (steps, rows, hidden_size), then other arrays for `_run_back`."""
        raise NotImplementedError

    def _run_back(self, dh: Array, x: Array, kept: Any, tape: Tape, **options: Any) -> Gradients:
        """Fill the gradients and return them; `kept` is the result of `_run`."""
        raise NotImplementedError

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        xp = float_module(repr(self), x=x, weight=self.params["weight_ih"])
        shape = (x.shape[0], *self.output_shape(x.shape[1:])) if x.ndim else self.output_shape(())
        steps = _swapped(x, tape, xp)
        kept = self._run(steps, tape)
        if tape is not None:
            tape.save(self, shape, steps, kept)
        return _swapped(kept[0], tape, xp) if self.return_sequences else kept[0][-1]

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        shape, steps, kept = tape.restore(self)
        xp = float_module(repr(self), dy=dy, weight=self.params["weight_ih"])
        check_shape(repr(self), shape, dy=dy)
        dh = _swapped(dy, tape, xp) if self.return_sequences else dy
        grads = {f"d{name}": self._gradient(name) for name in self.grads}
        wanted = {"weight_gradient": grads["dweight_ih"] is not None, "bias_gradient": grads.get("dbias") is not None}
        dx = self._run_back(dh, steps, kept, tape, input_gradient=input_gradient, **wanted, **grads)[0]
        return None if dx is None else _swapped(dx, tape, xp)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 2 or shape[0] < 1 or shape[1] != self.input_size:
            raise ShapeError(
                f"{self!r}: a row of the input must have at least one step of {self.input_size} features, "
                f"(steps, {self.input_size}), got shape {shape}."
            )
        return (shape[0], self.hidden_size) if self.return_sequences else (self.hidden_size,)

    def config(self) -> dict[str, Any]:
        return {
            "input_size": self.input_size,
            "hidden_size": self.hidden_size,
            "bias": "bias" in self.params,
            "return_sequences": self.return_sequences,
        }

    def __repr__(self) -> str:
        extra = "" if "bias" in self.params else ", bias=False"
        extra += "" if self.return_sequences else ", return_sequences=False"
        return f"{type(self).__name__}({self.input_size}, {self.hidden_size}{extra})"


class RNN(Recurrent):
    """A simple recurrent layer, h_t = f(x_t·weight_ih + bias + h_{t-1}·weight_hh); more in `gpunet.layers.recurrent`.

    Args:
        nonlinearity: the function f, "tanh" or "relu".

    Attributes:
        params: "weight_ih" (input_size, hidden_size), "weight_hh" (hidden_size, hidden_size) and "bias" (hidden_size,).

    Example:
        >>> x = np.ones((4, 10, 3), "float32")  # rows, steps, features
        >>> gn.RNN(3, 8)(x).shape, gn.RNN(3, 8, return_sequences=False)(x).shape
        ((4, 10, 8), (4, 8))
    """

    gates = 1

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: str = "tanh",
        *,
        bias: bool = True,
        return_sequences: bool = True,
        rng: np.random.Generator | int | None = None,
    ):
        self.nonlinearity = check_nonlinearity("RNN", nonlinearity)
        super().__init__(input_size, hidden_size, bias, return_sequences, rng)

    def _run(self, x: Array, tape: Tape | None) -> tuple[Array, ...]:
        weights = self.params["weight_ih"], self.params["weight_hh"], self.params.get("bias")
        return (rnn(x, *weights, self.nonlinearity, tape=tape),)

    def _run_back(self, dh: Array, x: Array, kept: Any, tape: Tape, **options: Any) -> Gradients:
        weights = self.params["weight_ih"], self.params["weight_hh"]
        (h,) = kept
        return rnn_backward(dh, x, h, *weights, self.nonlinearity, tape=tape, **options)

    def config(self) -> dict[str, Any]:
        return {**super().config(), "nonlinearity": self.nonlinearity}

    def __repr__(self) -> str:
        extra = "" if self.nonlinearity == "tanh" else f", nonlinearity={self.nonlinearity!r}"
        return f"{super().__repr__()[:-1]}{extra})"


class LSTM(Recurrent):
    """A long short-term memory layer; equations in `gpunet.ops.lstm`, more in `gpunet.layers.recurrent`.

    Attributes:
        params: "weight_ih" (input_size, 4·hidden_size), "weight_hh" (hidden_size, 4·hidden_size) and "bias"
            (4·hidden_size,); the columns are those of the gates i, f, g and o, in this order.

    Example:
        >>> x = np.ones((4, 10, 3), "float32")  # rows, steps, features
        >>> gn.LSTM(3, 8)(x).shape, gn.LSTM(3, 8, return_sequences=False)(x).shape
        ((4, 10, 8), (4, 8))
    """

    gates = 4

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        *,
        bias: bool = True,
        return_sequences: bool = True,
        rng: np.random.Generator | int | None = None,
    ):
        super().__init__(input_size, hidden_size, bias, return_sequences, rng)

    def _run(self, x: Array, tape: Tape | None) -> tuple[Array, ...]:
        return lstm(x, self.params["weight_ih"], self.params["weight_hh"], self.params.get("bias"), tape=tape)

    def _run_back(self, dh: Array, x: Array, kept: Any, tape: Tape, **options: Any) -> Gradients:
        weights = self.params["weight_ih"], self.params["weight_hh"]
        h, c, gates = kept
        return lstm_backward(dh, x, h, c, gates, *weights, tape=tape, **options)


def _swapped(a: Array, tape: Tape | None, xp: Any) -> Array:
    """Return a contiguous copy of `a` with its first two axes, rows and steps, swapped."""
    out = empty(tape, (a.shape[1], a.shape[0], *a.shape[2:]), a.dtype, xp)
    xp.copyto(out, a.swapaxes(0, 1))
    return out
