"""A table of vectors, looked up by index."""

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

    As the first layer of a model it makes that model one of indices: `fit` and `predict` take integers (rows, ...) then
    and refuse those out of the table; elsewhere it has no place. Indices that are on a GPU already are not checked,
    those beyond an end are taken as that end.

    Args:
        num_embeddings: rows of the table.
        embedding_dim: elements of a vector.
        padding_idx: the row that stands for nothing: it starts at zero and gets no gradient. A negative one counts from
            the end.
        rng: where the initial vectors are drawn from, N(0, 1): a NumPy Generator, a seed, or None for fresh entropy.

    Attributes:
        params: "weight" (num_embeddings, embedding_dim).

    Raises:
        ArgumentError: sizes below 1, or a padding_idx out of the table.
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
        weight = draw((self.num_embeddings, self.embedding_dim), np.random.default_rng(rng))
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
