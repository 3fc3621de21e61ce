"""The layers: parameters, and calls of the operations."""

from gpunet.layers.activation import Activation
from gpunet.layers.attention import MultiHeadAttention
from gpunet.layers.base import Layer
from gpunet.layers.batch_norm import BatchNorm1d, BatchNorm2d
from gpunet.layers.convolution import Conv1d, Conv2d
from gpunet.layers.dropout import Dropout
from gpunet.layers.embedding import Embedding
from gpunet.layers.entity_embedding import EntityEmbedding
from gpunet.layers.flatten import Flatten
from gpunet.layers.glu import GEGLU, GLU, SwiGLU
from gpunet.layers.layer_norm import LayerNorm, RMSNorm
from gpunet.layers.linear import Linear
from gpunet.layers.pooling import AvgPool2d, GlobalAvgPool2d, MaxPool2d
from gpunet.layers.recurrent import LSTM, RNN
from gpunet.layers.residual import Residual
from gpunet.layers.transformer import SinusoidalPositions, TransformerEncoderLayer

__all__ = [
    "GEGLU",
    "GLU",
    "LSTM",
    "RNN",
    "Activation",
    "AvgPool2d",
    "BatchNorm1d",
    "BatchNorm2d",
    "Conv1d",
    "Conv2d",
    "Dropout",
    "Embedding",
    "EntityEmbedding",
    "Flatten",
    "GlobalAvgPool2d",
    "Layer",
    "LayerNorm",
    "Linear",
    "MaxPool2d",
    "MultiHeadAttention",
    "RMSNorm",
    "Residual",
    "SinusoidalPositions",
    "SwiGLU",
    "TransformerEncoderLayer",
]
