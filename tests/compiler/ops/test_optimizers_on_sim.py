"""The optimizers on the device "sim" in check mode: the results of the CPU, without synchronization in a step."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from own_optimizers import Halved, Lion
from problems import classification

import gpunet as gn
from gpunet import simulator

pytestmark = pytest.mark.filterwarnings("ignore:(Lion|Halved) has no `kernel`")

STEPS = 20
TOLERANCE = {"float32": 1e-6, "float64": 1e-12}
WITH_KERNEL = [
    (gn.SGD, {}),
    (gn.SGD, {"weight_decay": 0.1}),
    (gn.SGD, {"momentum": 0.9, "weight_decay": 0.1}),
    (gn.SGD, {"momentum": 0.9, "nesterov": True}),
    (gn.Adam, {}),
    (gn.Adam, {"betas": (0.5, 0.9), "eps": 1e-2, "weight_decay": 0.1}),
    (gn.Adam, {"betas": (0.0, 0.9)}),
    (gn.AdamW, {"weight_decay": 0.3}),
    (gn.RMSprop, {}),
    (gn.RMSprop, {"alpha": 0.5, "eps": 1e-2, "weight_decay": 0.1}),
    (gn.RMSprop, {"momentum": 0.9, "weight_decay": 0.1}),
    (gn.Adam, {"eps": 0}),
    (gn.RMSprop, {"eps": 0}),
]
RULES = [*WITH_KERNEL, (Lion, {"weight_decay": 0.1}), (Halved, {})]
CLIPS = [{"clip_norm": 0.5}, {"clip_norm": 1e6}, {"clip_value": 0.3}, {"clip_value": 0.3, "clip_norm": 2.0}]


@pytest.fixture(autouse=True)
def _check_mode():
    with simulator.check_mode():
        yield


@pytest.fixture(params=RULES, ids=lambda rule: f"{rule[0].__name__} {rule[1]}")
def rule(request):
    return request.param


rule_with_kernel = pytest.mark.parametrize("rule", WITH_KERNEL, ids=lambda rule: f"{rule[0].__name__} {rule[1]}")


@pytest.fixture(params=TOLERANCE)
def dtype(request):
    return request.param


def build_model(sizes=(5, 8, 3), dtype="float32", device="cpu"):
    return gn.MLP(sizes, seed=0).to(device, dtype=dtype)


def gradients(model, steps=STEPS):
    """Return a gradient for each step, zero in the gaps of the store."""
    rng = np.random.default_rng(0)
    flats = np.zeros((steps, model.store.params.size), model.dtype)
    for step, flat in enumerate(flats):
        for view in model.store.views(flat).values():
            view[...] = rng.standard_normal(view.shape) * 10.0 ** -(step % 4)
    return flats


def do_step(model, optimizer, gradient):
    model.device.assign(model.store.grads, gradient)
    optimizer.step()


def buffers(model):
    """Return copies of parameters, gradients and state, on the host."""
    store = model.store
    flats = {"params": store.params, "grads": store.grads, **store.slots}
    return {name: gn.to_host(a).copy() for name, a in flats.items()}


def trained(device, optimizer, *, sizes=(5, 8, 3), dtype="float32", observe=lambda step: None):
    """Return the buffers after 20 steps with given gradients, or after 5 of a large model."""
    model = build_model(sizes, dtype, device)
    optimizer.attach(model)
    for step, gradient in enumerate(gradients(model, STEPS if model.store.params.size < 1000 else 5)):
        do_step(model, optimizer, gradient)
        observe(step)
    return buffers(model)


def assert_close(there, here, dtype):
    assert there.keys() == here.keys()
    for name, expected in here.items():
        scale = TOLERANCE[dtype] * np.abs(expected).max()
        assert_allclose(there[name], expected, rtol=TOLERANCE[dtype], atol=scale, err_msg=name)


@pytest.mark.parametrize("sizes", [(1, 1), (5, 8, 3), (130, 130, 3)], ids=str)  # the last has more than 16,384
def test_a_rule_matches_the_cpu(rule, sizes, dtype):
    kind, options = rule
    here, there = (trained(device, kind(0.01, **options), sizes=sizes, dtype=dtype) for device in ("cpu", "sim"))
    assert_close(there, here, dtype)


@pytest.mark.parametrize("sizes", [(5, 8, 3), (130, 130, 3)], ids=str)
@pytest.mark.parametrize("clip", CLIPS, ids=str)
@pytest.mark.parametrize("kind", [gn.SGD, Lion])
def test_clipping_matches_the_cpu(kind, clip, sizes, dtype):
    here, there = (trained(device, kind(0.1, **clip), sizes=sizes, dtype=dtype) for device in ("cpu", "sim"))
    assert_close(there, here, dtype)


def test_a_huge_gradient_with_overflowing_squares_is_clipped_as_on_the_cpu(rule):
    kind, options = rule
    results = []
    for device in ("cpu", "sim"):
        model = build_model(device=device)
        optimizer = kind(0.01, **options, clip_norm=0.5).attach(model)
        for gradient in gradients(model, 3):
            with np.errstate(over="ignore"):
                do_step(model, optimizer, gradient * np.float32(1e20))
        results.append(buffers(model))
    assert_close(*results[::-1], "float32")
    assert 0.4 < np.linalg.norm(results[0]["grads"]) < 0.51


def test_gradients_are_unchanged_and_the_gaps_of_the_store_stay_zero(rule):
    kind, options = rule
    model = build_model(device="sim")
    (gradient,) = gradients(model, 1)
    do_step(model, kind(0.01, **options).attach(model), gradient)
    after = buffers(model)
    assert_array_equal(after["grads"], gradient)
    gaps = np.ones(gradient.size, bool)
    for view in model.store.views(gaps).values():
        view[...] = False
    assert gaps.any()
    assert all((a[gaps] == 0).all() for a in after.values())


@pytest.mark.parametrize(
    "schedule",
    [lambda: gn.StepLR(0.1, 3, 0.5), lambda: gn.LinearWarmup(gn.CosineLR(0.1, 12, 0.01), 4)],
    ids=["step", "warm-up and cosine"],
)
def test_a_schedule_is_followed_step_by_step(schedule, rule, dtype):
    kind, options = rule
    here, there = (trained(device, kind(schedule(), **options), dtype=dtype) for device in ("cpu", "sim"))
    assert_close(there, here, dtype)


def test_a_metric_observed_by_a_schedule_takes_effect_in_the_next_step():
    def train(device):
        schedule = gn.ReduceLROnPlateau(0.1, factor=0.5, patience=0)
        values = iter([1.0, 1.0, 0.5, 0.5])  # the second and the fourth are a plateau
        trained_buffers = trained(
            device, gn.SGD(schedule), observe=lambda step: schedule.observe(next(values)) if step % 5 == 4 else None
        )
        assert schedule(0) == 0.025
        return trained_buffers

    assert_close(train("sim"), train("cpu"), "float32")


def test_the_schedule_can_be_replaced_between_steps():
    def train(device):
        optimizer = gn.Adam(0.1)

        def change(step):
            if step == 9:
                optimizer.schedule = gn.StepLR(0.01, 2)

        return trained(device, optimizer, observe=change)

    assert_close(train("sim"), train("cpu"), "float32")


@pytest.mark.parametrize("places", ["cpu sim", "sim cpu sim cpu"])
def test_a_model_moves_in_the_middle_of_training_with_its_state(places, rule, dtype):
    kind, options = rule
    here = trained("cpu", kind(gn.StepLR(0.01, 7), **options), dtype=dtype)
    model = build_model(dtype=dtype)
    optimizer = kind(gn.StepLR(0.01, 7), **options).attach(model)
    places = places.split()
    for step, gradient in enumerate(gradients(model)):
        model.to(places[step * len(places) // STEPS])
        do_step(model, optimizer, gradient)
    assert model.device.name == places[-1]
    assert_close(buffers(model), here, dtype)


def test_a_model_changes_its_dtype_in_the_middle_of_training(rule):
    kind, options = rule
    here = trained("cpu", kind(0.01, **options))
    model = build_model(device="sim")
    optimizer = kind(0.01, **options).attach(model)
    for step, gradient in enumerate(gradients(model)):
        model.to(dtype="float64" if step >= 10 else "float32")
        do_step(model, optimizer, gradient)
    assert_allclose(buffers(model)["params"], here["params"], rtol=1e-5, atol=1e-6)


def test_a_restored_optimizer_continues_bit_for_bit(rule):
    kind, options = rule
    model, twin = build_model(device="sim"), build_model(device="sim")
    first, second = (kind(gn.StepLR(0.1, 7), **options).attach(m) for m in (model, twin))
    flats = gradients(model)
    for gradient in flats[:10]:
        do_step(model, first, gradient)
    do_step(twin, second, flats[0])  # it has counted steps on the device before
    second.restore(first.state())
    twin.store.params[...] = model.store.params
    for name, slot in model.store.slots.items():
        twin.store.slots[name][...] = slot
    for gradient in flats[10:]:
        do_step(model, first, gradient)
        do_step(twin, second, gradient)
    assert_array_equal(buffers(twin)["params"], buffers(model)["params"])


def test_attach_resets_the_state(rule):
    kind, options = rule
    model = build_model(device="sim")
    before = model.store.params.copy()
    optimizer = kind(0.01, **options)
    results = []
    for _ in range(2):
        model.store.params[...] = before
        optimizer.attach(model)
        for gradient in gradients(model, 3):
            do_step(model, optimizer, gradient)
        results.append(buffers(model)["params"])
    assert_array_equal(*results)


def test_a_training_is_resumed_from_a_checkpoint_bit_for_bit(tmp_path):
    X, y = classification()

    def trainer():
        optimizer = gn.AdamW(gn.LinearWarmup(gn.CosineLR(0.01, 20), 4), clip_norm=1.0)
        return gn.Trainer(gn.MLP([5, 8, 3], dropout=0.2).to("sim"), optimizer=optimizer)

    with simulator.check_mode(False):
        whole, half = trainer(), trainer()
        whole.fit(X, y, epochs=4)
        half.fit(X, y, epochs=2)
        half.save(tmp_path / "run")
        with gn.use_device("sim"):
            resumed = gn.Trainer.resume(tmp_path / "run")
        resumed.fit(X, y, epochs=2)
    assert resumed.model.device.name == "sim"
    assert resumed.optimizer.steps == whole.optimizer.steps
    assert_array_equal(buffers(resumed.model)["params"], buffers(whole.model)["params"])


@rule_with_kernel
@pytest.mark.parametrize(
    ("lr", "written"), [(0.01, 0), (gn.CosineLR(0.1, 100), 1)], ids=["constant", "another rate every step"]
)
def test_a_steady_state_step_is_only_a_few_launches(lr, written, rule):
    kind, options = rule
    model = build_model(device="sim")
    optimizer = kind(lr, **options, clip_value=0.3, clip_norm=1.0).attach(model)
    model.device.assign(model.store.grads, gradients(model, 1)[0])
    for _ in range(2):
        optimizer.step()
    simulator.counters.reset()
    optimizer.step()
    # clip the values, begin the step, update
    assert simulator.counters == simulator.Counters(launches=3 + written)


@pytest.mark.parametrize("device", ["cpu", "sim"])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}, {"clip_value": 5.0}], ids=str)
def test_a_non_finite_gradient_is_not_applied(clip, device, rule):
    kind, options = rule
    model = build_model(device=device)
    optimizer = kind(0.01, **options, **clip).attach(model)
    good, bad = gradients(model, 2)
    bad[3] = np.nan
    do_step(model, optimizer, good)
    before = buffers(model)
    do_step(model, optimizer, bad)
    after = buffers(model)
    for name in {"params", *optimizer.slot_names}:
        assert_array_equal(after[name], before[name])
    do_step(model, optimizer, good)
    assert (buffers(model)["params"] != before["params"]).any()
    assert (optimizer.steps, optimizer.first_skipped) == (3, 2)


@rule_with_kernel
def test_every_replay_of_a_captured_step_counts_on_the_device(rule):
    kind, options = rule
    model, twin = build_model(device="sim"), build_model(device="sim")
    first, second = (kind(0.01, **options, clip_norm=1.0).attach(m) for m in (model, twin))
    gradient, *_ = gradients(model, 1)
    do_step(model, first, gradient)
    stream = simulator.cuda.Stream()
    with stream:
        stream.begin_capture()
        first.step()
        graph = stream.end_capture()
    flat = model.device.asarray(gradient)
    for _ in range(4):
        model.store.grads[...] = flat
        graph.launch()
    for _ in range(5):
        do_step(twin, second, gradient)
    assert_array_equal(buffers(model)["params"], buffers(twin)["params"])


def test_a_model_without_parameters_can_be_stepped():
    model = gn.Sequential(gn.Flatten()).to("sim")
    optimizer = gn.SGD(0.1, momentum=0.9, clip_norm=1, clip_value=1).attach(model)
    optimizer.step()
    assert optimizer.steps == 1
