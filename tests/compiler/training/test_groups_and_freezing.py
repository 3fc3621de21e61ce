"""Parameter groups and frozen layers with native nodes, and with kernels on the simulated GPU."""

import grouped_trainings as grouped
import numpy as np
import pytest
from every_layer import EXAMPLES
from own_layers import ScaleOnTape
from own_optimizers import Lion
from problems import classification, weights

import gpunet as gn
from gpunet.tape import Tape

pytestmark = pytest.mark.usefixtures("native_cpu")

X, Y = classification(32)

PLACES = [("native", "cpu"), ("graph", "sim"), ("eager", "sim")]

recorded = pytest.mark.parametrize(("executor", "device"), PLACES[:2])


@pytest.mark.parametrize(("executor", "device"), PLACES)
@pytest.mark.parametrize("name", grouped.CASES)
def test_a_training_follows_pytorch(name, executor, device):
    grouped.assert_follows_pytorch(name, executor, device)


@recorded
@pytest.mark.parametrize("name", grouped.CASES)
def test_many_steps_in_one_call_equal_single_steps_bitwise(name, executor, device):
    grouped.assert_single_steps_give_the_same_bits(name, executor, device)


@recorded
@pytest.mark.parametrize("name", grouped.CASES)
def test_an_interrupted_training_resumes_bitwise(name, executor, device, tmp_path):
    grouped.assert_a_resumed_training_gives_the_same_bits(name, tmp_path, executor, device)


def test_the_graph_equals_eager_steps_bitwise():
    for name in grouped.CASES:
        grouped.assert_same_bits(*(grouped.fit(grouped.trainer(name, each, "sim")) for each in ("graph", "eager")))


def net():
    return gn.MLP([5, 8, 6, 3], "tanh", seed=0)


def kernels(model, executor, device):
    trainer = gn.Trainer(model.to(device), executor=executor)
    trainer.step(X, Y)
    return [node.kernel for node in trainer.explain().nodes]


@pytest.mark.parametrize(
    ("frozen", "native", "fused", "alone"),
    [
        ((), (5, 3, 3), 2, 4),  # forward and dx, dW, db; dx with dW; forward and the lowest dW
        (("1.*",), (5, 2, 2), 1, 5),
        (("0.*", "1.*"), (3, 1, 1), 0, 4),
        (("*",), (3, 0, 0), 0, 3),
    ],
)
def test_frozen_layers_compute_no_weight_gradients(frozen, native, fused, alone):
    def model():
        return net().freeze(*frozen) if frozen else net()

    on_cpu, on_sim = kernels(model(), "native", "cpu"), kernels(model(), "graph", "sim")
    assert tuple(map(on_cpu.count, ("product", "transposed_product", "sum_columns"))) == native
    assert (on_sim.count("linear_backward"), on_sim.count("matmul_tiled")) == (fused, alone)


@recorded
def test_freezing_takes_effect_at_the_next_step(executor, device):
    trainer = gn.Trainer(net().to(device), optimizer=gn.AdamW(0.01, weight_decay=0.1), executor=executor)
    for frozen in (False, True, False):
        trainer.model[1].trainable = not frozen
        before = gn.to_host(trainer.model[1].params["weight"]).copy()
        trainer.fit(X, Y, epochs=1, batch_size=8)
        assert np.array_equal(before, gn.to_host(trainer.model[1].params["weight"])) == frozen


def differentiable_with_parameters():
    """Return the names of layers that hand down a gradient and have something to freeze."""
    for name, (make, x) in EXAMPLES.items():
        if x.dtype.kind == "f" and any(leaf.params or leaf.buffers for leaf in make().leaves().values()):
            yield name


@pytest.mark.parametrize("name", list(differentiable_with_parameters()))
def test_a_frozen_layer_passes_the_gradient_down_on_the_simulated_gpu(name):
    make, x = EXAMPLES[name]
    found = []
    for device in ("cpu", "sim"):
        model, tape = gn.Sequential(make()).freeze().to(device), Tape(0)
        tape.reset(step=0)
        y = model.forward(model.device.asarray(x), tape)
        dy = np.random.default_rng(0).standard_normal(y.shape).astype(np.float32)
        found.append(gn.to_host(model.backward(model.device.asarray(dy), tape)))
        assert not gn.to_host(model.store.grads).any()
    np.testing.assert_allclose(*found, rtol=0, atol=2e-5)


@recorded
def test_a_frozen_user_layer_is_recorded(executor, device):
    model = gn.Sequential(gn.Linear(5, 4, rng=0), ScaleOnTape(4), gn.Linear(4, 3, rng=1)).freeze("1.*").to(device)
    trainer = gn.Trainer(model, optimizer=gn.SGD(0.1, clip_norm=0.1, weight_decay=0.1), executor=executor)
    trainer.fit(X, Y, epochs=2)
    np.testing.assert_array_equal(gn.to_host(model[1].params["scale"]), np.full(4, 1.5, np.float32))
    assert not gn.to_host(model.store.views(model.store.grads)["1.scale"]).any()


@pytest.mark.filterwarnings("ignore:Lion has no `kernel`")
def test_an_optimizer_in_array_code_has_groups_on_the_simulated_gpu():
    found = []
    for device in ("cpu", "sim"):
        optimizer = Lion(0.01, weight_decay=0.5)
        optimizer.groups = {"*.bias": {"weight_decay": 0}, "1.weight": {"lr": 0.001}}
        trainer = gn.Trainer(net().freeze("0.*").to(device), optimizer=optimizer, executor="eager")
        for _ in range(5):
            trainer.step(X, Y)
        found.append(weights(trainer.model))
    np.testing.assert_allclose(*found, rtol=0, atol=1e-6)


def test_the_persistent_kernel_refuses_groups_and_frozen_layers_with_the_reason():
    for options, frozen, reason in (
        ({"groups": {"*.bias": {"lr": 0.1}}}, False, "the optimizer has parameter groups"),
        ({}, True, "some layers are frozen"),
    ):
        model = net().freeze("0.*") if frozen else net()
        trainer = gn.Trainer(model.to("sim"), optimizer=gn.SGD(0.1, **options))
        trainer.fit(X, Y, epochs=1)
        assert f"no persistent kernel: {reason}" in trainer.explain().executor
