"""The CPU kernels compared with their NumPy references, in all divisions of the work."""

import functools
import math
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from activation_limits import LIMITS, assert_limits, points, slopes, values
from compiler.native import cases
from compiler.native.calls import DTYPES, FOLDER, assert_close, run, undefined

from gpunet.native.blas import find_blas
from gpunet.native.kernel import library
from gpunet.ops import softmax_cross_entropy
from gpunet.ops.activations import FUNCTIONS
from gpunet.optimizers import BLOCK, SGD, Adam, AdamW, RMSprop

VECTOR = 16  # number of float32 in a 64-byte vector
SIZES = [0, 1, VECTOR - 1, VECTOR, VECTOR + 1, 4 * VECTOR + 3]
SOURCES = ["softmax_cross_entropy", "losses", "optimizers", "dropout", "embedding", "metrics", "reduce"]
both_dtypes = pytest.mark.parametrize("dtype", DTYPES, ids=str)


@pytest.fixture(scope="module", autouse=True)
def _libraries():
    """Compile the libraries of the tests, two at a time."""
    variants = [(source, ()) for source in SOURCES]
    variants += [("bias_activation", (f"-DACTIVATION={name}",)) for name in FUNCTIONS]
    reals = "-DREAL=float", "-DREAL=double"
    with ThreadPoolExecutor(2) as pool:
        waiting = [
            pool.submit(library, FOLDER / f"{source}.cpp", (real, *flags))
            for source, flags in variants
            for real in reals
        ]
        for compiled in waiting:
            compiled.result()


@both_dtypes
@pytest.mark.parametrize("name", FUNCTIONS)
def test_bias_and_activation(name, dtype):
    for rows, n in [(0, 3), (1, 1), (3, 10), (5, 64), *((2, n) for n in SIZES)]:
        cases.bias_activation(FOLDER, dtype, name, rows, n)
    cases.bias_activation(FOLDER, dtype, name, 3, 17, special=True)


@both_dtypes
@pytest.mark.parametrize("function", LIMITS, ids=repr)
def test_activations_of_infinite_huge_and_zero_arguments_are_the_limits(function, dtype):
    source, z, options = "bias_activation.cpp", points(dtype), {"ACTIVATION": function.name}
    y, part = undefined(z.shape, dtype), {"parts": [(0, 1)], "options": options}
    run(FOLDER, source, "bias_activation_forward", z, None, None, y, *z.shape, function.parameter, **part)
    assert_limits(y, values(function, dtype))
    saved = np.ascontiguousarray((y if function.saves == "output" else z)[:, :-1])
    dz = undefined(saved.shape, dtype)
    run(FOLDER, source, "activation_backward", np.ones_like(dz), saved, dz, *dz.shape, function.parameter, **part)
    assert_limits(dz, slopes(function, dtype))


@both_dtypes
def test_the_derivative_of_the_identity_needs_no_saved_array(dtype):
    cases.identity_without_saved(FOLDER, dtype)


@both_dtypes
@pytest.mark.parametrize("rows", [0, 1, 7, 128])
def test_column_sums_add_rows_in_order(rows, dtype):
    for n in (1, 3, 10, 15, 16, 17, 63, 64, 65, 129, 200):
        cases.sum_columns(FOLDER, dtype, rows, n)


KINDS = {
    "labels": {},
    "weighted labels": {"weighted": True, "class_weighted": True},
    "smooth labels": {"smoothing": 0.1},
    "weighted smooth labels": {"weighted": True, "class_weighted": True, "smoothing": 0.1},
    "distributions": {"hard": False},
    "weighted distributions": {"hard": False, "weighted": True, "class_weighted": True, "smoothing": 0.2},
}


@both_dtypes
@pytest.mark.parametrize("kind", KINDS)
def test_cross_entropy(kind, dtype):
    sizes = [
        (0, 3),
        (1, 1),
        (5, 2),
        (7, 10),
        (9, 16),
        (8, 17),
        (15, 3),
        (16, 3),
        (17, 3),
        (35, 10),
        (3, 129),
        (18, 200),
    ]
    for rows, classes in sizes:
        cases.cross_entropy(FOLDER, dtype, rows, classes, **KINDS[kind])


