"""The losses: what a model's output costs, and the gradient of that, in one pass."""

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
"""The losses by the names that `Trainer` takes for them."""

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
