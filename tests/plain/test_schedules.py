import inspect
import json
import math
import re
from dataclasses import dataclass

import numpy as np
import pytest

from gpunet.errors import ArgumentError
from gpunet.registry import register
from gpunet.schedules import (
    ConstantLR,
    CosineLR,
    CyclicCosineLR,
    LinearWarmup,
    ReduceLROnPlateau,
    Schedule,
    StepLR,
    as_schedule,
    schedule_from_config,
)


@register
@dataclass
class HalvingLR(Schedule):
    """A user's own schedule."""

    lr: float

    def __call__(self, step):
        return self.lr / 2**step


SCHEDULES = [
    ConstantLR(0.1),
    StepLR(0.1, step_size=2, gamma=0.5),
    CosineLR(0.1, total_steps=4, min_lr=0.02),
    CyclicCosineLR(0.1, total_steps=6, cycles=2),
    ReduceLROnPlateau(0.1, factor=0.5, patience=1, min_lr=0.01, threshold=0.1),
    LinearWarmup(0.1, warmup_steps=3),
    LinearWarmup(ReduceLROnPlateau(0.1, patience=0), warmup_steps=3),
    HalvingLR(0.1),
]


def rates(schedule, steps):
    return [schedule(step) for step in range(steps)]


def observed(schedule, values):
    """The learning rate after each observed value."""
    return [(schedule.observe(value), schedule(0))[1] for value in values]


def test_a_constant_rate_does_not_change():
    assert rates(ConstantLR(0.3), 3) == [0.3, 0.3, 0.3]


def test_step_lr_is_reduced_every_step_size_steps():
    assert rates(StepLR(0.4, step_size=2), 5) == pytest.approx([0.4, 0.4, 0.04, 0.04, 0.004])
    assert rates(StepLR(0.4, step_size=1, gamma=0.5), 4) == pytest.approx([0.4, 0.2, 0.1, 0.05])


def test_cosine_lr_falls_along_half_a_cosine():
    half = math.sqrt(0.5) / 2  # cos(45 degrees) / 2
    expected = [1.0, 0.5 + half, 0.5, 0.5 - half, 0.0]
    assert rates(CosineLR(1.0, total_steps=4), 5) == pytest.approx(expected)
    assert rates(CosineLR(1.2, total_steps=4, min_lr=0.2), 5) == pytest.approx([0.2 + x for x in expected])


def test_cosine_lr_does_not_rise_again_after_its_end():
    schedule = CosineLR(1.0, total_steps=4, min_lr=0.1)
    assert [schedule(5), schedule(8), schedule(10**9)] == [0.1, 0.1, 0.1]


def test_the_cycles_of_a_cyclic_cosine_double_in_length():
    schedule = CyclicCosineLR(0.4, total_steps=150, cycles=4)
    assert [schedule(step) for step in (0, 10, 30, 70, 150, 10**9)] == pytest.approx([0] * 6, abs=1e-15)
    peaks = [max(range(*ends), key=schedule) for ends in [(0, 10), (10, 30), (30, 70), (70, 150)]]
    assert peaks == [4, 18, 47, 103]  # 10 * (sqrt(2) * 2**k - 1)
    assert [schedule(step) for step in peaks] == pytest.approx([0.4] * 4, rel=0.01)


def test_warmup_rises_to_the_rate_and_then_starts_the_schedule():
    assert rates(LinearWarmup(0.4, warmup_steps=4), 6) == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.4, 0.4])
    warm = LinearWarmup(StepLR(0.4, step_size=2), warmup_steps=2)
    assert rates(warm, 6) == pytest.approx([0.2, 0.4, 0.4, 0.4, 0.04, 0.04])


def test_plateau_reduces_after_more_than_patience_bad_epochs():
    values = [1.0, 0.9, 0.9, 0.9, 0.9, 0.8, 0.8, 0.8, 0.8, 0.8, 0.8]
    expected = [1.0, 1.0, 1.0, 1.0, 0.1, 0.1, 0.1, 0.1, 0.01, 0.01, 0.01]
    assert observed(ReduceLROnPlateau(1.0, patience=2), values) == pytest.approx(expected)


def test_plateau_defaults_are_those_of_pytorch():
    falling_too_slowly = [1.0 - 0.9e-4 * (epoch > 0) for epoch in range(12)]
    assert observed(ReduceLROnPlateau(1.0), falling_too_slowly) == pytest.approx([1.0] * 11 + [0.1])


def test_plateau_counts_only_improvements_beyond_the_relative_threshold():
    assert observed(ReduceLROnPlateau(1.0, patience=0, threshold=0.1), [10.0, 9.0]) == pytest.approx([1.0, 0.1])
    assert observed(ReduceLROnPlateau(1.0, patience=0, threshold=0.1), [10.0, 8.9]) == [1.0, 1.0]


def test_plateau_stops_at_min_lr_and_skips_tiny_reductions():
    assert observed(ReduceLROnPlateau(1.0, patience=0, min_lr=0.5), [1.0] * 4) == [1.0, 0.5, 0.5, 0.5]
    assert observed(ReduceLROnPlateau(1e-8, patience=0), [1.0] * 3) == [1e-8, 1e-8, 1e-8]


