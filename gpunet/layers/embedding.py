"""Embedding: a table of vectors, looked up by index."""

from __future__ import annotations

import numpy as np

from gpunet.arguments import whole
from gpunet.device import Array
from gpunet.initializers import initializer
from gpunet.layers.base import Layer
from gpunet.ops._embedding import embedding, embedding_backward, row_of_table
from gpunet.ops.checks import check_shape
from gpunet.tape import Tape


class Embedding(Layer):
    """A table of vectors: indices (...) in [0, num_embeddings) become vectors (..., embedding_dim).

    It must be the first layer of a model. `fit` and `predict` refuse indices out of range. For such
    indices the layer itself raises `DataError` on the CPU; on a GPU it clips them.

    Args:
        padding_idx: an index whose vector starts at zero and gets no gradient. Negative values count from the end.
        rng: source of the initial vectors, N(0, 1).

    Attributes:
        params: "weight" (num_embeddings, embedding_dim).

    Example:
        >>> layer = gn.Embedding(100, 8)
        >>> layer(np.array([[7, 7, 42]])).shape
        (1, 3, 8)
    """

    def __init__(
        self,
        num_embeddings: int,
        embedding_dim: int,
        padding_idx: int | None = None,
        *,
        rng: np.random.Generator | int | None = None,
    ):
        self.num_embeddings = whole("Embedding: num_embeddings", num_embeddings)
        self.embedding_dim = whole("Embedding: embedding_dim", embedding_dim)
        self.padding_idx = None
        draw = initializer(lambda shape, generator: generator.standard_normal(shape))
        weight = draw((self.num_embeddings, self.embedding_dim), rng)
        if padding_idx is not None:
            self.padding_idx = row_of_table("Embedding: padding_idx", padding_idx, self.num_embeddings)
            weight[self.padding_idx] = 0
        super().__init__({"weight": weight})

    @property
    def index_range(self) -> int:
        return self.num_embeddings

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        if tape is not None:
            tape.save(self, x)
        return embedding(x, self.params["weight"], tape=tape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> None:
        (x,) = tape.restore(self)
        check_shape(repr(self), (*x.shape, self.embedding_dim), dy=dy)
        dweight = self._gradient("weight")
        if dweight is not None:
            embedding_backward(dy, x, self.num_embeddings, self.padding_idx, dweight=dweight, tape=tape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        return (*shape, self.embedding_dim)

    def __repr__(self) -> str:
        extra = "" if self.padding_idx is None else f", padding_idx={self.padding_idx}"
        return f"Embedding({self.num_embeddings}, {self.embedding_dim}{extra})"
