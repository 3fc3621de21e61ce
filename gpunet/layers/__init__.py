"""The layers: parameters, and calls of the operations."""

from gpunet.layers.activation import Activation
from gpunet.layers.attention import MultiHeadAttention
from gpunet.layers.base import Layer
from gpunet.layers.dropout import Dropout
from gpunet.layers.embedding import Embedding
from gpunet.layers.flatten import Flatten
from gpunet.layers.layer_norm import LayerNorm, RMSNorm
from gpunet.layers.linear import Linear
from gpunet.layers.residual import Residual
from gpunet.layers.transformer import SinusoidalPositions, TransformerEncoderLayer

__all__ = [
    "Activation",
    "Dropout",
    "Embedding",
    "Flatten",
    "Layer",
    "LayerNorm",
    "Linear",
    "MultiHeadAttention",
    "RMSNorm",
    "Residual",
    "SinusoidalPositions",
    "TransformerEncoderLayer",
]
