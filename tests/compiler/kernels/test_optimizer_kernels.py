import math

import numpy as np
import pytest
from compiler.kernels.checked import DTYPES, run, uninitialized

from gpunet.cuda import Kernel
from gpunet.optimizers import SGD, Adam, AdamW, RMSprop

SIZE = 4099  # more than the grid takes at once, and not a multiple of a vector
KERNELS = {name: Kernel("optimizers.cu", name) for name in ("sgd", "adam", "rmsprop", "clip_value")}
BEGIN_STEP = Kernel("optimizers.cu", "begin_step")


def launch(optimizer, p, g, slots, progress, rates=None, max_norm=0.0, blocks=3):
    """Run the two kernels of a step."""
    squares, rate = uninitialized(blocks, np.dtype(np.float64)), uninitialized(1, g.dtype)
    rates = np.full(1, optimizer.lr, p.dtype) if rates is None else rates
    run(BEGIN_STEP, (blocks,), (256,), g, squares, rates, rate, progress, g.size, rates.size, 1, np.inf)
    state, size = (squares, rate, progress, blocks, max_norm), p.size
    if isinstance(optimizer, SGD):
        scalars = (size, optimizer.momentum, optimizer.weight_decay, optimizer.nesterov)
        run(KERNELS["sgd"], (2,), (256,), *state, p, g, slots[0] if slots else None, *scalars)
    elif isinstance(optimizer, Adam):
        b1, b2 = optimizer.betas
        with np.errstate(divide="ignore"):
            logs = np.log(b1), np.log(b2)
        scalars = (size, b1, b2, *logs, 1 - b1, 1 - b2, optimizer.eps, optimizer.weight_decay,
                   isinstance(optimizer, AdamW))  # fmt: skip
        run(KERNELS["adam"], (2,), (256,), *state, p, g, *slots, *scalars)
    else:
        a = optimizer.alpha
        scalars = (size, a, 1 - a, optimizer.eps, optimizer.weight_decay, optimizer.momentum)
        run(KERNELS["rmsprop"], (2,), (256,), *state, p, g, slots[0], slots[1] if len(slots) > 1 else None, *scalars)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(
    "optimizer",
    [
        SGD(0.1),
        SGD(0.1, momentum=0.9, weight_decay=0.01),
        SGD(0.1, momentum=0.9, nesterov=True),
        Adam(0.01),
        Adam(0.01, betas=(0.0, 0.99), weight_decay=0.1),
        AdamW(0.01, weight_decay=0.1),
        RMSprop(0.01),
        RMSprop(0.01, momentum=0.8, weight_decay=0.1),
    ],
    ids=lambda o: f"{type(o).__name__}-{o.config()}"[:60],
)
def test_five_steps_match_numpy(optimizer, dtype):
    rng = np.random.default_rng(0)
    p = rng.standard_normal(SIZE).astype(dtype)
    slots = [np.zeros(SIZE, dtype) for _ in optimizer.slot_names]
    expected, expected_slots = p.copy(), [slot.copy() for slot in slots]
    rates, progress = np.full(3, optimizer.lr, dtype), np.zeros(3, np.int64)
    for step in range(5):
        g = rng.standard_normal(SIZE).astype(dtype)
        launch(optimizer, p, g, slots, progress, rates)
        numbers = np.array(optimizer.step_numbers(optimizer.lr, step + 1), dtype)
        optimizer.update_block(numbers, expected, g, np.empty_like(g), np.empty_like(g), *expected_slots)
    tolerance = 100 * np.finfo(dtype).eps
    np.testing.assert_allclose(p, expected, rtol=tolerance, atol=tolerance)
    for slot, expected_slot in zip(slots, expected_slots, strict=True):
        np.testing.assert_allclose(slot, expected_slot, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("optimizer", [SGD(0.1, weight_decay=0.1), RMSprop(0.1, weight_decay=0.1)], ids=repr)
def test_a_non_finite_parameter_does_not_affect_others(optimizer):
    p, g = np.ones(SIZE, np.float32), np.zeros(SIZE, np.float32)
    p[:4] = np.inf
    launch(optimizer, p, g, [np.zeros(SIZE, np.float32) for _ in optimizer.slot_names], np.zeros(3, np.int64))
    assert np.isfinite(p[4:]).all()


def test_adams_bias_correction_is_accurate_in_the_first_steps():
    for steps in (1, 2, 1000, 10**6):
        p, g = np.zeros(4, np.float32), np.ones(4, np.float32)
        m, v = np.zeros(4, np.float32), np.zeros(4, np.float32)
        launch(Adam(1.0), p, g, (m, v), np.array([steps - 1, 0, 0]))
        a = 0.1 / (1 - 0.9**steps)
        r = math.sqrt(0.001 / (1 - 0.999**steps))
        np.testing.assert_allclose(p, -a / r / (1 + 1e-8 / r), rtol=5e-7)


def test_a_step_is_counted_and_its_rate_looked_up():
    rates = np.array([0.5, 0.25, 0.125], np.float32)
    p, g, progress, seen = np.zeros(5, np.float32), np.ones(5, np.float32), np.array([7, 7, 0]), []
    for first in (7, 7, 7, 7, 2**62):  # the last is so far ahead that the first rate holds
        progress[1] = first
        before = p.copy()
        launch(SGD(1.0), p, g, (), progress, rates)
        seen.append(float((before - p)[0]))
    assert seen == [0.5, 0.25, 0.125, 0.125, 0.5]
    assert progress.tolist() == [12, 2**62, 0]


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1, 255, 256, 4099])
@pytest.mark.parametrize("max_norm", [0, 0.5, 1e6])
def test_a_step_is_clipped_to_the_norm(size, max_norm, dtype):
    g = np.random.default_rng(0).standard_normal(size).astype(dtype)
    factor = min(max_norm / (np.linalg.norm(g) + 1e-6), 1) if max_norm else 1
    p, scaled = np.zeros(size, dtype), factor * g
    launch(SGD(1.0), p, g, (), np.zeros(3, np.int64), max_norm=max_norm)
    np.testing.assert_allclose(p, -scaled, rtol=20 * np.finfo(dtype).eps)
    np.testing.assert_array_equal(g, -p)  # in place


