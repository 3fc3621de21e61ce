"""gpunet: small neural networks on NumPy or CUDA, with hand-written kernels next to BLAS and cuBLAS.

Usage: `import gpunet as gn`.

Every error derives from `gn.errors.GpunetError`. An invalid argument, such as a number out of range or an unknown name,
raises `ArgumentError`; shapes that don't fit raise `ShapeError`; unsupported or different dtypes raise `DTypeError`;
arrays on different devices raise `DeviceMismatchError`. Docstrings list only other errors and unexpected causes of
these.
"""

from gpunet import startup  # noqa: F401 - first: it handles Ctrl-C while the rest is imported

# isort: split

from typing import TYPE_CHECKING

from gpunet import data, errors, initializers, layers, losses, ops, optimizers, schedules
from gpunet.default_device import current_device, use_device
from gpunet.device import Device, array_module, get_device, to_host
from gpunet.layers import (
    GEGLU,
    GLU,
    LSTM,
    RNN,
    Activation,
    AvgPool2d,
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Dropout,
    Embedding,
    EntityEmbedding,
    Flatten,
    GlobalAvgPool2d,
    Layer,
    LayerNorm,
    Linear,
    MaxPool2d,
    MultiHeadAttention,
    Residual,
    RMSNorm,
    SinusoidalPositions,
    SwiGLU,
    TransformerEncoderLayer,
)
from gpunet.losses import (
    BCEWithLogitsLoss,
    CosineEmbeddingLoss,
    CrossEntropyLoss,
    HuberLoss,
    L1Loss,
    MSELoss,
    PoissonNLLLoss,
    QuantileLoss,
)
from gpunet.models import MLP, Model, Sequential, load, tabular_mlp
from gpunet.ops.activations import (
    ELU,
    GELU,
    SELU,
    CustomActivation,
    GELUTanh,
    Identity,
    LeakyReLU,
    ReLU,
    Sigmoid,
    SiLU,
    SoftClip,
    Softplus,
    Tanh,
)
from gpunet.optimizers import SGD, Adam, AdamW, RMSprop
from gpunet.registry import register
from gpunet.schedules import ConstantLR, CosineLR, CyclicCosineLR, LinearWarmup, ReduceLROnPlateau, StepLR
from gpunet.tape import Tape
from gpunet.training import (
    Callback,
    Checkpoint,
    EarlyStopping,
    History,
    Log,
    ProgressBar,
    TensorBoard,
    TerminateOnNaN,
    Trainer,
    metrics,
)

if TYPE_CHECKING:
    from gpunet import interop
    from gpunet.gradcheck import check_gradients
    from gpunet.interop import from_dlpack
else:
    LAZY = {
        "check_gradients": "gpunet.gradcheck",
        "from_dlpack": "gpunet.interop",
        "interop": "gpunet.interop",
    }

    def __getattr__(name):
        """Import rarely used names, which are slow to import, on first access."""
        if name not in LAZY:
            from gpunet.habits import OF_PACKAGE

            answer = f": {OF_PACKAGE[name]}." if name in OF_PACKAGE else ""
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}{answer}")
        from importlib import import_module

        module = import_module(LAZY[name])
        return module if name == "interop" else getattr(module, name)

    def __dir__():
        """Return the public names, without this module's own imports."""
        return sorted([*__all__, *(name for name in globals() if name.startswith("__"))])


__version__ = "0.2.0"

__all__ = [
    "ELU",
    "GEGLU",
    "GELU",
    "GLU",
    "LSTM",
    "MLP",
    "RNN",
    "SELU",
    "SGD",
    "Activation",
    "Adam",
    "AdamW",
    "AvgPool2d",
    "BCEWithLogitsLoss",
    "BatchNorm1d",
    "BatchNorm2d",
    "Callback",
    "Checkpoint",
    "ConstantLR",
    "Conv1d",
    "Conv2d",
    "CosineEmbeddingLoss",
    "CosineLR",
    "CrossEntropyLoss",
    "CustomActivation",
    "CyclicCosineLR",
    "Device",
    "Dropout",
    "EarlyStopping",
    "Embedding",
    "EntityEmbedding",
    "Flatten",
    "GELUTanh",
    "GlobalAvgPool2d",
    "History",
    "HuberLoss",
    "Identity",
    "L1Loss",
    "Layer",
    "LayerNorm",
    "LeakyReLU",
    "Linear",
    "LinearWarmup",
    "Log",
    "MSELoss",
    "MaxPool2d",
    "Model",
    "MultiHeadAttention",
    "PoissonNLLLoss",
    "ProgressBar",
    "QuantileLoss",
    "RMSNorm",
    "RMSprop",
    "ReLU",
    "ReduceLROnPlateau",
    "Residual",
    "Sequential",
    "SiLU",
    "Sigmoid",
    "SinusoidalPositions",
    "SoftClip",
    "Softplus",
    "StepLR",
    "SwiGLU",
    "Tanh",
    "Tape",
    "TensorBoard",
    "TerminateOnNaN",
    "Trainer",
    "TransformerEncoderLayer",
    "array_module",
    "check_gradients",
    "current_device",
    "data",
    "errors",
    "from_dlpack",
    "get_device",
    "initializers",
    "interop",
    "layers",
    "load",
    "losses",
    "metrics",
    "ops",
    "optimizers",
    "register",
    "schedules",
    "tabular_mlp",
    "to_host",
    "use_device",
]
