"""Faults planted in the persistent kernel are detected, by check mode or by comparison with the CPU."""

import functools
import shutil
import warnings

import numpy as np
import pytest
from persistent_steps import ROWS, Training, assert_follows, data, layers

import gpunet as gn
from gpunet.cuda import Kernel
from gpunet.device import kernels_path
from gpunet.errors import GpunetWarning, KernelError
from gpunet.training.step import persistent

MODEL = layers(6, 40, "elu", 0.5, 12, "tanh", 5)
X, Y = data(6, 5, 4 * ROWS)
WEIGHT = np.random.default_rng(2).random(len(X))
POISONED = X.copy()
POISONED[ROWS + 1] = 3e38

FAULTS = {
    "no barrier after a layer": (
        "            barrier.wait();\n            forward_layers<L + 1>",
        "            forward_layers<L + 1>",
    ),
    "no barrier between the tiles of a block": (
        "                forward<L>(tile);\n                __syncthreads();",
        "                forward<L>(tile);",
    ),
    "no barrier after the head": ("training.head(row);\n        barrier.wait();", "training.head(row);"),
    "no barrier between two gradients": (
        "            barrier.wait();\n            return backward",
        "            return backward",
    ),
    "no barrier after the first batch is gathered": (
        "training.gather(0, 0);\n    barrier.wait();",
        "training.gather(0, 0);",
    ),
    "a gradient from the new weights": (
        "const { return now[0] + WEIGHTS[L - 1]; }",
        "const { return next[0] + WEIGHTS[L - 1]; }",
    ),
    "the state of the new copy": (
        "load<WIDTH>(now[s] + place);",
        "load<WIDTH>(s > 0 ? next[s] + place : now[s] + place);",
    ),
    "a stale batch": ("gather(step + 1, idle);", "gather(step, idle);"),
    "the batch of this step is overwritten": ("return at(BATCH_AT + of_step % 2 * INPUTS);", "return at(BATCH_AT);"),
    "a step that is not finite is applied": (
        "if (training.backward_layers(barrier)) second",
        "training.backward_layers(barrier); if (true) second",
    ),
    "one block alone knows of it": (
        "return !barrier.wait_for_failures(!finite);",
        "barrier.wait();\n            return finite;",
    ),
    "an earlier failure is counted again": (
        "words[1] = failures * FAILURE + target % FAILURE;",
        "words[1] = target % FAILURE;",
    ),
    "the first step not applied is off by one": (
        "progress[2] = training.first_step + step + 1;",
        "progress[2] = training.first_step + step;",
    ),
    "the last copy is not brought back": ("    if (second)\n        for", "    if (false)\n        for"),
    "the learning rate stays": ("rates[min(max(done + s - rates_from", "rates[min(max(done - rates_from"),
    "the mask stays from step to step": ("seed, first_step + step, DRAW", "seed, first_step, DRAW"),
    "the mask of another layer": ("first_step + step, DRAW[L - 1])", "first_step + step, DRAW[L - 1] + 1)"),
    "a split is left out": ("first + s < splits ?", "first + s < splits - 1 ?"),
    "the sum of the weights is stale": (
        "if (L == 1 && blockIdx.x == gridDim.x - 1)",
        "if (L == 1 && step == 0 && blockIdx.x == gridDim.x - 1)",
    ),
    "a bias is not updated": ("if (c < OUT) finite &= update<1>", "if (c < OUT - 1) finite &= update<1>"),
    "the gradient of an earlier step": ("if (step == steps - 1) store(grads", "if (step == 0) store(grads"),
    "the place in the epoch stays": ("if (place) place[0] =", "if (false) place[0] ="),
    "a right answer is not counted": ("right()[row] = is_right;", "right()[row] = is_right && row % 2;"),
    "the derivative of the wrong number": ("SAVES_Z[L - 1] || DRAW[L - 1] >= 0 ? at(", "SAVES_Z[L - 1] ? at("),
}


def train(device, executor):
    optimizer = lambda: gn.SGD(gn.StepLR(0.1, 3), momentum=0.9)  # noqa: E731
    run = Training(MODEL, device, optimizer, executor, loss=gn.CrossEntropyLoss(class_weight=[0.5, 1, 0, 2, 3]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", GpunetWarning)  # that a step is not applied
        run.fit(POISONED, Y, sample_weight=WEIGHT, shuffle=False, epochs=2)
        skipped = run.trainer.optimizer.first_skipped
        del run.trainer.history.epochs[:]  # whose losses are NaN
        run.fit(X, Y, sample_weight=WEIGHT)
    return run, skipped, gn.to_host(run.trainer.model.store.grads)


@functools.cache
def trained_on_the_cpu():
    return train("cpu", "native")


def compare():
    expected, expected_skipped, expected_grads = trained_on_the_cpu()
    run, skipped, grads = train("sim", "persistent")
    assert skipped == expected_skipped
    assert_follows(run, expected)
    np.testing.assert_allclose(grads, expected_grads, rtol=0, atol=1e-6)


@pytest.fixture(autouse=True)
def _short_launches_of_few_blocks(monkeypatch):
    monkeypatch.setattr(persistent, "SLOWEST_STEP", persistent.LONGEST_LAUNCH / 3)  # an epoch takes two
    monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step: 64)
    monkeypatch.setattr(persistent, "multiprocessors", lambda device: 3)  # one has several tiles, another one none


def test_the_kernel_without_a_fault_passes():
    compare()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_persistent_kernel_is_caught(name, tmp_path, monkeypatch):
    right, wrong = FAULTS[name]
    planted = shutil.copytree(kernels_path(), tmp_path / "kernels")
    file = next(f for f in (*planted.glob("mlp_*"), planted / "grid_barrier.cuh") if right in f.read_text())
    file.write_text(file.read_text().replace(right, wrong, 1))
    monkeypatch.setattr(persistent, "KERNEL", Kernel(planted / "mlp_train.cu", "mlp_train"))
    with pytest.raises((KernelError, AssertionError)):
        compare()
