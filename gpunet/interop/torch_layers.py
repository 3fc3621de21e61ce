"""A table of how each layer's arrays map to the tensors of the equivalent PyTorch module."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from gpunet.device import to_host
from gpunet.layers import (
    LSTM,
    RNN,
    BatchNorm1d,
    BatchNorm2d,
    Conv1d,
    Conv2d,
    Embedding,
    Layer,
    LayerNorm,
    Linear,
    MultiHeadAttention,
    RMSNorm,
    TransformerEncoderLayer,
)


class Equivalent(NamedTuple):
    """How the arrays of a layer map to the tensors of the equivalent PyTorch module.

    Attributes:
        tensors: returns the layer's arrays on the host in PyTorch's form.
        load: copies such arrays into the layer.
    """

    tensors: Callable[[Any], dict[str, np.ndarray]]
    load: Callable[[Any, Mapping[str, np.ndarray]], None]


def _params(layer: Layer) -> dict[str, np.ndarray]:
    return {name: to_host(a) for name, a in layer.params.items()}


def _assign(layer: Layer, arrays: Mapping[str, np.ndarray]) -> None:
    for name, a in arrays.items():
        layer.params[name] = a


def _transposed(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Return the arrays with "weight" transposed: (in, out) to (out, in), or back."""
    return {name: a.T if name == "weight" else a for name, a in arrays.items()}


def _attention(layer: MultiHeadAttention) -> dict[str, np.ndarray]:
    q, kv, out = (_transposed(_params(part)) for part in (layer.q_proj, layer.kv_proj, layer.out_proj))
    joined = {f"in_proj_{name}": np.concatenate([q[name], kv[name]]) for name in q}
    return joined | {f"out_proj.{name}": a for name, a in out.items()}


def _load_attention(layer: MultiHeadAttention, arrays: Mapping[str, np.ndarray]) -> None:
    for name in layer.q_proj.params:
        q, kv = np.split(arrays[f"in_proj_{name}"], [layer.embed_dim])
        parts = (layer.q_proj, q), (layer.kv_proj, kv), (layer.out_proj, arrays[f"out_proj.{name}"])
        for part, a in parts:
            _assign(part, _transposed({name: a}))


ENCODER_PARTS = ("self_attn", "linear1", "linear2", "norm1", "norm2")
"""The layers inside an encoder layer; the names are the same in PyTorch and gpunet."""


def _encoder(layer: TransformerEncoderLayer) -> dict[str, np.ndarray]:
    arrays: dict[str, np.ndarray] = {}
    for part in ENCODER_PARTS:
        inner = getattr(layer, part)
        arrays |= {f"{part}.{name}": a for name, a in EQUIVALENTS[type(inner)].tensors(inner).items()}
    return arrays


def _load_encoder(layer: TransformerEncoderLayer, arrays: Mapping[str, np.ndarray]) -> None:
    for part in ENCODER_PARTS:
        inner = getattr(layer, part)
        own = {name.removeprefix(f"{part}."): a for name, a in arrays.items() if name.startswith(f"{part}.")}
        EQUIVALENTS[type(inner)].load(inner, own)


def _batch_norm(layer: Layer) -> dict[str, np.ndarray]:
    arrays = {name: to_host(a) for name, a in (*layer.params.items(), *layer.buffers.items())}
    return {name: a.astype(np.int64) if name == "num_batches_tracked" else a for name, a in arrays.items()}


def _load_batch_norm(layer: Layer, arrays: Mapping[str, np.ndarray]) -> None:
    for name, a in arrays.items():
        (layer.params if name in layer.params else layer.buffers)[name] = a


def _recurrent(layer: Layer) -> dict[str, np.ndarray]:
    arrays = {f"{name}_l0": a.T for name, a in _params(layer).items() if name != "bias"}
    if "bias" in layer.params:
        bias = _params(layer)["bias"]
        arrays |= {"bias_ih_l0": bias, "bias_hh_l0": np.zeros_like(bias)}  # PyTorch adds the two
    return arrays


def _load_recurrent(layer: Layer, arrays: Mapping[str, np.ndarray]) -> None:
    for name in ("weight_ih", "weight_hh"):
        layer.params[name] = arrays[f"{name}_l0"].T
    if "bias" in layer.params:
        layer.params["bias"] = arrays["bias_ih_l0"] + arrays["bias_hh_l0"]


SAME = Equivalent(_params, _assign)
"""PyTorch has the same names and layouts as gpunet."""

BATCH_NORM = Equivalent(_batch_norm, _load_batch_norm)
RECURRENT = Equivalent(_recurrent, _load_recurrent)

EQUIVALENTS: dict[type[Layer], Equivalent] = {
    BatchNorm1d: BATCH_NORM,
    BatchNorm2d: BATCH_NORM,
    Conv1d: SAME,
    Conv2d: SAME,
    Embedding: SAME,
    LSTM: RECURRENT,
    LayerNorm: SAME,
    Linear: Equivalent(lambda layer: _transposed(_params(layer)), lambda layer, a: _assign(layer, _transposed(a))),
    MultiHeadAttention: Equivalent(_attention, _load_attention),
    RMSNorm: SAME,
    RNN: RECURRENT,
    TransformerEncoderLayer: Equivalent(_encoder, _load_encoder),
}
