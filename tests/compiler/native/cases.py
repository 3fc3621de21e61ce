"""The CPU kernels of a folder, compared with their NumPy references."""

import math
from pathlib import Path

import numpy as np
from compiler.native.calls import assert_close, divided, run, undefined

from gpunet import ops, random
from gpunet.cuda import CTYPES
from gpunet.data import Standardizer
from gpunet.native.blas import find_blas
from gpunet.ops.activations import activation_function
from gpunet.optimizers import BLOCK, Optimizer

SPECIAL = [math.nan, math.inf, -math.inf]
IDENTITY = {"ACTIVATION": "identity"}


def normal(shape: int | tuple[int, ...], dtype: np.dtype, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(dtype)


def bias_activation(folder: Path, dtype: np.dtype, name: str, rows: int, n: int, special: bool = False) -> None:
    """Forward with and without bias and preactivation, also in place, and the derivative."""
    function, z, bias = activation_function(name), normal((rows, n), dtype) * 3, normal(n, dtype, 1)
    if special:
        z.flat[: len(SPECIAL)] = SPECIAL
    options = {"ACTIVATION": name}
    scale = 500 if name == "gelu" and dtype == np.float64 else 4  # the reference erf is gpunet's, accurate to 1e-12

    def forward(own_bias, keep, in_place):
        def compute(parts):
            out = z.copy() if in_place else undefined(z.shape, dtype)
            kept = undefined(z.shape, dtype) if keep else None
            arrays = out if in_place else z, own_bias, kept, out
            numbers = rows, n, function.parameter
            run(
                folder,
                "bias_activation.cpp",
                "bias_activation_forward",
                *arrays,
                *numbers,
                parts=parts,
                options=options,
            )
            return (out, kept) if keep else (out,)

        return divided(rows, compute, exact=False)

    def backward(dy, saved, in_place):
        def compute(parts):
            dz = dy.copy() if in_place else undefined(z.shape, dtype)
            arrays = dz if in_place else dy, saved, dz
            numbers = rows, n, function.parameter
            run(folder, "bias_activation.cpp", "activation_backward", *arrays, *numbers, parts=parts, options=options)
            return (dz,)

        return divided(rows, compute, exact=False)[0]

    with np.errstate(all="ignore"):
        for own_bias in (None, bias):
            inner = np.empty_like(z)
            y = ops.bias_activation(z, own_bias, function, preactivation=inner)
            for keep, in_place in ((True, False), (False, False), (False, True)):
                out, *kept = forward(own_bias, keep, in_place)
                assert_close(out, y, scale)
                assert not kept or kept[0].tobytes() == inner.tobytes()
        dy, saved = normal(z.shape, dtype, 2), y if function.saves == "output" else inner
        for in_place in (False, True):
            dz = backward(dy, saved, in_place)
            assert_close(dz, ops.activation_backward(dy, saved, function), scale)


def identity_without_saved(folder: Path, dtype: np.dtype) -> None:
    dy, dz = normal((3, 5), dtype), undefined((3, 5), dtype)
    run(folder, "bias_activation.cpp", "activation_backward", dy, None, dz, 3, 5, 0.0, parts=[(0, 3)], options=IDENTITY)
    np.testing.assert_array_equal(dz, dy)


def sum_columns(folder: Path, dtype: np.dtype, rows: int, n: int) -> None:
    a = normal((rows, n), dtype)

    def compute(parts):
        out = undefined(n, dtype)
        run(folder, "reduce.cpp", "sum_columns", a, out, rows, n, parts=parts)
        return (out,)

    expected = np.zeros(n, dtype)
    for row in a:
        expected += row
    np.testing.assert_array_equal(divided(n, compute)[0], expected)


def cross_entropy(
    folder: Path,
    dtype: np.dtype,
    rows: int,
    classes: int,
    *,
    hard: bool = True,
    weighted: bool = False,
    class_weighted: bool = False,
    smoothing: float = 0.0,
    logits: np.ndarray | None = None,
) -> None:
    rng = np.random.default_rng(0)
    z = normal((rows, classes), dtype) * 4 if logits is None else logits
    target = rng.integers(0, classes, rows) if hard else rng.dirichlet([1.0] * classes, rows).astype(dtype)
    weight = rng.random(rows).astype(dtype) if weighted else None
    class_weight = rng.random(classes).astype(dtype) if class_weighted else None
    with np.errstate(all="ignore"):
        loss, dlogits = ops.softmax_cross_entropy(
            z, target, weight=weight, class_weight=class_weight, label_smoothing=smoothing
        )
    for in_place in (False, True):
        losses, dz = cross_entropy_of(folder, z, target, weight, class_weight, smoothing, in_place)
        assert_close(losses.sum(keepdims=True), loss[None], 4)
        assert_close(dz, dlogits, 2)


def cross_entropy_of(folder, z, target, weight=None, class_weight=None, smoothing=0.0, in_place=False):
    """Return (losses, dlogits)."""
    (rows, classes), hard, norm = z.shape, target.ndim == 1, None
    if weight is not None or (hard and class_weight is not None):
        norm = undefined(1, z.dtype)
        arrays = weight, class_weight, target if hard else None, norm
        run(folder, "softmax_cross_entropy.cpp", "cross_entropy_norm", *arrays, rows, classes, parts=[(0, 1)])

    def compute(parts):
        dz, losses = z.copy() if in_place else undefined(z.shape, z.dtype), undefined(rows, z.dtype)
        arrays = dz if in_place else z, target, weight, class_weight, norm, dz, losses
        kind = "labels" if hard else "distributions"
        numbers = rows, classes, smoothing
        run(folder, "softmax_cross_entropy.cpp", f"softmax_cross_entropy_{kind}", *arrays, *numbers, parts=parts)
        return losses, dz

    return divided(rows, compute)


LOSSES = {
    "mean_squared_error": (ops.mean_squared_error, {}),
    "huber": (ops.huber, {"delta": 0.7}),
    "absolute_error": (ops.absolute_error, {"above": 0.2, "below": 0.8}),
    "poisson_nll": (ops.poisson_nll, {"log_input": 1, "eps": 0.1}),
    "poisson_nll of rates": (ops.poisson_nll, {"log_input": 0, "eps": 30.0}),
    "binary_cross_entropy": (ops.binary_cross_entropy, {}),
}


def elementwise_loss(
    folder: Path, dtype: np.dtype, name: str, rows: int, n: int, weight: np.ndarray | None = None, special: bool = False
) -> None:
    prediction, target = normal((rows, n), dtype) * 3, np.random.default_rng(1).random((rows, n)).astype(dtype)
    if special:
        prediction.flat[: len(SPECIAL)] = SPECIAL
    reference, constants = LOSSES[name]
    with np.errstate(all="ignore"):
        loss, expected = reference(prediction, target, **constants, weight=weight)
    weight_sum = None
    if weight is not None:
        weight_sum = undefined(1, dtype)
        run(folder, "reduce.cpp", "sum", weight, weight_sum, rows, parts=[(0, 1)])

    def compute_in(in_place):
        def compute(parts):
            slope = prediction.copy() if in_place else undefined(prediction.shape, dtype)
            losses = undefined(rows, dtype)
            arrays = slope if in_place else prediction, target, weight, weight_sum, slope, losses
            run(folder, "losses.cpp", name.split()[0], *arrays, rows, n, *constants.values(), parts=parts)
            return losses, slope

        return compute

    for in_place in (False, True):
        losses, slope = divided(rows, compute_in(in_place), exact=False)
        assert_close(losses.sum(keepdims=True), loss[None], 4)
        assert_close(slope, expected, 2)


def total(folder: Path, dtype: np.dtype, n: int) -> None:
    a, out = normal(n, dtype), undefined(1, dtype)
    run(folder, "reduce.cpp", "sum", a, out, n, parts=[(0, 1)])
    assert_close(out, a.sum(dtype=np.float64, keepdims=True).astype(dtype), 4)


def right_answers(folder: Path, dtype: np.dtype, rows: int, classes: int) -> None:
    """Many ties, NaN in the first and last elements, invalid labels, all three kinds of answer, and the sums."""
    rng = np.random.default_rng(0)
    prediction, target = (rng.integers(-1, 3, (rows, classes)).astype(dtype) for _ in range(2))
    for a in (prediction, target):
        for row, columns in ((2, [0]), (3, [-1]), (4, [classes // 2, -1]), (5, slice(None))):
            a[row, columns] = math.nan
    prediction[8, 0], prediction[8, 1:] = 5, math.nan
    prediction[9, 0], target[9, 0] = 0, 0.5  # neither is true
    labels = prediction.argmax(axis=1)
    labels[::3] = rng.integers(0, classes, rows)[::3]
    labels[6:9] = -1, classes, 0

    def compute_right(kind, other, shape):
        def compute(parts):
            right = np.zeros(shape, bool)
            run(folder, "metrics.cpp", f"right_{kind}", prediction, other, right, rows, classes, parts=parts)
            return (right,)

        return divided(rows, compute)[0]

    answer = prediction.argmax(axis=1)
    right = compute_right("labels", labels, rows)
    np.testing.assert_array_equal(right, answer == labels)
    np.testing.assert_array_equal(compute_right("distributions", target, rows), answer == target.argmax(axis=1))
    expected = (prediction > 0) == (target > 0.5)
    np.testing.assert_array_equal(compute_right("binary", target, prediction.shape), expected)
    big = 2.0**30  # in float, what is added to it would be lost
    totals, loss = np.array([big + 1, 2.0]), np.array([0.5], dtype)
    for answers in (None, right):
        run(folder, "metrics.cpp", "accumulate", loss, answers, totals, rows, rows, parts=[(0, 1)])
    assert totals.tolist() == [big + 1 + rows, 2 + np.count_nonzero(right)]


class State:
    """The flat buffers of an optimizer and what its kernels need."""

    def __init__(self, optimizer: Optimizer, dtype: np.dtype, size: int, done: int = 4):
        self.optimizer = optimizer
        self.p, self.g = normal(size, dtype, 1), normal(size, dtype, 2)
        self.slots = [np.abs(normal(size, dtype, 3 + i)) for i in range(len(optimizer.slot_names))]
        self.parts = max(1, math.ceil(size / BLOCK))
        self.squares = undefined(self.parts, np.float64)
        self.rates = np.array([0.5, 0.25, 0.125])
        self.progress = np.array([done, 3, 0])  # rates[1] is the rate of the next step

    @property
    def rate(self) -> float:
        """The learning rate of the next step."""
        done, first, _ = self.progress
        return self.rates[min(max(done - first, 0), 2)]

    def step(self, folder: Path, name: str) -> tuple[np.ndarray, ...]:
        """Run a step with the kernels in all divisions of the work; return p, g and the slots."""
        optimizer, before = self.optimizer, [a.copy() for a in (self.p, self.g, *self.slots)]
        max_norm = optimizer.clip_norm or 0.0

        def compute(parts):
            p, g, *slots = after = [a.copy() for a in before]
            if optimizer.clip_value is not None:
                limit = optimizer.clip_value
                run(folder, "optimizers.cpp", "clip_value", g, g.size, self.parts, limit, parts=parts)
            run(folder, "optimizers.cpp", "squares", g, self.squares, g.size, self.parts, np.inf, parts=parts)
            numbers = self.squares, self.rates, self.progress, self.parts, len(self.rates), max_norm
            run(folder, "optimizers.cpp", name, *numbers, *optimizer.kernel_arguments(p, g, *slots), parts=parts)
            return *after, self.squares.copy()

        *after, _ = divided(self.parts, compute)
        self.p, self.g, *self.slots = after
        numbers = self.squares, self.progress, self.parts, max_norm
        run(folder, "optimizers.cpp", "end_step", *numbers, parts=[(0, 1)])
        return tuple(after)

    def reference(self) -> tuple[np.ndarray, ...]:
        """Return p, g and the slots after a step in NumPy."""
        optimizer, dtype = self.optimizer, self.p.dtype
        p, g, *slots = (a.copy() for a in (self.p, self.g, *self.slots))
        if optimizer.clip_value is not None:
            g = np.clip(g, -optimizer.clip_value, optimizer.clip_value)
        if optimizer.clip_norm is not None:
            norm = np.linalg.norm(g.astype(np.longdouble))
            g *= dtype.type(min(optimizer.clip_norm / (norm + 1e-6), 1))
        numbers = np.array(optimizer.step_numbers(self.rate, int(self.progress[0]) + 1), dtype)
        optimizer.update_block(
            [numbers[i : i + 1].reshape(()) for i in range(len(numbers))],
            p,
            g,
            np.empty_like(p),
            np.empty_like(p),
            *slots,
        )
        return p, g, *slots


def optimizer_step(folder: Path, dtype: np.dtype, name: str, optimizer: Optimizer, size: int, done: int = 4) -> None:
    """Two steps of an update rule, compared with NumPy's."""
    state = State(optimizer, dtype, size, done)
    for i in range(2):
        expected = state.reference()
        for a, b in zip(state.step(folder, name), expected, strict=True):
            assert_close(a, b, 8)
        assert state.progress.tolist() == [done + i + 1, 3, 0]


def average(folder: Path, dtype: np.dtype, size: int) -> None:
    """The moving average over steps; the first and the fourth step are not applied."""
    blocks = math.ceil(size / BLOCK)
    squares, mean, expected = np.ones(blocks), np.full(size, math.nan, dtype), np.full(size, math.nan, dtype)
    for i, applied in enumerate((False, True, True, False, True)):
        p, squares[-1:] = normal(size, dtype, i), 1 if applied else math.nan

        def compute(parts, p=p, before=mean):
            after = before.copy()
            run(folder, "optimizers.cpp", "average", squares, blocks, 0.0, p, after, size, 0.25, parts=parts)
            return (after,)

        (mean,) = divided(blocks, compute)
        if applied:
            expected = np.where(np.isnan(expected), p, expected + dtype.type(0.25) * (p - expected))
        assert_close(mean, expected)


def gradient_sum(folder: Path, dtype: np.dtype, size: int) -> None:
    """The weighted sum of three gradients and of their losses."""
    gradients, values, weights = normal((3, size), dtype), normal(3, dtype, 1), np.array([0.5, 0.3, 0.2], dtype)

    def compute(parts):
        total, losses = undefined(size, dtype), undefined(2, dtype)
        for part in range(3):
            g, value = gradients[part].copy(), values[part : part + 1]
            arrays = g, total, value, losses, weights
            run(folder, "gradient_sum.cpp", "add_gradient", *arrays, size, part, 3, 4.0, parts=parts)
            assert_close(losses[1:], 4 * weights[part] * value)
        return g, losses

    g, losses = divided(math.ceil(size / BLOCK), compute)
    assert_close(g, weights @ gradients, 4)
    assert_close(losses[0], weights @ values, 4)


def dropout(folder: Path, dtype: np.dtype, rows: int, n: int, first_row: int, p: float | None = None) -> None:
    """Masks and results bit for bit. Without `p`, p is one of the random numbers, whose element is kept."""
    seed, step, draw = 2**63 + 5, 17, 3
    uniform = np.empty((rows, n), np.float32)
    random.uniform(uniform, seed=seed, step=step, draw=draw, first_row=first_row)
    p = float(uniform[0, 0] if uniform.size else 0) if p is None else p
    scale = 1 / (1 - p)
    x, expected = normal((rows, n), dtype), uniform >= np.float32(p)

    def compute_in(in_place):
        def compute(parts):
            y, keep = x.copy() if in_place else undefined(x.shape, dtype), np.zeros(x.shape, bool)
            arrays = x if not in_place else y, y, keep, np.array([step])
            numbers = seed - 2**64, draw, first_row, rows, n, p, scale
            run(folder, "dropout.cpp", "dropout_forward", *arrays, *numbers, parts=parts)
            dx = y.copy() if in_place else undefined(x.shape, dtype)
            run(folder, "dropout.cpp", "dropout_backward", dx if in_place else x, keep, dx, rows, n, scale, parts=parts)
            return y, keep, dx

        return compute

    for in_place in (False, True):
        y, keep, dx = divided(rows, compute_in(in_place))
        np.testing.assert_array_equal(keep, expected)
        np.testing.assert_array_equal(y, x * dtype.type(scale) * expected)
        np.testing.assert_array_equal(dx, (y if in_place else x) * dtype.type(scale) * expected)


def entity_embedding(folder: Path, dtype: np.dtype, rows: int, numbers: int) -> None:
    """Numbers and vectors of known and unknown categories, and the sums of the vectors' gradients."""
    rng, entries, widths = np.random.default_rng(0), (5, 1), (3, 17)
    x = np.column_stack([rng.standard_normal((rows, numbers)), rng.integers(-2, 8, (rows, 2))]).astype(dtype)
    x[-1:, numbers] = math.nan
    x[:1, numbers] = 1.5  # unknown, too
    tables = [normal((n, width), dtype) for n, width in zip(entries, widths, strict=True)]
    dy, dtables = normal((rows, numbers + 20), dtype, 1), [undefined(table.shape, dtype) for table in tables]
    places = [
        (numbers + k, entries[k], widths[k], first, numbers + 2, numbers + 20, rows)
        for k, first in enumerate((numbers, numbers + 3))
    ]

    def compute(parts):
        y = undefined((rows, numbers + 20), dtype)
        run(folder, "embedding.cpp", "copy_columns", x, y, numbers, numbers + 2, numbers + 20, rows, parts=parts)
        for table, place in zip(tables, places, strict=True):
            run(folder, "embedding.cpp", "category_forward", x, table, y, *place, parts=parts)
        return (y,)

    np.testing.assert_array_equal(divided(rows, compute)[0], ops.entity_embedding(x, tables))
    expected = [np.empty_like(table) for table in tables]
    ops.entity_embedding_backward(dy, x, expected)
    for dtable, sums, place in zip(dtables, expected, places, strict=True):
        run(folder, "embedding.cpp", "category_backward", dy, x, dtable, *place, parts=[(0, 1)])
        np.testing.assert_array_equal(dtable, sums)


def gather(folder: Path, rows: int, widths: tuple[int, int, int]) -> None:
    rng = np.random.default_rng(0)
    sources = [rng.integers(0, 256, (20, width), np.uint8) for width in widths]
    order, place = rng.permutation(20), np.array([2])
    addresses = np.array([a.ctypes.data for a in (*sources, order)])

    def compute(parts):
        outs = [undefined((rows, width), np.uint8) if width else None for width in widths]
        run(folder, "gather.cpp", "gather", addresses, place, *outs, *widths, rows, parts=parts)
        return tuple(out for out in outs if out is not None)

    for out, a in zip(divided(rows, compute), (a for a in sources if a.size), strict=True):
        np.testing.assert_array_equal(out, a[order[2 : 2 + rows]])
    run(folder, "gather.cpp", "advance", place, rows, parts=[(0, 1)])
    assert place[0] == 2 + rows


def gather_features(folder: Path, rows: int, width: int, source: np.dtype, dtype: np.dtype) -> None:
    """Rows are converted and standardised exactly as on the host."""
    x = (100 * normal((20, width), np.dtype(np.float64))).astype(source)
    scaler, order, place = Standardizer.fit(x), np.random.default_rng(0).permutation(20), np.array([2])
    for scaling in ((scaler.mean, scaler.factor), ()):
        addresses = np.array([a.ctypes.data for a in (x, x, x, order, *scaling)] + [0] * (2 - len(scaling)))

        def compute(parts, addresses=addresses):
            out, options = undefined((rows, width), dtype), {"SOURCE": CTYPES[source]}
            given = addresses, place, out, width, rows
            run(folder, "gather.cpp", "gather_features", *given, parts=parts, options=options)
            return (out,)

        taken = x[order[2 : 2 + rows]]
        (out,) = divided(rows, compute)
        np.testing.assert_array_equal(out, scaler.apply(taken, dtype) if scaling else taken.astype(dtype))


def products(folder: Path, dtype: np.dtype, m: int, n: int, k: int) -> None:
    """All three products, on matrices that are slices of wider ones."""
    blas = find_blas()
    a, b = normal((max(m, 1), k + 2), dtype), normal((max(k, 1), n + 3), dtype, 1)
    b_by_row, a_by_column = normal((max(n, 1), k + 1), dtype, 2), normal((max(k, 1), m + 1), dtype, 3)
    options = {"BLAS_INT": blas.integer}
    call = blas.gemm[dtype]
    for name, left, right, transposed, expected in (
        ("product", a, b, (False,), a[:m, :k] @ b[:k, :n]),
        ("product", a, b_by_row, (True,), a[:m, :k] @ b_by_row[:n, :k].T),
        ("transposed_product", a_by_column, b, (), a_by_column[:k, :m].T @ b[:k, :n]),
    ):
        for parts in ([(0, m)], [(0, m // 2), (m // 2, m)]):
            c = undefined((max(m, 1), n + 1), dtype)
            numbers = m, n, k, left.shape[1], right.shape[1], n + 1
            run(folder, "product.cpp", name, call, left, right, c, *numbers, *transposed, parts=parts, options=options)
            assert_close(c[:m, :n], expected, 4)
            assert np.isnan(c[:m, n:]).all()
