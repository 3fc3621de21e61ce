"""Scaled dot-product attention: the formula, its gradients, masks, and errors."""

import itertools

import numpy as np
import pytest
from gradcheck import directional_error
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import DTypeError, ShapeError
from gpunet.ops import scaled_dot_product_attention, scaled_dot_product_attention_backward

SHAPES = [  # rows, heads, queries, keys, features, features of a value
    (2, 3, 5, 7, 4, 6),
    (1, 1, 1, 1, 1, 1),
    (3, 2, 6, 6, 8, 8),
    (2, 1, 9, 4, 5, 3),
]
KINDS = ["none", "boolean", "keys", "added", "ruling out"]
TOLERANCE = {"float32": 1e-5, "float64": 1e-12}


def problem(shape, dtype="float64"):
    """Return q, k, v and a gradient of the output."""
    rows, heads, queries, keys, n, m = shape
    rng = np.random.default_rng(queries)
    sizes = (queries, n), (keys, n), (keys, m), (queries, m)
    return [rng.standard_normal((rows, heads, *size)).astype(dtype) for size in sizes]


def mask_of(kind, shape, dtype="float64"):
    rows, heads, queries, keys = shape[:4]
    rng = np.random.default_rng(1)
    return {
        "none": None,
        "boolean": rng.random((queries, keys)) < 0.5,
        "keys": rng.random((rows, 1, 1, keys)) < 0.5,
        "added": rng.standard_normal((rows, heads, queries, keys)).astype(dtype),
        "ruling out": np.where(rng.random((heads, queries, 1)) < 0.5, -np.inf, 0).astype(dtype),
    }[kind]


def attend(q, k, v, dy, mask=None, causal=False, tape=None):
    """Return the output, the weights and the gradients of q, k and v."""
    weights = np.empty((*q.shape[:-1], k.shape[-2]), q.dtype)
    y = scaled_dot_product_attention(q, k, v, mask, causal, weights=weights, tape=tape)
    return y, weights, *scaled_dot_product_attention_backward(dy, q, k, v, weights, tape=tape)


def one_by_one(q, k, v, dy, mask, causal):
    """Return what `attend` does, query by query in float64, the gradients by the Jacobian of the softmax."""
    q, k, v, dy = (a.astype(float) for a in (q, k, v, dy))
    scores_shape = (*q.shape[:-1], k.shape[-2])
    y, weights, dq, dk, dv = np.zeros_like(dy), np.zeros(scores_shape), *map(np.zeros_like, (q, k, v))
    mask = np.broadcast_to(True if mask is None else mask, scores_shape)
    for row, head, i in itertools.product(*map(range, q.shape[:3])):
        own = mask[row, head, i]
        added = np.zeros(len(own)) if own.dtype == bool else own
        seen = [j for j in range(len(own)) if (own[j] if own.dtype == bool else own[j] > -np.inf)]
        seen = [j for j in seen if not causal or j <= i]
        if not seen:
            continue
        keys, values, root = k[row, head, seen], v[row, head, seen], np.sqrt(q.shape[-1])
        e = np.exp(keys @ q[row, head, i] / root + added[seen])
        w = e / e.sum()
        y[row, head, i] = w @ values
        weights[row, head, i, seen] = w
        ds = (np.diag(w) - np.outer(w, w)) @ values @ dy[row, head, i] / root
        dq[row, head, i] = ds @ keys
        dk[row, head, seen] += np.outer(ds, q[row, head, i])
        dv[row, head, seen] += np.outer(w, dy[row, head, i])
    return y, weights, dq, dk, dv


