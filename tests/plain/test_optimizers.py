"""The update rules: against PyTorch's documented formulas written out in float64, over several blocks of parameters."""

import inspect
import math
import re
from collections.abc import Callable, Iterable
from functools import partial

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, StateError, UnknownAttributeError
from gpunet.optimizers import BLOCK, OPTIMIZERS, Optimizer

STEPS = 6
Pairs = Iterable[tuple[np.ndarray, float]]  # the gradient and the learning rate of each step


def sgd(p: np.ndarray, steps: Pairs, momentum=0.0, nesterov=False, weight_decay=0.0) -> np.ndarray:
    velocity = None
    for gradient, lr in steps:
        g = gradient + weight_decay * p
        if momentum:
            velocity = g if velocity is None else momentum * velocity + g
            g = g + momentum * velocity if nesterov else velocity
        p = p - lr * g
    return p


def adam(p: np.ndarray, steps: Pairs, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.0, decoupled=False) -> np.ndarray:
    m = v = 0
    for t, (gradient, lr) in enumerate(steps, start=1):
        if decoupled:
            p, g = p - lr * weight_decay * p, gradient
        else:
            g = gradient + weight_decay * p
        m = betas[0] * m + (1 - betas[0]) * g
        v = betas[1] * v + (1 - betas[1]) * g**2
        p = p - lr * (m / (1 - betas[0] ** t)) / (np.sqrt(v / (1 - betas[1] ** t)) + eps)
    return p


def rmsprop(p: np.ndarray, steps: Pairs, alpha=0.99, eps=1e-8, weight_decay=0.0, momentum=0.0) -> np.ndarray:
    v = velocity = 0
    for gradient, lr in steps:
        g = gradient + weight_decay * p
        v = alpha * v + (1 - alpha) * g**2
        velocity = momentum * velocity + g / (np.sqrt(v) + eps)
        p = p - lr * velocity
    return p