@both_dtypes
@pytest.mark.parametrize("classes", [5, 40])
@pytest.mark.parametrize("kind", KINDS)
def test_cross_entropy_of_nan_infinite_and_large_logits(kind, classes, dtype):
    ruled_out = np.zeros((3, classes), dtype)
    ruled_out[1, 1:] = ruled_out[2, 0] = -math.inf
    large = cases.normal((9, classes), dtype) * (np.finfo(dtype).max / 1000)
    cases.cross_entropy(FOLDER, dtype, 9, classes, **KINDS[kind], logits=large)
    if kind in ("labels", "weighted labels"):  # otherwise the loss is a finite, rounded multiple of -LOWEST
        cases.cross_entropy(FOLDER, dtype, 3, classes, **KINDS[kind], logits=ruled_out)
    for value in (math.nan, math.inf):
        bad = cases.normal((20, classes), dtype)
        bad[0, -1] = bad[7, 0] = value
        cases.cross_entropy(FOLDER, dtype, 20, classes, **KINDS[kind], logits=bad)


@both_dtypes
@pytest.mark.parametrize("classes", [5, 40])
def test_a_class_excluded_from_a_distribution_has_no_loss(classes, dtype):
    z, target = cases.normal((19, classes), dtype), np.random.default_rng(0).random((19, classes)).astype(dtype)
    z[:, 1], target[:, 1] = -math.inf, 0
    losses, dz = cases.cross_entropy_of(FOLDER, z, target)
    loss, expected = softmax_cross_entropy(z, target)
    assert np.isfinite(losses).all()
    assert_close(losses.sum(), loss, 4)
    assert_close(dz, expected, 4)


@both_dtypes
@pytest.mark.parametrize("classes", [3, 20])
@pytest.mark.parametrize("weighted", [False, True])
def test_a_label_out_of_range_is_no_class(weighted, classes, dtype):
    z, labels = cases.normal((19, classes), dtype), np.arange(19) % classes
    class_weight = np.full(classes, 0.5, dtype) if weighted else None
    bad = labels.copy()
    bad[[0, 5, 18]] = -1, classes, 2**40
    z[5, 0] = -math.inf
    losses, dz = cases.cross_entropy_of(FOLDER, z, bad, class_weight=class_weight)
    keep = bad == labels
    loss, expected = softmax_cross_entropy(z[keep], labels[keep])
    share = 1 if weighted else keep.sum() / 19
    assert_close(losses.sum(), loss * dtype.type(share), 4)
    assert_close(dz[keep], expected * dtype.type(share), 4)
    assert not losses[~keep].any()
    assert not dz[~keep].any()


@both_dtypes
@pytest.mark.parametrize("classes", [3, 20])
def test_zero_weights_give_zero_loss_and_gradient(classes, dtype):
    z, zeros, rng = cases.normal((6, classes), dtype), np.zeros(6, dtype), np.random.default_rng(0)
    for target in (rng.integers(0, classes, 6), rng.random((6, classes)).astype(dtype)):
        for smoothing in (0.0, 0.1):
            losses, dz = cases.cross_entropy_of(FOLDER, z, target, weight=zeros, smoothing=smoothing)
            assert not losses.any()
            assert not dz.any()
    for name in cases.LOSSES:
        cases.elementwise_loss(FOLDER, dtype, name, 6, classes, weight=zeros)


@both_dtypes
@pytest.mark.parametrize("name", cases.LOSSES)
def test_elementwise_losses(name, dtype):
    for rows, n in [(0, 3), (1, 1), (40, 1), (600, 1), (7, 10), (60, 10), (3, 511), (3, 512), (3, 513), (2, 1200)]:
        cases.elementwise_loss(FOLDER, dtype, name, rows, n)
        weight = np.random.default_rng(0).random(rows).astype(dtype)
        cases.elementwise_loss(FOLDER, dtype, name, rows, n, weight)
    cases.elementwise_loss(FOLDER, dtype, name, 3, 17, special=True)


