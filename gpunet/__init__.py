"""gpunet: small neural networks on NumPy or CUDA, with hand-written kernels beside BLAS and cuBLAS.

Usage: `import gpunet as gn`.
"""

from gpunet import data, errors, initializers, layers, losses, ops, optimizers, schedules
from gpunet.device import (
    Device,
    array_module,
    current_device,
    get_device,
    to_host,
    use_device,
)
from gpunet.layers import (
    Activation,
    BatchNorm1d,
    BatchNorm2d,
    Dropout,
    Flatten,
    Layer,
    LayerNorm,
    Linear,
    Residual,
    RMSNorm,
)
from gpunet.losses import BCEWithLogitsLoss, CrossEntropyLoss, HuberLoss, MSELoss
from gpunet.models import MLP, Model, Sequential, load
from gpunet.ops.activations import (
    ELU,
    GELU,
    CustomActivation,
    GELUTanh,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    Softplus,
    Tanh,
)
from gpunet.optimizers import SGD, Adam, AdamW, RMSprop
from gpunet.schedules import ConstantLR, CosineLR, LinearWarmup, ReduceLROnPlateau, StepLR
from gpunet.tape import Tape
from gpunet.training import (
    Callback,
    Checkpoint,
    EarlyStopping,
    History,
    Log,
    ProgressBar,
    TerminateOnNaN,
    Trainer,
    metrics,
)

__version__ = "0.1.0"

__all__ = [
    "ELU",
    "GELU",
    "MLP",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Callback",
    "Checkpoint",
    "ConstantLR",
    "CosineLR",
    "CrossEntropyLoss",
    "CustomActivation",
    "Device",
    "Dropout",
    "EarlyStopping",
    "Flatten",
    "GELUTanh",
    "History",
    "HuberLoss",
    "Identity",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearWarmup",
    "Log",
    "MSELoss",
    "Model",
    "ProgressBar",
    "RMSNorm",
    "RMSprop",
    "ReLU",
    "ReduceLROnPlateau",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "Softplus",
    "StepLR",
    "Tanh",
    "Tape",
    "TerminateOnNaN",
    "Trainer",
    "array_module",
    "current_device",
    "data",
    "errors",
    "get_device",
    "initializers",
    "layers",
    "load",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "schedules",
    "to_host",
    "use_device",
]
