"""Layers that normalise each channel over the batch: BatchNorm1d and BatchNorm2d."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from gpunet.arguments import real, whole
from gpunet.device import Array, array_module
from gpunet.errors import ShapeError
from gpunet.initializers import filled
from gpunet.layers.base import Layer
from gpunet.ops._batch_norm import batch_norm, batch_norm_backward
from gpunet.ops._batch_statistics import Running, batch_statistics
from gpunet.tape import Tape, zeros


class BatchNorm(Layer):
    """Normalise each channel over the batch to mean 0 and variance 1, then scale and shift it, as PyTorch does.

    y = (x - mean) / √(variance + eps) · weight + bias (Ioffe & Szegedy 2015). Training uses the mean and (biased)
    variance of the batch and updates the running statistics; inference, and training of a frozen layer, uses the
    running statistics.

    Args:
        momentum: weight of a batch in the update of the running mean and (unbiased) variance, in [0, 1]; None for the
            plain mean over all batches. Statistics that are not finite are skipped.
        affine: whether there are weight and bias.
        track_running_stats: whether there are running statistics; without them, inference uses those of its batch.

    Attributes:
        params: "weight" and "bias" (num_features,), initially one and zero.
        buffers: "running_mean" and "running_var" (num_features,), initially zero and one, and "num_batches_tracked" ().
    """

    inner_axes: ClassVar[tuple[tuple[str, ...], ...]]
    """Names of the axes of x after rows and channels; each tuple is one allowed form."""

    def __init__(
        self,
        num_features: int,
        eps: float = 1e-5,
        momentum: float | None = 0.1,
        affine: bool = True,
        track_running_stats: bool = True,
    ):
        name = type(self).__name__
        self.num_features = whole(f"{name}: num_features", num_features)
        self.eps = real(f"{name}: eps", eps, 0, closed="left")
        self.momentum = None if momentum is None else real(f"{name}: momentum", momentum, 0, 1, closed="both")
        zeros, ones = filled((self.num_features,), 0), filled((self.num_features,), 1)
        running = {"running_mean": zeros, "running_var": ones, "num_batches_tracked": np.zeros(())}
        super().__init__({"weight": ones, "bias": zeros} if affine else {}, running if track_running_stats else {})

    @property
    def uses_batch(self) -> bool:
        """Whether training normalises by the statistics of the batch, not by the running statistics."""
        return not (self._frozen and self.buffers)

    def forward(self, x: Array, tape: Tape | None = None) -> Array:
        self.output_shape(x.shape[1:])
        weight, bias = self.params.get("weight"), self.params.get("bias")
        if self.buffers and (tape is None or not self.uses_batch):
            mean, variance = self.buffers["running_mean"], self.buffers["running_var"]
            return batch_norm(x, mean, variance, weight, bias, self.eps, tape=tape)
        if 0 < len(x) < self.least_rows(x.shape[1:]):
            raise ShapeError(
                f"{self!r}: a single value per channel has no variance, got shape {x.shape}; train on batches of at "
                "least two rows, including the last batch of an epoch."
            )
        mean, variance = batch_statistics(x, self._running(), tape=tape)
        if tape is not None:
            tape.save(self, x, mean, variance)
        return batch_norm(x, mean, variance, weight, bias, self.eps, tape=tape)

    def _running(self) -> Running | None:
        if not self.buffers:
            return None
        mean, variance, batches = self.buffers.values()
        return Running(mean, variance, batches, self.momentum)

    def backward(self, dy: Array, tape: Tape, *, input_gradient: bool = True) -> Array | None:
        if not self.uses_batch:
            return self._scaled(dy, tape) if input_gradient else None
        x, mean, variance = tape.restore(self)
        return batch_norm_backward(
            dy,
            x,
            mean,
            variance,
            self.params.get("weight"),
            self.eps,
            dweight=self._gradient("weight"),
            dbias=self._gradient("bias"),
            input_gradient=input_gradient,
            tape=tape,
        )[0]

    def _scaled(self, dy: Array, tape: Tape) -> Array:
        """Return the input gradient of a frozen layer, whose mean and variance are constants."""
        variance, weight = self.buffers["running_var"], self.params.get("weight")
        mean = zeros(tape, variance.shape, variance.dtype, array_module(variance))
        return batch_norm(dy, mean, variance, weight, None, self.eps, tape=tape)

    def output_shape(self, shape: tuple[int, ...]) -> tuple[int, ...]:
        if len(shape) - 1 not in map(len, self.inner_axes) or shape[0] != self.num_features or 0 in shape:
            shapes = (", ".join([str(self.num_features), *names]) for names in self.inner_axes)
            expected = " or ".join(f"({axes})" if "," in axes else f"({axes},)" for axes in shapes)
            raise ShapeError(f"{self!r}: a row of the input must be {expected}, got shape {shape}.")
        return shape

    def least_rows(self, shape: tuple[int, ...]) -> int:
        return 2 if math.prod(shape[1:]) == 1 and self.uses_batch else 1

    def config(self) -> dict[str, Any]:
        return {
            "num_features": self.num_features,
            "eps": self.eps,
            "momentum": self.momentum,
            "affine": bool(self.params),
            "track_running_stats": bool(self.buffers),
        }

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.num_features})"


class BatchNorm1d(BatchNorm):
    """Batch norm of x (rows, num_features) or (rows, num_features, length); see `BatchNorm`.

    Example:
        >>> layer, tape = gn.BatchNorm1d(1), gn.Tape()
        >>> layer.forward(np.array([[1.0], [3.0]], "float32"), tape).round(2)  # with a tape: statistics of the batch
        array([[-1.],
               [ 1.]], dtype=float32)
        >>> layer.buffers["running_mean"].round(2)
        array([0.2], dtype=float32)
    """

    inner_axes = (), ("length",)


class BatchNorm2d(BatchNorm):
    """Batch norm of x (rows, num_features, height, width); see `BatchNorm`.

    Example:
        >>> layer, tape = gn.BatchNorm2d(3), gn.Tape()
        >>> layer.forward(np.ones((4, 3, 8, 8), "float32"), tape).shape, layer.buffers["running_mean"].round(2)
        ((4, 3, 8, 8), array([0.1, 0.1, 0.1], dtype=float32))
    """

    inner_axes = (("height", "width"),)