adamw = partial(adam, decoupled=True, weight_decay=0.01)
RULES = [
    (gn.SGD, sgd, {}),
    (gn.SGD, sgd, {"weight_decay": 0.1}),
    (gn.SGD, sgd, {"momentum": 0.9}),
    (gn.SGD, sgd, {"momentum": 0.9, "weight_decay": 0.1}),
    (gn.SGD, sgd, {"momentum": 0.9, "nesterov": True}),
    (gn.SGD, sgd, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1}),
    (gn.Adam, adam, {}),
    (gn.Adam, adam, {"betas": (0.5, 0.9), "eps": 1e-2}),
    (gn.Adam, adam, {"betas": (0.0, 0.9), "weight_decay": 0.1}),
    (gn.AdamW, adamw, {}),
    (gn.AdamW, adamw, {"betas": (0.8, 0.99), "eps": 1e-3, "weight_decay": 0.3}),
    (gn.AdamW, adamw, {"weight_decay": 0.0}),
    (gn.RMSprop, rmsprop, {}),
    (gn.RMSprop, rmsprop, {"alpha": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    (gn.RMSprop, rmsprop, {"momentum": 0.9}),
    (gn.RMSprop, rmsprop, {"momentum": 0.9, "weight_decay": 0.1}),
]


@pytest.fixture(params=RULES, ids=lambda rule: f"{rule[0].__name__} {rule[2]}")
def rule(request) -> tuple[type[Optimizer], Callable[..., np.ndarray], dict]:
    return request.param


def build_model(dtype: str = "float64") -> gn.Sequential:
    """Return a model whose parameters fill more than one block, with gaps between some of them."""
    return gn.Sequential(gn.Linear(130, 130, rng=0), gn.Tanh(), gn.Linear(130, 3, rng=1)).to(dtype=dtype)


def flat(arrays: dict[str, np.ndarray]) -> np.ndarray:
    return np.concatenate([a.ravel() for a in arrays.values()])


def random_gradients(model: gn.Model, steps: int = STEPS) -> list[np.ndarray]:
    rng, size = np.random.default_rng(2), flat(model.parameters()).size
    return [rng.standard_normal(size) * 10.0**-k for k in range(steps)]


def do_step(model: gn.Model, optimizer: Optimizer, gradient: np.ndarray) -> None:
    start = 0
    for view in model.gradients().values():
        view[...] = gradient[start : start + view.size].reshape(view.shape)
        start += view.size
    optimizer.step()


def test_the_model_of_these_tests_fills_more_than_a_block():
    assert build_model().store.params.size > BLOCK


def test_the_rule_is_pytorchs(rule):
    kind, formula, options = rule
    model = build_model()
    gradients = random_gradients(model)
    expected = formula(flat(model.parameters()), [(g, 0.01) for g in gradients], **options)
    optimizer = kind(0.01, **options).attach(model)
    for gradient in gradients:
        do_step(model, optimizer, gradient)
    assert optimizer.steps == STEPS
    assert_allclose(flat(model.parameters()), expected, rtol=1e-11, atol=1e-13)


def test_float32_stays_close_to_float64(rule):
    kind, formula, options = rule
    model = build_model("float32")
    gradients = random_gradients(model, 3)
    expected = formula(flat(model.parameters()).astype(float), [(g, 0.01) for g in gradients], **options)
    optimizer = kind(0.01, **options).attach(model)
    for gradient in gradients:
        do_step(model, optimizer, gradient)
    assert model.store.params.dtype == np.float32
    assert_allclose(flat(model.parameters()), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    "schedule",
    [gn.StepLR(0.1, 2, 0.5), gn.LinearWarmup(gn.CosineLR(0.1, 4, 0.01), 2)],
    ids=["step", "warm-up and cosine"],
)
def test_the_learning_rate_of_a_step_is_that_of_its_schedule(rule, schedule):
    kind, formula, options = rule
    model = build_model()
    gradients = random_gradients(model)
    rates = [schedule(step) for step in range(STEPS)]
    expected = formula(flat(model.parameters()), list(zip(gradients, rates, strict=True)), **options)
    optimizer = kind(schedule, **options).attach(model)
    for gradient, rate in zip(gradients, rates, strict=True):
        assert optimizer.lr == rate
        do_step(model, optimizer, gradient)
    assert_allclose(flat(model.parameters()), expected, rtol=1e-11, atol=1e-13)


def test_a_step_does_not_change_gradients_and_keeps_gaps_zero(rule):
    kind, _, options = rule
    model = build_model()
    (gradient,) = random_gradients(model, 1)
    optimizer = kind(0.01, **options).attach(model)
    do_step(model, optimizer, gradient)
    assert_array_equal(flat(model.gradients()), gradient)
    gaps = np.ones(model.store.params.size, bool)
    for segment in model.store.segments.values():
        segment.view(gaps)[...] = False
    assert gaps.any()
    for buffer in (model.store.params, model.store.grads, *model.store.slots.values()):
        assert (buffer[gaps] == 0).all()


@pytest.mark.parametrize("norm", [0.5, 1e6])
def test_clip_norm_scales_the_gradient_down_to_a_norm(norm):
    model = build_model()
    (gradient,) = random_gradients(model, 1)
    before = flat(model.parameters())
    do_step(model, gn.SGD(1.0, clip_norm=norm).attach(model), gradient)
    expected = gradient * min(1, norm / (np.linalg.norm(gradient) + 1e-6))  # as torch.nn.utils.clip_grad_norm_
    assert_allclose(before - flat(model.parameters()), expected, rtol=1e-9, atol=1e-14)
    assert_allclose(flat(model.gradients()), expected, rtol=1e-12)


def test_a_gradient_whose_squares_overflow_is_clipped_to_the_norm():
    layer = gn.Linear(2, 1, bias=False, rng=0)
    before, layer.grads["weight"] = layer.params["weight"].copy(), [[3e20], [4e20]]
    gn.SGD(1.0, clip_norm=1.0).attach(layer).step()
    assert_allclose(before - layer.params["weight"], [[0.6], [0.8]], rtol=1e-5)


def test_clip_value_clips_each_element_before_clip_norm():
    model = build_model()
    (gradient,) = random_gradients(model, 1)
    do_step(model, gn.SGD(1.0, clip_value=0.3).attach(model), gradient)
    assert_array_equal(flat(model.gradients()), np.clip(gradient, -0.3, 0.3))
    do_step(model, gn.SGD(1.0, clip_value=0.3, clip_norm=2).attach(model), gradient)
    clipped = np.clip(gradient, -0.3, 0.3)
    assert_allclose(flat(model.gradients()), clipped * 2 / np.linalg.norm(clipped), rtol=1e-6)


def test_the_optimizers_state_is_converted_with_the_dtype(rule):
    kind, formula, options = rule
    model = build_model()
    gradients = random_gradients(model)
    expected = formula(flat(model.parameters()), [(g, 0.01) for g in gradients], **options)
    optimizer = kind(0.01, **options).attach(model)
    for step, gradient in enumerate(gradients):
        model.to(dtype="float32" if step == 3 else "float64")
        assert {slot.dtype for slot in model.store.slots.values()} <= {model.dtype}
        do_step(model, optimizer, gradient)
    assert_allclose(flat(model.parameters()), expected, rtol=1e-5, atol=1e-5)


def test_a_restored_optimizer_continues_bit_for_bit(rule):
    kind, _, options = rule
    model, twin = build_model(), build_model()
    gradients = random_gradients(model)
    first = kind(gn.StepLR(0.1, 2), **options).attach(model)
    for gradient in gradients[:3]:
        do_step(model, first, gradient)
    second = kind(gn.StepLR(0.1, 2), **options).attach(twin)
    second.restore(first.state())
    twin.store.params[...] = model.store.params
    for name, slot in model.store.slots.items():
        twin.store.slots[name][...] = slot
    for gradient in gradients[3:]:
        do_step(model, first, gradient)
        do_step(twin, second, gradient)
    assert_array_equal(twin.store.params, model.store.params)


def test_a_configuration_rebuilds_the_optimizer(rule):
    kind, _, options = rule
    config = kind(gn.StepLR(0.1, 2), **options, clip_norm=1, clip_value=2).config()
    schedule = gn.schedules.schedule_from_config(config.pop("lr"))
    assert schedule == gn.StepLR(0.1, 2)
    assert OPTIMIZERS[kind.__name__](schedule, **config).config() == {"lr": schedule.config(), **config}
    assert config.items() >= {**options, "clip_norm": 1, "clip_value": 2}.items()


def test_attach_resets_the_state():
    model = build_model()
    optimizer = gn.Adam()
    for _ in range(2):
        assert optimizer.attach(model) is optimizer
        assert optimizer.steps == 0
        assert all((slot == 0).all() for slot in model.store.slots.values())
        do_step(model, optimizer, random_gradients(model, 1)[0])


def test_a_step_before_attach_is_refused():
    with pytest.raises(StateError, match=r"Adam is not attached to a model.*call attach\(model\) first"):
        gn.Adam().step()


def test_a_model_without_parameters_can_be_stepped():
    gn.SGD(0.1, momentum=0.9, clip_norm=1).attach(gn.Sequential(gn.Flatten())).step()


NAN = float("nan")


@pytest.mark.parametrize(
    ("call", "argument"),
    [
        *((partial(kind, lr), "lr") for kind in OPTIMIZERS.values() for lr in (-0.1, NAN, float("inf"), "fast", None)),
        *((partial(kind, 0.1, weight_decay=w), "weight_decay") for kind in OPTIMIZERS.values() for w in (-1, NAN)),
        *((partial(kind, 0.1, clip_norm=c), "clip_norm") for kind in OPTIMIZERS.values() for c in (0, -1, NAN)),
        *((partial(kind, 0.1, clip_value=c), "clip_value") for kind in OPTIMIZERS.values() for c in (0, -1, NAN)),
        (partial(gn.SGD, 0.1, momentum=1), "momentum"),
        (partial(gn.SGD, 0.1, momentum=-0.1), "momentum"),
        (partial(gn.SGD, 0.1, nesterov=True), "nesterov"),
        (partial(gn.Adam, betas=(1, 0.9)), "betas"),
        (partial(gn.Adam, betas=(0.9, NAN)), "betas"),
        (partial(gn.Adam, betas=(0.9,)), "betas"),
        (partial(gn.Adam, betas=0.9), "betas"),
        (partial(gn.Adam, eps="small"), "eps"),
        (partial(gn.AdamW, eps=-1), "eps"),
        (partial(gn.RMSprop, alpha=1), "alpha"),
        (partial(gn.RMSprop, eps=-1), "eps"),
        (partial(gn.RMSprop, momentum=1), "momentum"),
        (partial(gn.RMSprop, momentum=NAN), "momentum"),
    ],
)
def test_arguments_out_of_their_range_are_refused_by_name(call, argument):
    with pytest.raises(ArgumentError, match=argument):
        call()


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
def test_a_learning_rate_of_zero_leaves_the_parameters_as_they_are(kind):
    model = build_model()
    before, optimizer = model.store.params.copy(), kind(0).attach(model)
    for gradient in random_gradients(model, 3):
        do_step(model, optimizer, gradient)
    assert optimizer.steps == 3
    assert_array_equal(model.store.params, before)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("kind", "formula"), [(gn.Adam, adam), (gn.AdamW, adamw), (gn.RMSprop, rmsprop)])
