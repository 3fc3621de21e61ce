"""A training step of an MLP written by hand in plain NumPy: what gpunet's step is measured against.

ReLU layers, mean softmax cross-entropy on integer labels, Adam, all in float32. It does for one batch shape what a
patient person would do with NumPy alone: every array is made beforehand and written with `out=`, labels are not
checked, matrices are transposed as views, column sums are products with ones (a BLAS call), constants are
0-dimensional arrays (which a ufunc takes up faster than a Python number), and Adam keeps scaled moments, which saves
three of thirteen passes, and goes over flat buffers block by block, so that a block stays in cache.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np

BLOCK = 16384
BETA1, BETA2, EPS = 0.9, 0.999, 1e-8
f32 = np.float32

Step = Callable[[np.ndarray, np.ndarray], np.float32]


def make_step(parameters: Sequence[np.ndarray], batch: int, lr: float = 1e-3) -> tuple[Step, list[np.ndarray]]:
    """Return a function that does one training step, and the parameters that it updates.

    Args:
        parameters: the initial weights (in, out) and biases (out,) of at least two layers, in turn; they are copied.
        batch: rows of a batch.
        lr: the learning rate.

    Returns:
        step(X, y) for float32 X (batch, in) and int64 y (batch,), which returns the loss; and views of its parameters.
    """
    flat, views = _flat([a.astype(f32) for a in parameters])
    flat_grad, grad_views = _flat([np.zeros_like(a) for a in views])
    weights, biases, dweights, dbiases = views[::2], views[1::2], grad_views[::2], grad_views[1::2]

    hidden = [np.empty((batch, len(b)), f32) for b in biases[:-1]]
    dhidden = [np.empty_like(h) for h in hidden]
    positive = [np.empty(h.shape, bool) for h in hidden]
    forward = list(zip(weights, biases, hidden, strict=False))
    backward = list(zip(hidden, weights[1:], dweights[1:], dbiases[1:], dhidden, positive, strict=True))[::-1]
    last_weight, last_bias = weights[-1], biases[-1]
    first_dweight, first_dbias = dweights[0], dbiases[0]

    logits = np.empty((batch, len(last_bias)), f32)
    dlogits = np.empty_like(logits)
    flat_dlogits = dlogits.reshape(-1)
    row_starts = np.arange(batch) * len(last_bias)
    at_label = np.empty(batch, np.int64)
    row_max, row_sum = np.empty((batch, 1), f32), np.empty((batch, 1), f32)
    row_loss, label_logit = np.empty(batch, f32), np.empty(batch, f32)
    ones, class_ones, shares = np.ones(batch, f32), np.ones(len(last_bias), f32), np.full(batch, 1 / batch, f32)
    zero, rows, share = np.array(0, f32), np.array(batch, f32), np.array(1 / batch, f32)

    m, v, scratch = np.zeros_like(flat), np.zeros_like(flat), np.empty(min(BLOCK, len(flat)), f32)
    blocks = []
    for start in range(0, len(flat), BLOCK):
        block = [a[start : start + BLOCK] for a in (flat, flat_grad, m, v)]
        blocks.append((*block, scratch[: len(block[0])]))
    beta1, beta2, rate, eps = np.array(BETA1, f32), np.array(BETA2, f32), np.zeros((), f32), np.zeros((), f32)
    t = 0

    def step(X: np.ndarray, y: np.ndarray) -> np.float32:  # noqa: N803
        nonlocal t
        x = X
        for weight, bias, h in forward:
            np.dot(x, weight, out=h)
            np.add(h, bias, out=h)
            np.maximum(h, zero, out=h)
            x = h
        np.dot(x, last_weight, out=logits)
        np.add(logits, last_bias, out=logits)

        # cross-entropy: the mean of log Σ exp(z - max z) - (z_label - max z); its gradient, (softmax - one-hot) / batch
        np.add(row_starts, y, out=at_label)
        logits.max(axis=1, out=row_max, keepdims=True)
        np.subtract(logits, row_max, out=dlogits)
        flat_dlogits.take(at_label, out=label_logit, mode="clip")
        np.exp(dlogits, out=dlogits)
        np.dot(dlogits, class_ones, out=row_sum[:, 0])
        np.log(row_sum[:, 0], out=row_loss)
        np.subtract(row_loss, label_logit, out=row_loss)
        loss = np.dot(row_loss, shares)
        np.multiply(row_sum, rows, out=row_sum)
        np.divide(dlogits, row_sum, out=dlogits)
        flat_dlogits[at_label] -= share

        dz = dlogits
        for h, weight, dweight, dbias, dh, mask in backward:
            np.dot(h.T, dz, out=dweight)
            np.dot(ones, dz, out=dbias)
            np.dot(dz, weight.T, out=dh)
            np.greater(h, zero, out=mask)
            np.multiply(dh, mask, out=dh)
            dz = dh
        np.dot(X.T, dz, out=first_dweight)
        np.dot(ones, dz, out=first_dbias)

        # Adam on M = m / (1 - β1) and V = v / (1 - β2), with the bias corrections in two numbers
        t += 1
        root = math.sqrt((1 - BETA2) / (1 - BETA2**t))
        rate[...] = lr * (1 - BETA1) / (1 - BETA1**t) / root
        eps[...] = EPS / root
        for p, g, m, v, s in blocks:
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
        return loss

    return step, views


def _flat(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, list[np.ndarray]]:
    """Return the arrays copied into one buffer, and their views there."""
    flat = np.concatenate([a.ravel() for a in arrays])
    ends = np.cumsum([a.size for a in arrays])
    return flat, [flat[end - a.size : end].reshape(a.shape) for a, end in zip(arrays, ends, strict=True)]