def test_plateau_counts_nan_as_a_bad_epoch():
    assert observed(ReduceLROnPlateau(1.0, patience=1), [math.nan, math.nan, 5.0, 4.0]) == pytest.approx(
        [1, 0.1, 0.1, 0.1]
    )


@pytest.mark.parametrize("seen", [[], [3.0, math.nan, 2.0], [1.0] * 7])
@pytest.mark.parametrize("schedule", SCHEDULES, ids=repr)
def test_a_schedule_rebuilt_from_json_continues(schedule, seen):
    def rebuild(state):
        copy = schedule_from_config(json.loads(json.dumps(schedule.config(), allow_nan=False)))
        copy.restore(json.loads(json.dumps(state, allow_nan=False)))
        return copy

    original = rebuild(schedule.state())
    for value in seen:
        original.observe(value)
    copy = rebuild(original.state())
    assert copy == original
    assert rates(copy, 8) == rates(original, 8)
    assert observed(copy, [1.5] * 5) == observed(original, [1.5] * 5)


def test_warmup_passes_observed_values_to_its_schedule():
    assert observed(LinearWarmup(ReduceLROnPlateau(1.0, patience=0), 1), [1.0, 1.0]) == pytest.approx([1.0, 0.1])


def test_numpy_numbers_are_stored_as_plain_ones():
    schedule = StepLR(np.float32(0.5), np.int64(3))
    assert json.dumps(schedule.config()) == '{"type": "StepLR", "lr": 0.5, "step_size": 3, "gamma": 0.1}'


def test_a_number_becomes_a_constant_schedule_and_a_schedule_stays_itself():
    assert as_schedule(0.5) == ConstantLR(0.5)
    schedule = StepLR(0.1, 2)
    assert as_schedule(schedule) is schedule


RATES = [-0.1, math.nan, math.inf, "0.1", None]
COUNTS = [0, -1, 1.5, math.nan, "3"]
BAD = [
    *[("lr", make, value) for value in RATES for make in (ConstantLR, as_schedule, lambda v: LinearWarmup(v, 2))],
    *[("lr", lambda v: StepLR(v, 2), value) for value in RATES],
    *[("lr", lambda v: CosineLR(v, 2), value) for value in RATES],
    *[("lr", ReduceLROnPlateau, value) for value in RATES],
    *[("step_size", lambda v: StepLR(0.1, v), value) for value in COUNTS],
    *[("gamma", lambda v: StepLR(0.1, 2, v), value) for value in (0, *RATES) if value != "0.1"],
    *[("total_steps", lambda v: CosineLR(0.1, v), value) for value in COUNTS],
    *[("cycles", lambda v: CyclicCosineLR(0.1, 9, v), value) for value in COUNTS],
    *[("min_lr", lambda v: CosineLR(0.1, 2, v), value) for value in (-0.1, 0.2, math.nan)],
    *[("warmup_steps", lambda v: LinearWarmup(0.1, v), value) for value in COUNTS],
    *[("factor", lambda v: ReduceLROnPlateau(0.1, factor=v), value) for value in (0, 1, -1, math.nan)],
    *[("patience", lambda v: ReduceLROnPlateau(0.1, patience=v), value) for value in (-1, 0.5)],
    *[("min_lr", lambda v: ReduceLROnPlateau(0.1, min_lr=v), value) for value in (-0.1, 0.2, math.nan)],
    *[("threshold", lambda v: ReduceLROnPlateau(0.1, threshold=v), value) for value in (-0.1, 1.1, math.nan)],
]


@pytest.mark.parametrize(("name", "make", "value"), BAD)
def test_an_invalid_argument_is_named(name, make, value):
    with pytest.raises(ArgumentError, match=f"^{name} must .* got {value!r}"):
        make(value)


@pytest.mark.parametrize("make", [ConstantLR, lambda lr: StepLR(lr, 2), lambda lr: CosineLR(lr, 2), ReduceLROnPlateau,
                                  lambda lr: LinearWarmup(lr, 2)])  # fmt: skip
def test_a_learning_rate_of_zero_is_legal_and_stays_zero(make):
    assert rates(make(0), 4) == [0, 0, 0, 0]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"type": "NoLR", "lr": 0.1}, "unknown schedule 'NoLR'; import the module that registers it with @gn.register"),
        ({"type": "MSELoss", "lr": 0.1}, "'MSELoss' must be a class derived from Schedule, got"),
        ({"lr": 0.1}, "unknown schedule None"),
        ({"type": "ConstantLR", "rate": 0.1}, "does not match ConstantLR"),
        ({"type": "ConstantLR", "lr": -1}, "lr must lie in .*-1"),
    ],
)
def test_a_foreign_config_is_refused(config, message):
    with pytest.raises(ArgumentError, match=message):
        schedule_from_config(config)


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("__call__", lambda self: 0.1, "(self, step)"),
        ("observe", lambda self: None, "(self, value)"),
    ],
)
def test_a_schedule_without_the_parameter_of_its_calls_is_refused_at_class_definition(name, method, expected):
    said = f"Own.{name} must take {expected}, as in gpunet/optimizers/README.md, got {inspect.signature(method)}."
    with pytest.raises(ArgumentError, match=f"^{re.escape(said)}$"):
        type("Own", (Schedule,), {name: method})
