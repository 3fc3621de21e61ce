"""Numbers and categories as one row of features: a table of vectors for each category."""

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
"""The most whose indices, and their number, a float32 holds exactly."""

STANDARD_DEVIATION = 0.01
"""Of the initial vectors. All categories begin alike, so that rare ones stay near the others and the unknown."""


class EntityEmbedding(Layer):
    """Rows of numbers and categories become rows of features (Guo & Berkhahn 2016): mixed tables, as a first layer.

    x is (rows, numbers + categories), all floats: the last columns hold a category each, as an index from 0 to the
    number of known categories - 1, such as pandas' `cat.codes`. y is (rows, numbers + sum of dims): the numbers as they
    are, then the vector of each category. Any other number (-1 for a missing value, a fraction, a category that
    training did not see) is unknown, no error. The unknown has a vector of its own, which starts at zero and is trained
    by the unknown among the training rows.

    The standardisation of such a model leaves the categories alone:
    `model.input_scaler = gn.data.Standardizer.fit(X, category_columns=model.category_columns)`.

    Args:
        numbers: how many columns are numbers; 0 for categories alone.
        categories: how many categories are known in each of the other columns.
        dims: elements of each category's vectors. By default fast.ai's rule of thumb, min(600, round(1.6 · n^0.56)) for
            n rows of the table, the known categories and the unknown (`emb_sz_rule` in fastai/tabular/model.py).
        rng: where the initial vectors are drawn from, N(0, 0.01²) as in fast.ai: a NumPy Generator, a seed, or None for
            fresh entropy.

    Attributes:
        params: "weight0", "weight1", …: of each category, (1 + known categories, dim), row 0 for the unknown.

    Raises:
        ArgumentError: no categories, or sizes below 1; not as many dims as categories.
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
                f"EntityEmbedding: a column has {max(self.categories):,} categories; the most is {MOST_CATEGORIES:,}, "
                "as a float32 holds the index."
            )
        self.dims = [embedding_size(1 + known) for known in self.categories] if dims is None else _counts("dims", dims)
        if len(self.dims) != len(self.categories):
            raise ArgumentError(f"EntityEmbedding: dims must give {len(self.categories)} sizes, one for each category.")
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
        """Columns of the input."""
        return self.numbers + len(self.categories)

    def __repr__(self) -> str:
        return f"EntityEmbedding({self.numbers}, {self.categories}, {self.dims})"


def embedding_size(rows: int) -> int:
    """Return how many elements the vectors of a table of so many rows should have, by fast.ai's rule of thumb."""
    return min(600, round(1.6 * math.pow(rows, 0.56)))


def _counts(name: str, counts: Sequence[int]) -> list[int]:
    if not isinstance(counts, Sequence | np.ndarray) or isinstance(counts, str) or not len(counts):
        raise ArgumentError(f"EntityEmbedding: {name} must be a list, a number for each category, got {shown(counts)}.")
    return [whole(f"EntityEmbedding: {name}[{k}]", count) for k, count in enumerate(counts)]
