"""Entity embeddings: rows of numbers and categories become rows of features."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gpunet.arguments import shown, whole
from gpunet.device import Array
from gpunet.errors import ArgumentError, ShapeError
from gpunet.initializers import filled, initializer
from gpunet.layers.base import Layer
from gpunet.ops import entity_embedding, entity_embedding_backward
from gpunet.tape import Tape

MOST_CATEGORIES = 2**24 - 1
"""Maximum number of categories of a column: a float32 represents all indices exactly."""

STANDARD_DEVIATION = 0.01
"""Standard deviation of the initial vectors; small, so that rare categories stay close to the others and to unknown."""


class EntityEmbedding(Layer):
    """Replace each categorical column by a learned vector (Guo & Berkhahn 2016); the first layer for mixed tables.

    x is (rows, numbers + categories) of floats; its last columns are category indices, such as pandas' `cat.codes`. y
    is (rows, numbers + sum of dims): the numbers unchanged, then the vector of each category. Any other value (-1 for a
    missing value, a fraction, an index not seen in training) is unknown and has a vector of its own, which starts at
    zero.

    Do not standardise the categorical columns:
    `model.input_scaler = gn.data.Standardizer.fit(X, category_columns=model.category_columns)`.

    Args:
        numbers: number of numeric columns.
        categories: number of known categories of each categorical column.
        dims: vector size for each categorical column; by default min(600, round(1.6 · n^0.56)) with n = 1 + known
            categories, as in fast.ai.
        rng: source of the initial vectors, N(0, 0.01²) as in fast.ai.

    Attributes:
        params: "weight0", "weight1", …: one table (1 + known categories, dim) per column; row 0 is for unknown.

    Example:
        >>> layer = gn.EntityEmbedding(numbers=1, categories=[5, 3], dims=[4, 2])
        >>> layer(np.array([[0.5, 4, -1]], "float32")).shape  # a number, category 4 of 5, an unknown category
        (1, 7)
    """

    def __init__(
        self,
        numbers: int,
        categories: Sequence[int],
        dims: Sequence[int] | None = None,
        *,
        rng: np.random.Generator | int | None = None,
    ):
        self.numbers = whole("EntityEmbedding: numbers", numbers, 0)
        self.categories = _counts("categories", categories)
        if max(self.categories) > MOST_CATEGORIES:
            raise ArgumentError(
                f"EntityEmbedding: a column has {max(self.categories):,} categories; the maximum is "
                f"{MOST_CATEGORIES:,}, because indices are float32."
            )
        self.dims = [embedding_size(1 + known) for known in self.categories] if dims is None else _counts("dims", dims)
        if len(self.dims) != len(self.categories):
            raise ArgumentError(
                f"EntityEmbedding: dims must give {len(self.categories)} sizes, one for each categorical column."
            )
        draw = initializer(lambda shape, generator: generator.normal(0, STANDARD_DEVIATION, shape))
        rng = np.random.default_rng(rng)
        params = {}
        for k, (known, dim) in enumerate(zip(self.categories, self.dims, strict=True)):
            params[f"weight{k}"] = np.concatenate([filled((1, dim), 0), draw((known, dim), rng)])
        super().__init__(params)

    @property
    def category_columns(self) -> int:
        return len(self.categories)

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        self.output_shape(x.shape[1:])
        if tape is not None:
            tape.save(self, x)
        return entity_embedding(x, [*self.params.values()], tape=tape)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        (x,) = tape.restore(self)
        wanted = {"table_gradients": self.has_gradients, "input_gradient": input_gradient}
        return entity_embedding_backward(dy, x, [*self.grads.values()], **wanted, tape=tape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if shape != (self.in_features,):
            raise ShapeError(
                f"{self!r}: a row must have {self.numbers} numbers and {len(self.categories)} categories, got shape "
                f"{shape}."
            )
        return (self.numbers + sum(self.dims),)

    @property
    def in_features(self) -> int:
        """The number of columns of the input."""
        return self.numbers + len(self.categories)

    def __repr__(self) -> str:
        return f"EntityEmbedding({self.numbers}, {self.categories}, {self.dims})"


def embedding_size(rows: int) -> int:
    """Return the vector size for a table with that many rows (`emb_sz_rule` in fastai/tabular/model.py)."""
    return min(600, round(1.6 * math.pow(rows, 0.56)))


def _counts(name: str, counts: Sequence[int]) -> list[int]:
    if not isinstance(counts, Sequence | np.ndarray) or isinstance(counts, str) or not len(counts):
        raise ArgumentError(f"EntityEmbedding: {name} must be a list with one number per column, got {shown(counts)}.")
    return [whole(f"EntityEmbedding: {name}[{k}]", count) for k, count in enumerate(counts)]
