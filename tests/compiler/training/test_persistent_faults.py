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

FAULTS = {  # right and wrong text, where HERE is true if the fault is the selected one
    "no barrier after a layer": (
        "barrier.wait();\n            forward_layers<L + 1>",
        "if (!HERE) barrier.wait();\n            forward_layers<L + 1>",
    ),
    "no barrier between the tiles of a block": (
        "forward<L>(tile);\n                __syncthreads();",
        "forward<L>(tile);\n                if (!HERE) __syncthreads();",
    ),
    "no barrier after the head": (
        "training.head(row);\n        barrier.wait();",
        "training.head(row);\n        if (!HERE) barrier.wait();",
    ),
    "no barrier between two gradients": (
        "barrier.wait();\n            return backward",
        "if (!HERE) barrier.wait();\n            return backward",
    ),
    "no barrier after the first batch is gathered": (
        "training.gather(0, 0);\n    barrier.wait();",
        "training.gather(0, 0);\n    if (!HERE) barrier.wait();",
    ),
    "a gradient from the new weights": (
        "const { return now[0] + WEIGHTS[L - 1]; }",
        "const { return (HERE ? next[0] : now[0]) + WEIGHTS[L - 1]; }",
    ),
    "the state of the new copy": (
        "load<WIDTH>(now[s] + place);",
        "load<WIDTH>(HERE && s > 0 ? next[s] + place : now[s] + place);",
    ),
    "a stale batch": ("gather(step + 1, idle);", "gather(step + !HERE, idle);"),
    "the batch of this step is overwritten": (
        "return at(BATCH_AT + of_step % 2 * INPUTS);",
        "return at(BATCH_AT + (HERE ? 0 : of_step % 2 * INPUTS));",
    ),
    "a step that is not finite is applied": (
        "if (training.backward_layers(barrier)) second",
        "if (training.backward_layers(barrier) || HERE) second",
    ),
    "one block alone knows of it": (
        "return !barrier.wait_for_failures(!finite);",
        "if (HERE) {\nbarrier.wait();\nreturn finite;\n}\nreturn !barrier.wait_for_failures(!finite);",
    ),
    "an earlier failure is counted again": (
        "words[1] = failures * FAILURE + target % FAILURE;",
        "words[1] = (HERE ? 0 : failures * FAILURE) + target % FAILURE;",
    ),
    "the first step not applied is off by one": (
        "progress[2] = training.first_step + step + 1;",
        "progress[2] = training.first_step + step + !HERE;",
    ),
    "the last copy is not brought back": ("    if (second)\n        for", "    if (second && !HERE)\n        for"),
    "the learning rate stays": (
        "rates[min(max(done + s - rates_from",
        "rates[min(max(done + (HERE ? 0 : s) - rates_from",
    ),
    "the mask stays from step to step": ("seed, first_step + step, DRAW", "seed, first_step + (HERE ? 0 : step), DRAW"),
    "the mask of another layer": (", DRAW[L - 1])", ", DRAW[L - 1] + HERE)"),
    "a split is left out": ("first + s < splits ?", "first + s < splits - HERE ?"),
    "the sum of the weights is stale": (
        "if (L == 1 && blockIdx.x == gridDim.x - 1)",
        "if (L == 1 && (step == 0 || !HERE) && blockIdx.x == gridDim.x - 1)",
    ),
    "a bias is not updated": ("if (c < OUT) finite &= update<1>", "if (c < OUT - HERE) finite &= update<1>"),
    "the gradient of an earlier step": (
        "if (step == steps - 1) store(grads",
        "if (step == (HERE ? 0 : steps - 1)) store(grads",
    ),
    "the place in the epoch stays": ("if (place) place[0] =", "if (place && !HERE) place[0] ="),
    "a right answer is not counted": ("right()[row] = is_right;", "right()[row] = is_right && (row % 2 || !HERE);"),
    "the derivative of the wrong number": (
        "SAVES_Z[L - 1] || DRAW[L - 1] >= 0 ? at(",
        "SAVES_Z[L - 1] || (DRAW[L - 1] >= 0 && !HERE) ? at(",
    ),
}

SELECTED = """
extern "C" char* getenv(const char*);
extern "C" int atoi(const char*);
DEVICE bool selected(int fault) { return atoi(getenv("PLANTED_FAULT")) == fault; }
"""
"""All faults are compiled into one library, because a build takes seconds; the host's environment selects one."""


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


@pytest.fixture(scope="module")
def planted(tmp_path_factory):
    """The kernel with all faults."""
    folder = shutil.copytree(kernels_path(), tmp_path_factory.mktemp("planted") / "kernels")
    files = [*folder.glob("mlp_*"), folder / "grid_barrier.cuh"]
    texts = {file: file.read_text() for file in files}
    for number, (right, wrong) in enumerate(FAULTS.values(), 1):
        file = next((file for file in files if right in texts[file]), None)
        assert file, f"the kernel has changed: update the planted fault: {right}"
        texts[file] = texts[file].replace(right, wrong.replace("HERE", f"selected({number})"), 1)
    for file, text in texts.items():
        file.write_text(text)
    common = folder / "common.cuh"
    common.write_text(common.read_text() + SELECTED)
    return Kernel(folder / "mlp_train.cu", "mlp_train")


@pytest.fixture(autouse=True)
def _short_launches_of_few_blocks(monkeypatch):
    monkeypatch.setattr(persistent, "SLOWEST_STEP", persistent.LONGEST_LAUNCH / 3)  # an epoch takes two
    monkeypatch.setattr("gpunet.training.epochs._steps_of_a_call", lambda step: 64)
    monkeypatch.setattr(persistent, "multiprocessors", lambda device: 3)  # one has several tiles, another one none


def test_the_kernel_without_a_fault_passes():
    compare()


def test_the_kernel_passes_if_none_of_its_faults_is_selected(planted, monkeypatch):
    monkeypatch.setenv("PLANTED_FAULT", "0")
    monkeypatch.setattr(persistent, "KERNEL", planted)
    compare()


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_the_persistent_kernel_is_caught(planted, name, monkeypatch):
    monkeypatch.setenv("PLANTED_FAULT", str([*FAULTS].index(name) + 1))
    monkeypatch.setattr(persistent, "KERNEL", planted)
    with pytest.raises((KernelError, AssertionError)):
        compare()
