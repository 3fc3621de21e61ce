"""Optimizers: update rules over the flat buffers of a model, with PyTorch's formulas.

All rules take the keyword arguments of `Optimizer`; their docstrings describe the others. In formulas g is the gradient
of a parameter p. `weight_decay` adds weight_decay·p to g, except in `AdamW`.

The file of a rule contains it twice: in NumPy, for a block of parameters that fits in cache, and as the arguments of
its kernel in `kernels/optimizers.cu`.
"""

from gpunet.optimizers.adam import Adam, AdamW
from gpunet.optimizers.base import Optimizer
from gpunet.optimizers.rmsprop import RMSprop
from gpunet.optimizers.sgd import SGD
from gpunet.optimizers.step import BLOCK
from gpunet.registry import register

OPTIMIZERS: dict[str, type[Optimizer]] = {cls.__name__: register(cls) for cls in (SGD, Adam, AdamW, RMSprop)}

__all__ = ["BLOCK", "OPTIMIZERS", "SGD", "Adam", "AdamW", "Optimizer", "RMSprop"]
