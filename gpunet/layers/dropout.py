"""Dropout as a layer."""

from __future__ import annotations

from gpunet.arguments import real
from gpunet.device import Array
from gpunet.layers.base import Layer
from gpunet.ops import dropout, dropout_backward
from gpunet.tape import Tape


class Dropout(Layer):
    """Zero each element with probability `p` in training and scale the others by 1 / (1 - p); do nothing in inference.

    The mask is a function of the tape's seed and step, the layer's position among the dropout layers, and the row.

    Example:
        >>> layer, x = gn.Dropout(0.5), np.ones((4, 8))
        >>> np.unique(layer(x)), np.unique(layer.forward(x, gn.Tape(seed=0)))
        (array([1.]), array([0., 2.]))
    """

    def __init__(self, p: float = 0.5):
        self.p = real("Dropout: p", p, 0, 1, closed="both")
        super().__init__()

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        if tape is None:
            return x
        y, keep = dropout(x, self.p, tape)
        tape.save(self, keep)
        return y

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array:
        (keep,) = tape.restore(self)
        return dropout_backward(dy, keep, self.p, tape)

    def __repr__(self) -> str:
        return f"Dropout({self.p})"
