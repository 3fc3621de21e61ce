"""Multi-head attention as a layer."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import whole
from gpunet.device import Array, array_module
from gpunet.errors import ArgumentError, ShapeError
from gpunet.layers.base import Layer
from gpunet.layers.linear import Linear
from gpunet.ops._attention import check_mask, scaled_dot_product_attention, scaled_dot_product_attention_backward
from gpunet.ops.launch import operand
from gpunet.tape import Tape, empty, empty_like


class MultiHeadAttention(Layer):
    """Multi-head attention, softmax(q·kᵀ/√d + mask)·v in each head (Vaswani et al. 2017), as in PyTorch.

    In a model it is self-attention: x and y are (rows, L, embed_dim). Your own code can call `forward` with a mask, or
    with a `context` (rows, S, embed_dim) for cross-attention.

    `gn.interop.load_torch` copies the weights of PyTorch's `MultiheadAttention(embed_dim, num_heads,
    batch_first=True)`. Its in_proj_weight is the transposed weights of q_proj and kv_proj, one below the other.

    Args:
        num_heads: must divide embed_dim.
        causal: whether position i attends only to positions 0 .. i.

    Attributes:
        q_proj, kv_proj, out_proj: the `Linear` of the queries, of keys and values, and of the output.

    Example:
        >>> layer = gn.MultiHeadAttention(8, num_heads=2, causal=True)
        >>> layer(np.ones((4, 10, 8), "float32")).shape
        (4, 10, 8)
    """

    def __init__(
        self,
        embed_dim: int,
        num_heads: int,
        *,
        bias: bool = True,
        causal: bool = False,
        rng: np.random.Generator | int | None = None,
    ):
        self.embed_dim = whole("MultiHeadAttention: embed_dim", embed_dim)
        self.num_heads = whole("MultiHeadAttention: num_heads", num_heads)
        if self.embed_dim % self.num_heads:
            raise ArgumentError(
                f"MultiHeadAttention: embed_dim must be a multiple of num_heads, got {embed_dim} and {num_heads}."
            )
        self.causal = bool(causal)
        rng = np.random.default_rng(rng)
        self.q_proj = Linear(self.embed_dim, self.embed_dim, bias=bias, rng=rng)
        self.kv_proj = Linear(self.embed_dim, 2 * self.embed_dim, bias=bias, rng=rng)
        self.out_proj = Linear(self.embed_dim, self.embed_dim, bias=bias, rng=rng)
        super().__init__()

    def forward(
        self, x: Array, tape: Tape | None = None, context: Array | None = None, mask: Array | None = None
    ) -> Array:
        """Return the output, (rows, L, embed_dim).

        Args:
            x: the queries' input, (rows, L, embed_dim).
            context: the input of keys and values, (rows, S, embed_dim); None for x itself.
            mask: as for `ops.scaled_dot_product_attention`; it broadcasts to (rows, num_heads, L, S). True means that a
                position may attend, the opposite of PyTorch's layer.
        """
        source = x if context is None else context
        self._check(x.shape, source.shape)
        q = self.q_proj.forward(x, tape)
        kv = self.kv_proj.forward(source, tape)
        xp = array_module(q, kv)
        heads = empty_like(tape, q, xp)
        weights = empty(tape, (len(q), self.num_heads, q.shape[1], kv.shape[1]), q.dtype, xp)
        check_mask(repr(self), mask, q, weights.shape)
        (q,), (k, v), (by_head,) = self._split(q, tape), self._split(kv, tape, 2), self._heads(heads)
        scaled_dot_product_attention(q, k, v, mask, self.causal, out=by_head, weights=weights, tape=tape)
        if tape is not None:
            tape.save(self, q, k, v, weights, context is not None)
        return self.out_proj.forward(heads, tape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Any:
        """Fill the projections' `grads` and return dx; after a forward pass with a context, (dx, dcontext)."""
        needed = input_gradient or self.q_proj.has_gradients or self.kv_proj.has_gradients
        dheads = self.out_proj.backward(dy, tape, input_gradient=needed)
        q, k, v, weights, crossed = tape.restore(self)
        if dheads is None:
            return (None, None) if crossed else None
        xp = array_module(dy)
        rows, _, keys, _ = k.shape
        dq = empty_like(tape, dheads, xp)
        dkv = empty(tape, (rows, keys, 2 * self.embed_dim), dq.dtype, xp)
        (dy_by_head,), (dq_by_head,), (dk, dv) = self._split(dheads, tape), self._heads(dq), self._heads(dkv, 2)
        scaled_dot_product_attention_backward(dy_by_head, q, k, v, weights, dq=dq_by_head, dk=dk, dv=dv, tape=tape)
        dcontext = self.kv_proj.backward(dkv, tape, input_gradient=input_gradient)
        dx = self.q_proj.backward(dq, tape, input_gradient=input_gradient)
        if crossed or not input_gradient:
            return (dx, dcontext) if crossed else None
        return xp.add(dx, dcontext, out=dx)

    def _heads(self, a: Array, parts: int = 1) -> Array:
        """View (rows, L, parts·embed_dim) as (parts, rows, num_heads, L, embed_dim / num_heads)."""
        features = self.embed_dim // self.num_heads
        return a.reshape(*a.shape[:2], parts, self.num_heads, features).transpose(2, 0, 3, 1, 4)

    def _split(self, a: Array, tape: Tape | None, parts: int = 1) -> Array:
        """Return `_heads` for a matrix product: a view on the CPU, a contiguous copy on a GPU."""
        xp = array_module(a)
        return self._heads(a, parts) if xp is np else operand(self._heads(a, parts), tape, xp)

    def _check(self, x: tuple[int, ...], context: tuple[int, ...]) -> None:
        for name, shape in (("the input", x), ("the context", context)):
            if len(shape) != 3 or shape[2] != self.embed_dim:
                raise ShapeError(f"{self!r}: {name} must be (rows, positions, {self.embed_dim}), got shape {shape}.")
        if x[0] != context[0]:
            raise ShapeError(f"{self!r}: the input has {x[0]} rows, the context {context[0]}.")

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) != 2 or shape[1] != self.embed_dim:
            raise ShapeError(f"{self!r}: a row of the input must be (positions, {self.embed_dim}), got shape {shape}.")
        return shape

    def leaves(self, path: str = "") -> dict[str, Layer]:
        prefix = f"{path}." if path else ""
        return {f"{prefix}{name}": getattr(self, name) for name in ("q_proj", "kv_proj", "out_proj")}

    def config(self) -> dict[str, Any]:
        return {
            "embed_dim": self.embed_dim,
            "num_heads": self.num_heads,
            "bias": "bias" in self.out_proj.params,
            "causal": self.causal,
        }

    def __repr__(self) -> str:
        extra = "" if "bias" in self.out_proj.params else ", bias=False"
        extra += ", causal=True" if self.causal else ""
        return f"MultiHeadAttention({self.embed_dim}, {self.num_heads}{extra})"
