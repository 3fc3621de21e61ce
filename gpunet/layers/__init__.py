"""The layers: parameters, and calls of the operations."""

from gpunet.layers.activation import Activation
from gpunet.layers.base import Layer
from gpunet.layers.batch_norm import BatchNorm1d, BatchNorm2d
from gpunet.layers.dropout import Dropout
from gpunet.layers.flatten import Flatten
from gpunet.layers.glu import GEGLU, GLU, SwiGLU
from gpunet.layers.layer_norm import LayerNorm, RMSNorm
from gpunet.layers.linear import Linear
from gpunet.layers.residual import Residual

__all__ = [
    "GEGLU",
    "GLU",
    "Activation",
    "BatchNorm1d",
    "BatchNorm2d",
    "Dropout",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Linear",
    "RMSNorm",
    "Residual",
    "SwiGLU",
]
