"""An example of every layer, with an input."""

import math

import numpy as np

import gpunet as gn

RNG = np.random.default_rng(0)
FEATURES, POSITIONS, IMAGES = (RNG.standard_normal((20, *row)).astype(np.float32) for row in ((4,), (3, 4), (2, 5, 4)))
MIXED = np.column_stack([FEATURES[:, :2], RNG.integers(-1, 5, 20), RNG.integers(0, 3, 20)]).astype(np.float32)
INDICES, LABELS = RNG.integers(0, 7, (20, 3)), np.arange(20) % 3

EXAMPLES = {
    "Activation": (lambda: gn.Activation("gelu"), FEATURES),
    "AvgPool2d": (lambda: gn.AvgPool2d((3, 2), 1, 1), IMAGES),
    "BatchNorm1d": (lambda: gn.BatchNorm1d(3, momentum=None), POSITIONS),
    "BatchNorm2d": (lambda: gn.BatchNorm2d(2), IMAGES),
    "Conv1d": (lambda: gn.Conv1d(3, 4, 2, dilation=2, rng=0), POSITIONS),
    "Conv2d": (lambda: gn.Conv2d(2, 4, (3, 2), 2, 1, groups=2, rng=0), IMAGES),
    "Dropout": (lambda: gn.Dropout(0.3), FEATURES),
    "Embedding": (lambda: gn.Embedding(7, 4, padding_idx=-1, rng=0), INDICES),
    "EntityEmbedding": (lambda: gn.EntityEmbedding(2, [4, 3], rng=0), MIXED),
    "Flatten": (gn.Flatten, IMAGES),
    "GEGLU": (lambda: gn.GEGLU(4, 5, rng=0), POSITIONS),
    "GLU": (lambda: gn.GLU(2), POSITIONS),
    "GlobalAvgPool2d": (gn.GlobalAvgPool2d, IMAGES),
    "LSTM": (lambda: gn.LSTM(4, 5, rng=0), POSITIONS),
    "LayerNorm": (lambda: gn.LayerNorm((3, 4), bias=False), POSITIONS),
    "Linear": (lambda: gn.Linear(4, 5, activation="silu", rng=0), POSITIONS),
    "MaxPool2d": (lambda: gn.MaxPool2d(2, padding=1), IMAGES),
    "MultiHeadAttention": (lambda: gn.MultiHeadAttention(4, 2, causal=True, rng=0), POSITIONS),
    "RMSNorm": (lambda: gn.RMSNorm(4), POSITIONS),
    "RNN": (lambda: gn.RNN(4, 5, "relu", bias=False, return_sequences=False, rng=0), POSITIONS),
    "Residual": (lambda: gn.Residual(gn.LayerNorm(4), gn.Linear(4, 4, rng=0)), POSITIONS),
    "SinusoidalPositions": (gn.SinusoidalPositions, POSITIONS),
    "SwiGLU": (lambda: gn.SwiGLU(4, 5, bias=False, rng=0), POSITIONS),
    "TransformerEncoderLayer": (lambda: gn.TransformerEncoderLayer(4, 2, 6, 0.2, "gelu", rng=0), POSITIONS),
}


def example(name: str, device: str = "cpu") -> tuple[gn.Sequential, np.ndarray]:
    """Return a classifier of three classes with this layer, and its input."""
    make, x = EXAMPLES[name]
    layer = make()
    features = math.prod(layer.output_shape(x.shape[1:]))
    return gn.Sequential(layer, gn.Flatten(), gn.Linear(features, 3, rng=1)).to(device), x


def state(model: gn.Model) -> np.ndarray:
    """Return all parameters and buffers."""
    return np.concatenate([gn.to_host(kept) for kept in (model.store.params, model.store.buffers)])
