"""Loss for pairs of vectors."""

from __future__ import annotations

from typing import Any

import numpy as np

from gpunet.arguments import real
from gpunet.data.checks import as_dtype, check_one_dimension, check_targets
from gpunet.device import Array
from gpunet.errors import DataError, ShapeError
from gpunet.losses.base import Loss
from gpunet.ops import cosine_embedding
from gpunet.tape import Tape


class CosineEmbeddingLoss(Loss):
    """The mean cosine embedding loss over pairs of vectors, with PyTorch's formula.

    With the cosine c of a pair, the loss is 1 - c for similar pairs (target 1) and max(c - margin, 0) for dissimilar
    ones (target -1); -1 <= margin <= 1. Targets are (rows,). PyTorch takes two inputs; here the prediction holds both
    vectors, (rows, 2, features), such as the output of an `Embedding` of indices (rows, 2).

    Example:
        >>> pairs = np.array([[[1.0, 0.0], [2.0, 0.0]], [[1.0, 0.0], [2.0, 0.0]]])
        >>> float(gn.CosineEmbeddingLoss().value(pairs, np.array([1.0, -1.0])))  # losses 0 and 1
        0.5
    """

    task = "similarity"

    def __init__(self, margin: float = 0.0):
        self.margin = real("CosineEmbeddingLoss: margin", margin, -1, 1, closed="both")

    def value_and_grad(
        self, prediction: Array, target: Array, weight: Array | None = None, tape: Tape | None = None
    ) -> tuple[Array, Array]:
        return cosine_embedding(prediction, target, self.margin, weight=weight, tape=tape)

    def check_target(self, target: Any, output_shape: tuple[int, ...], dtype: np.dtype[Any]) -> np.ndarray:
        if len(output_shape) != 2 or output_shape[0] != 2:
            raise ShapeError(f"CosineEmbeddingLoss needs output rows of shape (2, features), got {output_shape}.")
        y = check_one_dimension(as_dtype(check_targets(target), dtype, "y"), "y")
        if (np.abs(y) != 1).any():
            raise DataError("y: CosineEmbeddingLoss needs targets of 1 (similar) or -1 (dissimilar).")
        return y
