"""Describe what must be the same on all ranks of a distributed training."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from gpunet.arguments import counted
from gpunet.training.protocol import Training


def rank_description(trainer: Training, arrays: Sequence[np.ndarray], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what must be the same on all ranks, as text by name."""
    digest, scaler = hashlib.sha256(), trainer.model.input_scaler
    for a in (*arrays, *((scaler.mean, scaler.scale) if scaler is not None else ())):
        digest.update(f"{a.shape} {a.dtype}".encode())
        digest.update(np.ascontiguousarray(a).data)
    model, optimizer = trainer.model, trainer.optimizer
    shapes = {key: view.shape for key, view in model.parameters().items()}
    words = {
        "gpunet's version": sys.modules["gpunet"].__version__,
        "NumPy's version": np.__version__,
        "the model": f"{model!r} with parameters {shapes} of {model.dtype}",
        "the frozen layers": [path for path, leaf in model.leaves().items() if not leaf.trainable],
        "the loss": repr(trainer.loss),
        "the optimizer": f"{type(optimizer).__name__} {optimizer.config()} after {counted(optimizer.steps, 'step')}",
        "the seed": trainer.seed,
        "the precision": trainer.precision,
        "the decay of the moving average": trainer.ema,
        "the device": model.device.name.partition(":")[0],
        "the position in training": f"{counted(trainer.position, 'row')} of epoch {trainer.epoch + 1}",
        "the number of rows": len(arrays[0]) if arrays else 0,
        "the checksum of the data": digest.hexdigest()[:16],
        **options,
    }
    return {name: re.sub(r" at 0x\w+", "", str(value)) for name, value in words.items()}  # remove memory addresses