@both_dtypes
def test_the_loss_of_a_confident_right_logit_keeps_its_digits(dtype):
    z = np.full((3, 1), 30, dtype)
    slope, losses = undefined(z.shape, dtype), undefined(3, dtype)
    arrays = z, np.ones_like(z), None, None, slope, losses
    run(FOLDER, "losses.cpp", "binary_cross_entropy", *arrays, 3, 1, parts=[(0, 3)])
    np.testing.assert_allclose(losses, math.exp(-30) / 3, rtol=1e-5)


@both_dtypes
def test_sums(dtype):
    for n in [*SIZES, 5000]:
        cases.total(FOLDER, dtype, n)


def test_small_numbers_are_added_to_a_large_one_in_double():
    a, total = np.ones(5000, np.float32), undefined(1, np.float32)
    a[0] = 2**24
    run(FOLDER, "reduce.cpp", "sum", a, total, 5000, parts=[(0, 1)])
    assert abs(total[0] - (2**24 + 4999)) <= 1


@both_dtypes
@pytest.mark.parametrize("classes", [1, 2, 10, 16, 17, 130])
def test_correct_answers_match_numpys_argmax(classes, dtype):
    cases.right_answers(FOLDER, dtype, 50, classes)


RULES = {
    "sgd": ("sgd", functools.partial(SGD, 0.1)),
    "sgd with decay": ("sgd", functools.partial(SGD, 0.1, weight_decay=0.01)),
    "sgd with momentum": ("sgd", functools.partial(SGD, 0.1, momentum=0.9, weight_decay=0.01)),
    "sgd with nesterov": ("sgd", functools.partial(SGD, 0.1, momentum=0.9, nesterov=True)),
    "adam": ("adam", Adam),
    "adam with decay": ("adam", functools.partial(Adam, weight_decay=0.01)),
    "adam without beta1": ("adam", functools.partial(Adam, betas=(0.0, 0.9))),
    "adamw": ("adam", functools.partial(AdamW, weight_decay=0.1)),
    "rmsprop": ("rmsprop", functools.partial(RMSprop, weight_decay=0.01)),
    "rmsprop with momentum": ("rmsprop", functools.partial(RMSprop, momentum=0.9)),
}


@both_dtypes
@pytest.mark.parametrize("rule", RULES)
def test_optimizers(rule, dtype):
    name, make = RULES[rule]
    for size in [*SIZES, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7]:
        cases.optimizer_step(FOLDER, dtype, name, make(), size)
    for clip in ({"clip_norm": 0.5}, {"clip_norm": 1e6}, {"clip_value": 0.3}, {"clip_norm": 0.5, "clip_value": 0.3}):
        for size in (1, BLOCK + 1):
            cases.optimizer_step(FOLDER, dtype, name, make(**clip), size)


