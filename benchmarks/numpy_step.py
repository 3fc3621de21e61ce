"""A training step of an MLP, hand-written in plain NumPy: the baseline of gpunet's step.

ReLU layers, mean softmax cross-entropy with integer labels, Adam. The step is optimized for one network and one batch
size as far as NumPy alone allows:

- All arrays are preallocated and written with `out=`; transposed matrices are views; labels are not checked.
- Sums along an axis are products with ones, which BLAS computes.
- Constants are 0-dimensional arrays, which ufuncs process faster than Python numbers.
- Adam stores scaled moments, which saves 3 of 13 passes, and updates flat buffers in blocks that fit in cache.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import DTypeLike

BLOCK = 16384
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8


class NumpyStep:
    """A network and its training step for batches of one size.

    Args:
        parameters: the initial weight (in, out) and bias (out,) of each layer; they are copied.
        batch: the batch size.
        lr: the learning rate.
        dtype: float32, or float64 for a reference.

    Attributes:
        parameters: views of the parameters, which a step updates in place.
    """

    def __init__(self, parameters: Sequence[np.ndarray], batch: int, lr: float = 1e-3, dtype: DTypeLike = np.float32):
        flat, self.parameters = _flat(parameters, dtype)
        flat_grad, gradients = _flat([np.zeros_like(a) for a in parameters], dtype)
        self.weights, self.biases = self.parameters[::2], self.parameters[1::2]
        self.dweights, self.dbiases = gradients[::2], gradients[1::2]
        self.outputs = [np.empty((batch, len(bias)), dtype) for bias in self.biases]
        self.doutputs = [np.empty_like(a) for a in self.outputs]
        self.masks = [np.empty(a.shape, bool) for a in self.outputs[:-1]]
        self.zeros = [np.zeros_like(a) for a in self.outputs[:-1]]  # three times faster in `maximum` than a number
        self.zero = np.array(0, dtype)

        classes = len(self.biases[-1])
        self.flat_dlogits = self.doutputs[-1].reshape(-1)
        self.row_starts = np.arange(0, batch * classes, classes)
        self.at_label = np.empty_like(self.row_starts)
        self.label_logit, self.row_max, self.row_sum, self.row_loss = np.empty((4, batch), dtype)
        self.class_ones, self.row_ones = np.ones(classes, dtype), np.ones(batch, dtype)
        self.rows, self.share = np.array(batch, dtype), np.array(1 / batch, dtype)
        self.shares = np.full(batch, 1 / batch, dtype)

        buffers = flat, flat_grad, np.zeros_like(flat), np.zeros_like(flat)
        blocks = [[a[start : start + BLOCK] for a in buffers] for start in range(0, len(flat), BLOCK)]
        scratch = np.empty(BLOCK, dtype)
        self.blocks = [(*block, scratch[: len(block[0])]) for block in blocks]
        self.beta1, self.beta2 = np.array(BETA1, dtype), np.array(BETA2, dtype)
        self.rate, self.eps = np.array(0, dtype), np.array(0, dtype)
        self.lr = lr
        self.t = 0

    def __call__(self, X: np.ndarray, y: np.ndarray) -> np.floating:
        """Train on X (batch, in), of `dtype`, and int64 y (batch,); return the loss."""
        self.forward(X)
        loss = self.cross_entropy(y)
        self.backward(X)
        self.adam()
        return loss

    def forward(self, x: np.ndarray) -> None:
        for i, (weight, bias, out) in enumerate(zip(self.weights, self.biases, self.outputs, strict=True)):
            np.dot(x, weight, out=out)
            np.add(out, bias, out=out)
            if i < len(self.zeros):
                np.maximum(out, self.zeros[i], out=out)
            x = out

    def cross_entropy(self, y: np.ndarray) -> np.floating:
        """Return the mean of log Σ exp(z - max z) - (z_label - max z); the gradient is (softmax - one-hot) / batch."""
        logits, dlogits, row_sum = self.outputs[-1], self.doutputs[-1], self.row_sum
        np.add(self.row_starts, y, out=self.at_label)
        logits.max(axis=1, out=self.row_max)
        np.subtract(logits, self.row_max[:, None], out=dlogits)
        self.flat_dlogits.take(self.at_label, out=self.label_logit, mode="clip")
        np.exp(dlogits, out=dlogits)
        np.dot(dlogits, self.class_ones, out=row_sum)
        np.log(row_sum, out=self.row_loss)
        np.subtract(self.row_loss, self.label_logit, out=self.row_loss)
        np.multiply(row_sum, self.rows, out=row_sum)
        np.divide(dlogits, row_sum[:, None], out=dlogits)
        self.flat_dlogits[self.at_label] -= self.share
        loss: np.floating = np.dot(self.row_loss, self.shares)
        return loss

    def backward(self, X: np.ndarray) -> None:
        for i in range(len(self.weights) - 1, -1, -1):
            x, dz = self.outputs[i - 1] if i else X, self.doutputs[i]
            np.dot(x.T, dz, out=self.dweights[i])
            np.dot(self.row_ones, dz, out=self.dbiases[i])
            if i:
                dx, mask = self.doutputs[i - 1], self.masks[i - 1]
                np.dot(dz, self.weights[i].T, out=dx)
                np.greater(x, self.zero, out=mask)
                np.multiply(dx, mask, out=dx)

    def adam(self) -> None:
        """Update with moments m / (1 - β1) and v / (1 - β2); `rate` and `eps` include the bias corrections."""
        self.t += 1
        root = math.sqrt((1 - BETA2) / (1 - BETA2**self.t))
        self.rate[...] = self.lr * (1 - BETA1) / (1 - BETA1**self.t) / root
        self.eps[...] = EPS / root
        beta1, beta2, rate, eps = self.beta1, self.beta2, self.rate, self.eps
        for p, g, m, v, s in self.blocks:
            np.multiply(m, beta1, out=m)
            np.add(m, g, out=m)
            np.multiply(g, g, out=s)
            np.multiply(v, beta2, out=v)
            np.add(v, s, out=v)
            np.sqrt(v, out=s)
            np.add(s, eps, out=s)
            np.divide(m, s, out=s)
            np.multiply(s, rate, out=s)
            np.subtract(p, s, out=p)


def _flat(arrays: Sequence[np.ndarray], dtype: DTypeLike) -> tuple[np.ndarray, list[np.ndarray]]:
    """Copy the arrays into one buffer; return it and the arrays' views of it."""
    flat = np.concatenate([a.ravel() for a in arrays]).astype(dtype)
    ends = np.cumsum([a.size for a in arrays])
    return flat, [flat[end - a.size : end].reshape(a.shape) for a, end in zip(arrays, ends, strict=True)]