def test_with_eps_zero_parameters_without_gradients_do_not_change(kind, formula, dtype):
    model = build_model(dtype)
    optimizer, before = kind(0.01, eps=0).attach(model), flat(model.parameters()).astype(float)
    gradients = random_gradients(model, 3)
    for gradient in gradients:
        gradient[::7] = 0
        do_step(model, optimizer, gradient)
    with np.errstate(invalid="ignore"):
        expected = formula(before, [(g, 0.01) for g in gradients], eps=0)
    expected[::7] = before[::7] * (1 - 0.01 * optimizer.weight_decay) ** 3
    assert_allclose(flat(model.parameters()), expected, rtol=1e-5, atol=1e-6)
    assert np.isfinite(model.store.params).all()


def test_a_model_takes_the_optimizer_that_was_attached_last():
    model = gn.MLP([3, 2])
    first, second = gn.Adam().attach(model), gn.SGD(0.1, momentum=0.9).attach(model)
    second.step()
    with pytest.raises(StateError, match="another optimizer"):
        first.step()


def test_a_schedule_that_is_set_before_the_first_training_is_the_one_that_is_used():
    optimizer = gn.SGD(0.1)
    optimizer.schedule = gn.StepLR(0.5, 2)
    optimizer.attach(gn.MLP([3, 2]))
    assert optimizer.lr == 0.5


