"""Softmax cross-entropy with the kernels, compared with the CPU."""

from functools import partial

import numpy as np
import pytest
from compiler.ops.simulated import DTYPES, SIM, assert_as_on_the_cpu, to_sim

from gpunet import simulator
from gpunet.ops import softmax_cross_entropy

SHAPES = [(0, 3), (1, 1), (1, 2), (7, 10), (32, 33), (33, 5), (100, 64)]


def problem(rows, classes, dtype, *, hard):
    rng = np.random.default_rng(rows)
    logits = (5 * rng.standard_normal((rows, classes))).astype(dtype)
    labels = rng.integers(0, classes, rows)
    return logits, labels if hard else rng.dirichlet(np.ones(classes), rows).astype(dtype)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("hard", [True, False], ids=["labels", "distributions"])
@pytest.mark.parametrize("by_row", [False, True])
@pytest.mark.parametrize("by_class", [False, True])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_every_kind_of_target_and_weight_matches_the_cpu(hard, by_row, by_class, smoothing, dtype):
    rng = np.random.default_rng(1)
    for rows, classes in SHAPES:
        weight = rng.random(rows).astype(dtype) if by_row else None
        class_weight = rng.random(classes).astype(dtype) if by_class else None
        op = partial(softmax_cross_entropy, label_smoothing=smoothing)
        assert_as_on_the_cpu(op, *problem(rows, classes, dtype, hard=hard), weight=weight, class_weight=class_weight)


@pytest.mark.parametrize("dtype", [np.int32, np.uint8, np.int64])
def test_labels_of_any_integer_dtype_give_the_same(dtype):
    logits, labels = problem(9, 4, DTYPES[0], hard=True)
    assert_as_on_the_cpu(softmax_cross_entropy, logits, labels.astype(dtype))


def test_a_label_that_is_out_of_range_counts_as_no_class():
    logits, labels = np.eye(3, dtype=np.float32), np.array([0, -1, 3])
    for weights in ({}, {"class_weight": logits[0] + 1}):
        with simulator.check_mode():
            given = {name: to_sim(a) for name, a in weights.items()}
            loss, gradient = softmax_cross_entropy(to_sim(logits), to_sim(labels), **given)
        expected, slope = softmax_cross_entropy(logits[:1], labels[:1], **weights)
        share = 1 if weights else 3  # a row without a class has no weight of a class
        np.testing.assert_allclose(SIM.to_host(loss), expected / share, rtol=1e-6)
        np.testing.assert_allclose(SIM.to_host(gradient), [slope[0] / share, [0] * 3, [0] * 3], atol=1e-7)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_labels_with_only_zero_class_weights_give_zero_loss_and_gradient(smoothing):
    logits, class_weight = problem(5, 3, DTYPES[0], hard=True)[0], np.array([0, 1, 1], np.float32)
    op = partial(softmax_cross_entropy, label_smoothing=smoothing)
    assert_as_on_the_cpu(op, logits, np.zeros(5, np.int64), class_weight=class_weight)
    loss, gradient = op(*map(to_sim, (logits, np.zeros(5, np.int64))), class_weight=to_sim(class_weight))
    assert float(loss) == 0
    assert not SIM.to_host(gradient).any()


@pytest.mark.parametrize("hard", [True, False], ids=["labels", "distributions"])
def test_all_zero_weights_give_zero_loss_and_gradient(hard):
    logits, target = problem(5, 3, DTYPES[0], hard=hard)
    with simulator.check_mode():
        weight = to_sim(np.zeros(5, np.float32))
        loss, gradient = softmax_cross_entropy(to_sim(logits), to_sim(target), weight=weight)
    assert float(loss) == 0
    assert not SIM.to_host(gradient).any()


def test_any_memory_layout_gives_the_same():
    logits, target = problem(6, 4, DTYPES[0], hard=False)
    expected = softmax_cross_entropy(logits, target)
    with simulator.check_mode():
        given = to_sim(logits.T.copy()).T, to_sim(np.repeat(target, 2, axis=0))[::2]
        results = softmax_cross_entropy(*given)
    for a, b in zip(expected, results, strict=True):
        np.testing.assert_allclose(SIM.to_host(b), a, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("hard", [True, False], ids=["labels", "distributions"])
def test_logits_at_each_position_of_a_row_match_the_cpu(hard):
    logits, target = problem(12, 5, DTYPES[0], hard=hard)
    weight = np.array([0.5, 1, 2], np.float32)
    at_positions = logits.reshape(3, 4, 5), target.reshape(3, 4, *target.shape[1:])
    assert_as_on_the_cpu(softmax_cross_entropy, *at_positions, weight=weight)