def test_attention_over_two_keys_computed_by_hand():
    q = np.array([[2.0, 0.0, 0.0, 0.0]])
    k = np.array([[np.log(3), 0, 0, 0], [0, 5, 0, 0]])
    v = np.array([[10.0, 0.0], [0.0, 20.0]])
    weights = np.empty((1, 2))
    y = scaled_dot_product_attention(q, k, v, weights=weights)
    # the scores are 2·ln 3 / √4 = ln 3 and 0; their exponentials 3 and 1
    assert_allclose(weights, [[3 / 4, 1 / 4]])
    assert_allclose(y, [[7.5, 5.0]])
    dq, dk, dv = scaled_dot_product_attention_backward(np.array([[1.0, 0.0]]), q, k, v, weights)
    # dw = (10, 0), its weighted mean 7.5: ds = (3/4 · 2.5, 1/4 · -7.5) / √4 = (15/16, -15/16)
    assert_allclose(dv, [[3 / 4, 0], [1 / 4, 0]])
    assert_allclose(dq, [[15 / 16 * np.log(3), -75 / 16, 0, 0]])
    assert_allclose(dk, [[15 / 8, 0, 0, 0], [-15 / 8, 0, 0, 0]])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_results_and_gradients_match_the_formula_query_by_query(kind, causal, dtype):
    for shape in SHAPES:
        arrays, mask = problem(shape, dtype), mask_of(kind, shape, dtype)
        expected = one_by_one(*arrays, mask, causal)
        for tape in (None, gn.Tape()):
            for a, b in zip(attend(*arrays, mask, causal, tape), expected, strict=True):
                assert a.dtype == dtype
                assert_allclose(a, b, rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("dtype", TOLERANCE)
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_results_and_gradients_match_pytorch(kind, causal, dtype):
    torch = pytest.importorskip("torch", reason="compares with PyTorch where it is installed")
    for shape in SHAPES:
        (*inputs, dy), mask = problem(shape, dtype), mask_of(kind, shape, dtype)
        both = mask
        if causal:  # which PyTorch's takes in place of a mask only
            earlier = np.tri(*shape[2:4], dtype=bool)
            both = (
                earlier if mask is None else mask & earlier if mask.dtype == bool else np.where(earlier, mask, -np.inf)
            )
        tensors = [torch.tensor(a, requires_grad=True) for a in inputs]
        attn_mask = None if both is None else torch.tensor(both if both.dtype == bool else both.astype(dtype))
        y = torch.nn.functional.scaled_dot_product_attention(*tensors, attn_mask=attn_mask)
        y.backward(torch.tensor(dy))
        own, _, *gradients = attend(*inputs, dy, mask, causal)
        for a, b in zip((own, *gradients), (y.detach(), *(t.grad for t in tensors)), strict=True):
            assert_allclose(a, b.numpy(), rtol=TOLERANCE[dtype], atol=TOLERANCE[dtype])


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_match_finite_differences(kind, causal):
    *inputs, dy = problem(SHAPES[0])
    mask = mask_of(kind, SHAPES[0])
    gradients = attend(*inputs, dy, mask, causal)[2:]

    def value(*point):
        return float((dy * scaled_dot_product_attention(*point, mask, causal)).sum())

    assert directional_error(value, inputs, gradients) < 1e-8


@pytest.mark.parametrize("mask", [np.zeros((5, 7), bool), np.full((1, 7), -np.inf), np.zeros((2, 1, 1, 7), bool)])
def test_a_mask_that_hides_every_key_gives_zeros(mask):
    y, weights, *gradients = attend(*problem(SHAPES[0]), mask)
    for a in (y, weights, *gradients):
        assert_array_equal(a, 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_keys_masked_with_the_lowest_number_share_a_query_that_has_no_others(dtype):
    mask = np.full((5, 7), np.finfo(dtype).min, dtype)
    mask[1:, :2] = 0
    q, k, v, dy = problem(SHAPES[0], dtype)
    y, weights, *_ = attend(q, k, v, dy, mask)
    assert_allclose(weights[:, :, 0], 1 / 7, rtol=1e-6)
    assert_allclose(y[:, :, 1:], attend(q, k[:, :, :2], v[:, :, :2], dy)[0][:, :, 1:], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("queries", "keys"), [(0, 3), (3, 0), (0, 0)])
def test_no_queries_give_an_empty_result_and_no_keys_give_zeros(queries, keys):
    for mask in (None, np.ones((queries, keys), bool)):
        y, _, dq, dk, dv = attend(*problem((2, 2, queries, keys, 4, 5)), mask, causal=True)
        assert (y.shape, dq.shape) == ((2, 2, queries, 5), (2, 2, queries, 4))
        assert (dk.shape, dv.shape) == ((2, 2, keys, 4), (2, 2, keys, 5))
        for a in (y, dq, dk, dv):
            assert_array_equal(a, 0)


@pytest.mark.parametrize("dtype", TOLERANCE)
def test_scores_of_any_size_do_not_overflow(dtype):
    q, k = np.array([[1e10], [-1e10]], dtype), np.array([[1e10], [-1e10]], dtype)
    y = scaled_dot_product_attention(q, k, np.array([[1], [2]], dtype))
    assert_array_equal(y, [[1], [2]])


def test_later_keys_have_no_effect_in_causal_attention():
    q, k, v, dy = problem(SHAPES[2])
    before = attend(q, k, v, dy, causal=True)[0]
    k[:, :, 4:] += 1
    v[:, :, 4:] -= 1
    after = attend(q, k, v, dy, causal=True)[0]
    assert_array_equal(after[:, :, :4], before[:, :, :4])
    assert (after[:, :, 4:] != before[:, :, 4:]).all()


@pytest.mark.parametrize("axes", [2, 3])
def test_axes_of_rows_and_heads_are_optional(axes):
    arrays = problem(SHAPES[0])
    expected = attend(*arrays)
    inner = [a[(0,) * (4 - axes)] for a in arrays]
    for a, b in zip(attend(*inner), expected, strict=True):
        assert_allclose(a, b[(0,) * (4 - axes)], rtol=1e-12)


def test_results_are_written_to_given_arrays_of_any_memory_layout():
    arrays = problem(SHAPES[0])
    expected = attend(*arrays)
    q, k, v, dy = (a.swapaxes(1, 2).copy().swapaxes(1, 2) for a in arrays)
    outs = [np.empty(a.swapaxes(1, 2).shape).swapaxes(1, 2) for a in (dy, q, k, v)]
    weights = np.empty(expected[1].shape)
    assert scaled_dot_product_attention(q, k, v, out=outs[0], weights=weights) is outs[0]
    dq, dk, dv = outs[1:]
    scaled_dot_product_attention_backward(dy, q, k, v, weights, dq=dq, dk=dk, dv=dv)
    for a, b in zip((outs[0], weights, dq, dk, dv), expected, strict=True):
        assert_allclose(a, b, rtol=1e-12, atol=1e-14)


Q, K, V, DY = problem(SHAPES[0])


@pytest.mark.parametrize(
    ("call", "error", "message"),
    [
        (lambda: scaled_dot_product_attention(Q, K[..., :3], V), ShapeError, r"k \(2, 3, 7, 3\) .* don't fit"),
        (lambda: scaled_dot_product_attention(Q, K, V[:, :, :6]), ShapeError, r"v \(2, 3, 6, 6\) don't fit"),
        (lambda: scaled_dot_product_attention(Q, K[:1], V), ShapeError, r"expected \(rows, heads, L, E\)"),
        (lambda: scaled_dot_product_attention(Q[0], K, V), ShapeError, r"q \(3, 5, 4\)"),
        (lambda: scaled_dot_product_attention(Q[..., :0], K[..., :0], V), ShapeError, "at least one feature"),
        (lambda: scaled_dot_product_attention(Q[None], K[None], V[None]), ShapeError, r"q \(1, 2, 3, 5, 4\)"),
        (lambda: scaled_dot_product_attention(Q, K, V, np.ones((7, 5), bool)), ShapeError, r"mask of shape \(7, 5\)"),
        (lambda: scaled_dot_product_attention(Q, K, V, np.ones((1, 2, 3, 5, 7), bool)), ShapeError, "broadcast"),
        (lambda: scaled_dot_product_attention(Q, K, V, np.ones((5, 7), int)), DTypeError, "mask is int64"),
        (lambda: scaled_dot_product_attention(Q, K, V, np.ones((5, 7), "f")), DTypeError, "float64 to be added"),
        (lambda: scaled_dot_product_attention(Q.astype("f"), K, V), DTypeError, "q is float32"),
        (lambda: scaled_dot_product_attention(Q, K, V, out=DY[:1]), ShapeError, "out has shape"),
        (lambda: scaled_dot_product_attention(Q, K, V, weights=np.ones((2, 3, 7, 5))), ShapeError, "weights has shape"),
        (
            lambda: scaled_dot_product_attention(Q, K, V, weights=np.ones((2, 3, 7, 5)).swapaxes(2, 3)),
            ShapeError,
            "weights must be C-contiguous",
        ),
        (
            lambda: scaled_dot_product_attention_backward(DY[:1], Q, K, V, np.ones((2, 3, 5, 7))),
            ShapeError,
            "dy has shape",
        ),
        (
            lambda: scaled_dot_product_attention_backward(DY, Q, K, V, np.ones((2, 3, 5, 6))),
            ShapeError,
            "weights has shape",
        ),
        (
            lambda: scaled_dot_product_attention_backward(DY, Q, K, V, np.ones((2, 3, 5, 7)), dk=Q),
            ShapeError,
            "dk has shape",
        ),
    ],
)
def test_invalid_arguments_raise(call, error, message):
    with pytest.raises(error, match=message):
        call()
