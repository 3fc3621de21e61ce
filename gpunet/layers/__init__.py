"""The layers: parameters, and calls of the operations."""

from gpunet.layers.activation import Activation
from gpunet.layers.base import Layer
from gpunet.layers.dropout import Dropout
from gpunet.layers.embedding import Embedding
from gpunet.layers.flatten import Flatten
from gpunet.layers.linear import Linear
from gpunet.layers.recurrent import LSTM, RNN

__all__ = ["LSTM", "RNN", "Activation", "Dropout", "Embedding", "Flatten", "Layer", "Linear"]
