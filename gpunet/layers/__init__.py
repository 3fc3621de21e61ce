"""Layers: parameters, with forward and backward passes that call the operations in `gpunet.ops`.

Conventions that hold for every layer:

- Axis 0 of an input x and an output y is the row (sample); arrays are float32, or float64 after `model.to(dtype=...)`.
- `forward(x, tape)` is a training step, `forward(x)` or `layer(x)` inference (see `Layer.forward`).
- A weight (in_features, out_features) multiplies from the right, y = x·weight + bias.
- Images are (rows, channels, height, width). Sizes of windows are one number of pixels, or (height, width);
  `gpunet.ops` describes them, and the size of the output.
- `bias=True` adds a bias, which starts at zero. `rng` is the source of the initial weights: a NumPy Generator, a seed,
  or None for fresh entropy. `init` draws them, by name or as a function (see `gpunet.initializers`). `activation` is a
  name such as "relu", an object such as `gn.LeakyReLU(0.2)`, or None for the identity. These arguments, and sizes, are
  described only where they mean more.
"""

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