def test_a_rule_without_an_update_is_refused_before_the_first_step():
    own = type("Own", (gn.optimizers.Optimizer,), {})(0.1)
    with pytest.raises(ArgumentError, match=r"^Own does not implement `update_block`; define this method"):
        gn.Trainer(gn.MLP([2, 2]), optimizer=own).fit(np.zeros((4, 2)), [0, 1, 0, 1])


@pytest.mark.parametrize(
    ("name", "method", "expected"),
    [
        ("update_block", lambda self, numbers, p, g: None, "(self, numbers, p, g, t, u, *slots)"),
        ("update_block", lambda self, p, *, g, t: None, "(self, numbers, p, g, t, u, *slots)"),
        ("step_numbers", lambda self, lr: (lr,), "(self, lr, step)"),
    ],
)
def test_a_rule_without_the_parameters_of_its_calls_is_refused_at_class_definition(name, method, expected):
    said = f"Own.{name} must take {expected}, as in help(gn.optimizers.Optimizer), got {inspect.signature(method)}."
    with pytest.raises(ArgumentError, match=f"^{re.escape(said)}$"):
        type("Own", (gn.optimizers.Optimizer,), {name: method})


@pytest.mark.parametrize(
    ("slot_names", "method"),
    [
        (("m",), lambda self, numbers, p, g, t, u: None),
        ((), lambda self, numbers, p, g, t, u, m: None),
    ],
)
def test_a_rule_that_does_not_take_its_slots_is_refused_when_it_is_attached(slot_names, method):
    own = type("Own", (gn.optimizers.Optimizer,), {"slot_names": slot_names, "update_block": method})(0.1)
    said = (
        f"Own.update_block must take ({', '.join(('self', 'numbers', 'p', 'g', 't', 'u', *slot_names))}), because "
        f"slot_names is {slot_names!r}, got {inspect.signature(method)}."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(said)}$"):
        own.attach(gn.MLP([2, 2]))


