"""The transformer encoder layer and sinusoidal positions."""

from __future__ import annotations

import functools
from typing import Any

import numpy as np

from gpunet.device import Array, Device, device_of
from gpunet.errors import ShapeError
from gpunet.layers.attention import MultiHeadAttention
from gpunet.layers.base import Layer
from gpunet.layers.dropout import Dropout
from gpunet.layers.layer_norm import LayerNorm
from gpunet.layers.linear import Linear
from gpunet.layers.residual import Residual
from gpunet.layers.stack import Stack
from gpunet.ops.activations import ActivationFunction
from gpunet.ops.checks import check_shape, float_module
from gpunet.tape import Tape, empty_like


class TransformerEncoderLayer(Stack):
    """A pre-norm transformer encoder layer: self-attention and a feed-forward net, each with a residual connection.

    y = x + drop(attention(norm(x))), z = y + drop(linear(drop(f(linear(norm(y)))))), for x, y and z (rows, L, d_model)
    (Xiong et al. 2020). It is PyTorch's layer with `norm_first=True, batch_first=True`, without dropout of the
    attention weights.

    Args:
        nhead: number of heads; must divide d_model.
        dim_feedforward: hidden features of the feed-forward net.
        causal: whether position i attends only to positions 0 to i.

    Attributes:
        norm1, self_attn, norm2, linear1, linear2, dropout: the inner layers, with PyTorch's names.

    Example:
        >>> layer = gn.TransformerEncoderLayer(8, nhead=2, dim_feedforward=32)
        >>> layer(np.ones((4, 10, 8), "float32")).shape
        (4, 10, 8)
    """

    def __init__(
        self,
        d_model: int,
        nhead: int,
        dim_feedforward: int = 2048,
        dropout: float = 0.1,
        activation: str | ActivationFunction = "relu",
        *,
        causal: bool = False,
        rng: np.random.Generator | int | None = None,
    ):
        rng = np.random.default_rng(rng)
        self.norm1, self.norm2 = LayerNorm(d_model), LayerNorm(d_model)
        self.self_attn = MultiHeadAttention(d_model, nhead, causal=causal, rng=rng)
        self.linear1 = Linear(d_model, dim_feedforward, activation=activation, rng=rng)
        self.linear2 = Linear(dim_feedforward, d_model, rng=rng)
        self.dropout = Dropout(dropout)
        drop = [self.dropout] if dropout else []
        super().__init__(
            Residual(self.norm1, self.self_attn, *drop),
            Residual(self.norm2, self.linear1, *drop, self.linear2, *drop),
        )

    def config(self) -> dict[str, Any]:
        return {
            "d_model": self.self_attn.embed_dim,
            "nhead": self.self_attn.num_heads,
            "dim_feedforward": self.linear1.out_features,
            "dropout": self.dropout.p,
            "activation": self.linear1.activation.config(),
            "causal": self.self_attn.causal,
        }

    def leaves(self, path: str = "") -> dict[str, Layer]:
        prefix = f"{path}." if path else ""
        found: dict[str, Layer] = {}
        for name in ("norm1", "self_attn", "norm2", "linear1", "linear2"):
            found |= getattr(self, name).leaves(f"{prefix}{name}")
        return found

    def __repr__(self) -> str:
        attention, linear = self.self_attn, self.linear1
        causal = ", causal=True" if attention.causal else ""
        return (
            f"TransformerEncoderLayer({attention.embed_dim}, {attention.num_heads}, {linear.out_features}, "
            f"dropout={self.dropout.p}, activation={linear.activation!r}{causal})"
        )


class SinusoidalPositions(Layer):
    """Add sinusoidal position encodings to x (rows, L, features) for attention, which ignores the order of positions.

    y[:, t, 2i] = x[:, t, 2i] + sin(t / 10000^(2i / features)), and y[:, t, 2i + 1] is the same with cos (Vaswani et al.
    2017, section 3.5). L is not limited.

    Example:
        >>> gn.SinusoidalPositions()(np.zeros((1, 3, 2))).round(2)  # sin(t), cos(t)
        array([[[ 0.  ,  1.  ],
                [ 0.84,  0.54],
                [ 0.91, -0.42]]])
    """

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        xp = float_module("SinusoidalPositions", x=x)
        length, features = self.output_shape(x.shape[1:])
        if tape is not None:
            tape.save(self, x.shape)
        # lengths rounded up to a power of two need few tables, which stay cached for recorded steps
        table = sinusoids(1 << (length - 1).bit_length(), features, device_of(x), x.dtype)
        y: Array = xp.add(x, table[:length], out=empty_like(tape, x, xp))
        return y

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array:
        (shape,) = tape.restore(self)
        check_shape("SinusoidalPositions", shape, dy=dy)
        return dy

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 2:
            raise ShapeError(f"{self!r}: a row of the input must be (positions, features), got shape {shape}.")
        return shape


@functools.cache
def sinusoids(length: int, features: int, device: Device, dtype: np.dtype[Any]) -> Array:
    """Return the encodings that `SinusoidalPositions` adds, (length, features); cached: do not write to it."""
    column = np.arange(features)
    angles = np.arange(length)[:, None] / 10000 ** (column // 2 * 2 / features)
    return device.asarray(np.where(column % 2, np.cos(angles), np.sin(angles)), dtype)