@both_dtypes
@pytest.mark.parametrize("size", [1, 7, 8, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
def test_the_moving_average_of_the_parameters(size, dtype):
    cases.average(FOLDER, dtype, size)


@both_dtypes
@pytest.mark.parametrize("size", [1, 7, 8, BLOCK - 1, BLOCK, 3 * BLOCK + 7])
def test_the_weighted_sum_of_gradients(size, dtype):
    cases.gradient_sum(FOLDER, dtype, size)


@both_dtypes
def test_steps_outside_the_learning_rates_use_the_first_or_last(dtype):
    for done in (0, 3, 5, 6, 100):
        cases.optimizer_step(FOLDER, dtype, "sgd", SGD(0.1), 5, done)


@both_dtypes
@pytest.mark.parametrize("clip_norm", [None, 1.0])
@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
def test_a_gradient_that_is_not_finite_changes_nothing(value, clip_norm, dtype):
    size = 2 * BLOCK + 5
    for name, make in (RULES["adam"], RULES["sgd with momentum"], RULES["rmsprop with momentum"]):
        for place in (0, BLOCK - 1, BLOCK, size - 1):
            state = cases.State(make(clip_norm=clip_norm), dtype, size)
            state.g[place] = value
            before = [a.tobytes() for a in (state.p, state.g, *state.slots)]
            assert [a.tobytes() for a in state.step(FOLDER, name)] == before
            assert state.progress.tolist() == [5, 3, 5]
            state.step(FOLDER, name)
            state.g[place] = 1
            state.step(FOLDER, name)
            assert state.progress.tolist() == [7, 3, 5]
            assert state.p.tobytes() != before[0]


@both_dtypes
def test_a_gradient_that_is_huge_but_finite_is_applied(dtype):
    clip_norms = (None, 1.0) if dtype == np.float32 else (None,)  # squares of doubles may overflow, and so may the norm
    for clip_norm in clip_norms:
        state = cases.State(SGD(0.1, clip_norm=clip_norm), dtype, BLOCK + 3)
        state.g[:] = np.finfo(dtype).max / 16
        expected = state.reference()
        for a, b in zip(state.step(FOLDER, "sgd"), expected, strict=True):
            assert_close(a, b, 8)
        assert state.progress.tolist() == [5, 3, 0]


def test_values_are_clipped_but_not_nan():
    g = np.array([-3, -1, 0, 0.5, 2, math.nan, math.inf, -math.inf], np.float32)
    run(FOLDER, "optimizers.cpp", "clip_value", g, g.size, 1, 1.0, parts=[(0, 1)])
    np.testing.assert_array_equal(g, [-1, -1, 0, 0.5, 1, math.nan, 1, -1])


@both_dtypes
@pytest.mark.parametrize(
    ("rows", "n", "first_row"),
    [(0, 3, 0), (1, 1, 0), (1, 1, 7), (3, 8, 0), (5, 16, 3), (7, 5, 11), (40, 64, 2), (9, 129, 5), (3, 1027, 1)],
)
def test_dropout_masks_match_uniform_bit_for_bit(rows, n, first_row, dtype):
    for p in (None, 0.3, 0.0):
        cases.dropout(FOLDER, dtype, rows, n, first_row, p)


@both_dtypes
def test_dropout_far_into_a_large_set(dtype):
    cases.dropout(FOLDER, dtype, 4, 7, 2**34 + 1)


@both_dtypes
@pytest.mark.parametrize("numbers", [0, 1, 16])
@pytest.mark.parametrize("rows", [0, 1, 5, 33])
def test_entity_embedding(rows, numbers, dtype):
    cases.entity_embedding(FOLDER, dtype, rows, numbers)


@pytest.mark.parametrize("widths", [(1, 0, 0), (3, 2, 0), (16, 0, 4), (64, 8, 4)])
@pytest.mark.parametrize("rows", [0, 1, 5, 18])
def test_gather(rows, widths):
    cases.gather(FOLDER, rows, widths)


@pytest.mark.parametrize("width", [1, 5, 64])
@pytest.mark.parametrize("rows", [0, 1, 5, 18])
@pytest.mark.parametrize(
    ("source", "dtype"),
    [*((kind, "float32") for kind in ("uint8", "int16", "uint64", "float32", "float64")), ("uint8", "float64")],
)
def test_features_are_converted_as_on_the_host(rows, width, source, dtype):
    cases.gather_features(FOLDER, rows, width, np.dtype(source), np.dtype(dtype))


@both_dtypes
@pytest.mark.parametrize(("m", "n", "k"), [(0, 3, 2), (3, 0, 2), (3, 2, 0), (1, 1, 1), (7, 5, 3), (33, 17, 65)])
@pytest.mark.skipif(find_blas() is None, reason="no BLAS library that can be called")
def test_products(m, n, k, dtype):
    cases.products(FOLDER, dtype, m, n, k)


def test_a_part_of_the_rows_does_not_change_the_others():
    z, out = cases.normal((5, 17), np.dtype(np.float32)), undefined((5, 17), np.float32)
    options = {"ACTIVATION": "relu"}
    arrays = z, None, None, out, 5, 17, 0.0
    run(FOLDER, "bias_activation.cpp", "bias_activation_forward", *arrays, parts=[(1, 3)], options=options)
    assert np.isnan(out[[0, 3, 4]]).all()
    assert not np.isnan(out[1:3]).any()