def test_a_rule_that_returns_new_parameters_is_refused():
    class Own(gn.optimizers.Optimizer):
        def update_block(self, numbers, p, g, t, u):
            return p - numbers[0] * g

    with pytest.raises(ArgumentError, match=r"^Own.update_block returns a value, which would be ignored"):
        Own(0.1).attach(gn.MLP([2, 2])).step()


@pytest.mark.parametrize("rate", [None, "fast", -1.0, math.nan])
def test_a_schedule_that_does_not_return_a_rate_is_refused_when_its_optimizer_is_attached(rate):
    own = type("Own", (gn.schedules.Schedule,), {"__call__": lambda self, step: rate})
    with pytest.raises(ArgumentError, match=r"^Own: the learning rate of step 0 must"):
        gn.SGD(own()).attach(gn.MLP([2, 2]))


@pytest.mark.parametrize("rate", [None, -1.0, math.nan, math.inf, np.ones(2)], ids=repr)
def test_a_schedule_that_returns_no_rate_in_a_later_step_is_refused(rate):
    own = type("Own", (gn.schedules.Schedule,), {"__call__": lambda self, step: rate if step else 0.1})
    optimizer = gn.SGD(own()).attach(gn.MLP([2, 2]))
    optimizer.step()
    with pytest.raises(ArgumentError, match=r"^Own: the learning rate of step 1 must"):
        optimizer.step()
    with pytest.raises(ArgumentError, match=r"^Own: the learning rate of step 1 must"):
        optimizer.lr  # noqa: B018


@pytest.mark.parametrize("numbers", [0.1, "a", ("a",), None])
def test_a_rule_whose_step_numbers_are_no_tuple_of_numbers_is_refused(numbers):
    methods = {"step_numbers": lambda self, lr, step: numbers, "update_block": lambda self, numbers, p, g, t, u: None}
    own = type("Own", (gn.optimizers.Optimizer,), methods)(0.1).attach(gn.MLP([2, 2]))
    said = f"Own.step_numbers must return a tuple of numbers, such as (lr,), got {numbers!r}."
    with pytest.raises(ArgumentError, match=f"^{re.escape(said)}$"):
        own.step()


def test_a_rule_without_the_constructor_of_its_base_class_is_refused_with_the_missing_call():
    class Own(gn.optimizers.Optimizer):
        def __init__(self):
            self.rate = 1

        def update_block(self, numbers, p, g, t, u): ...

    with pytest.raises(UnknownAttributeError, match=r"^Own has no attribute '.*': call super\(\)\.__init__\(\.\.\.\)"):
        gn.Trainer(gn.MLP([2, 2]), optimizer=Own()).fit(np.zeros((4, 2)), [0, 1, 0, 1])
