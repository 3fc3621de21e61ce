"""Losses: each returns its value and the gradient with respect to the model's output in one pass.

A loss is the mean over the rows of a batch, weighted by the row weights if there are any. `value_and_grad` takes a
float32 or float64 prediction (rows, ...) and a target on the same device, in the shape and dtype of the prediction or,
for class labels, integers (rows,).
"""

from gpunet.losses.base import VALUES, Loss, Task
from gpunet.losses.classification import BCEWithLogitsLoss, ClassWeightedLoss, CrossEntropyLoss
from gpunet.losses.regression import HuberLoss, L1Loss, MSELoss, PoissonNLLLoss, QuantileLoss
from gpunet.losses.similarity import CosineEmbeddingLoss
from gpunet.registry import register

LOSSES: dict[str, type[Loss]] = {
    loss.__name__: register(loss)
    for loss in (
        CrossEntropyLoss,
        BCEWithLogitsLoss,
        MSELoss,
        HuberLoss,
        L1Loss,
        QuantileLoss,
        PoissonNLLLoss,
        CosineEmbeddingLoss,
    )
}

LOSSES_BY_NAME: dict[str, type[Loss]] = {
    "cross_entropy": CrossEntropyLoss,
    "bce": BCEWithLogitsLoss,
    "mse": MSELoss,
    "huber": HuberLoss,
    "l1": L1Loss,
    "quantile": QuantileLoss,
    "poisson": PoissonNLLLoss,
    "cosine_embedding": CosineEmbeddingLoss,
}
"""The losses by the names that `Trainer(loss=...)` accepts."""

__all__ = [
    "LOSSES",
    "LOSSES_BY_NAME",
    "VALUES",
    "BCEWithLogitsLoss",
    "ClassWeightedLoss",
    "CosineEmbeddingLoss",
    "CrossEntropyLoss",
    "HuberLoss",
    "L1Loss",
    "Loss",
    "MSELoss",
    "PoissonNLLLoss",
    "QuantileLoss",
    "Task",
]