def test_the_norm_is_that_of_more_blocks_than_a_block_has_threads():
    p, g, rate = np.zeros(9, np.float32), np.ones(9, np.float32), np.ones(1, np.float32)
    state = np.ones(300), rate, np.array([1, 0, 0]), 300, 1.0
    run(KERNELS["sgd"], (1,), (256,), *state, p, g, None, 9, 0.0, 0.0, False)
    np.testing.assert_allclose(p, -1 / np.sqrt(300), rtol=1e-5)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("place", [0, SIZE // 2, SIZE - 1])
def test_a_non_finite_gradient_is_not_applied_and_the_first_such_step_is_recorded(fault, place):
    g, progress = np.ones(SIZE, np.float32), np.zeros(3, np.int64)
    p, v = np.ones(SIZE, np.float32), np.ones(SIZE, np.float32)
    for step in range(4):
        g[place] = 1 if step == 0 else fault
        before = p.copy(), v.copy()
        launch(SGD(1.0, momentum=0.9), p, g, [v], progress)
        assert [(a == b).all() for a, b in zip((p, v), before, strict=True)] == [step > 0] * 2
    assert progress.tolist() == [4, 0, 2]


def test_a_huge_gradient_with_overflowing_squares_is_applied():
    p, g = np.zeros(9, np.float32), np.full(9, 1e30, np.float32)
    launch(SGD(1.0), p, g, (), np.zeros(3, np.int64))
    assert (p == -g).all()


@pytest.mark.parametrize("size", [9, SIZE])
@pytest.mark.parametrize("huge", [1, 9])
def test_a_huge_gradient_with_overflowing_squares_is_clipped(size, huge):
    p, g = np.zeros(size, np.float32), np.ones(size, np.float32)
    g[-huge:] = 1e20
    expected = g / np.linalg.norm(g.astype(np.float64))
    progress = np.zeros(3, np.int64)
    launch(SGD(1.0), p, g, (), progress, max_norm=1.0)
    np.testing.assert_allclose(p, -expected, rtol=1e-6)
    assert progress.tolist() == [1, 0, 0]


@pytest.mark.parametrize("max_norm", [0.0, 1.0])
def test_squares_that_overflow_double_are_not_clipped_but_applied_without_a_limit(max_norm):
    p, g, progress = np.zeros(9), np.full(9, 1e200), np.zeros(3, np.int64)
    launch(SGD(1.0), p, g, (), progress, max_norm=max_norm)
    np.testing.assert_array_equal(p, 0 if max_norm else -g)
    assert progress[2] == (max_norm > 0)


@pytest.mark.parametrize("fault", [np.nan, np.inf, -np.inf])
def test_a_non_finite_element_among_huge_ones_is_found(fault):
    p, g, progress = np.zeros(SIZE, np.float32), np.full(SIZE, 1e20, np.float32), np.zeros(3, np.int64)
    g[SIZE // 2] = fault
    for max_norm in (0.0, 1.0):
        launch(SGD(1.0), p, g, (), progress, max_norm=max_norm)
    assert (p == 0).all()
    assert progress.tolist() == [2, 0, 1]


def test_the_gradient_is_clipped_to_a_value_and_nan_stays():
    g = np.array([-3, -0.5, 0, 0.5, 3, np.nan], np.float32)
    run(KERNELS["clip_value"], (1,), (256,), g, 6, 1.0)
    np.testing.assert_array_equal(g, [-1, -0.5, 0, 0.5, 1, np.nan])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("size", [1, 3, 4, 5, SIZE])
def test_the_average_starts_from_the_parameters_and_skips_steps_that_are_not_applied(size, dtype):
    rng, average = np.random.default_rng(size), Kernel("optimizers.cu", "average")
    mean, progress, rate = np.full(size, np.nan, dtype), np.array([1, 0, 0]), np.ones(1, dtype)
    expected = None
    for squares in (np.nan, 1.0, 2.0, np.nan, 3.0):
        p = rng.standard_normal(size).astype(dtype)
        run(average, (2,), (256,), np.array([1, squares]), rate, progress, 2, 0.0, p, mean, size, 0.25)
        if squares == squares:
            expected = p if expected is None else expected + dtype.type(0.25) * (p - expected)
        np.testing.assert_allclose(mean, np.full(size, np.nan) if expected is None else expected, rtol=1e-5, atol=1e-6)
