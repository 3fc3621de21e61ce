"""The means of an epoch with the kernels, compared with the CPU."""

import numpy as np
import pytest
from compiler.ops.simulated import CPU, DTYPES, SIM, only_launches, to_sim
from running_means import add, read

from gpunet import simulator
from gpunet.tape import Tape
from gpunet.training.running import RunningMeans

RNG = np.random.default_rng(0)
LABELS = RNG.integers(0, 4, 50)
CASES = {
    "labels": ("classification", 4, lambda dtype: LABELS),
    "int32 labels": ("classification", 4, lambda dtype: LABELS.astype(np.int32)),
    "distributions": ("classification", 4, lambda dtype: RNG.dirichlet(np.ones(4), 50).astype(dtype)),
    "one question": ("binary", 1, lambda dtype: RNG.random((50, 1)).astype(dtype)),
    "three questions": ("binary", 3, lambda dtype: RNG.random((50, 3)).astype(dtype)),
    "values": ("regression", 2, lambda dtype: RNG.random((50, 2)).astype(dtype)),
}


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("case", CASES)
def test_the_sums_of_two_batches_match_the_cpu(case, dtype):
    task, outputs, make = CASES[case]
    prediction, target = RNG.standard_normal((50, outputs)).astype(dtype), make(dtype)
    means = {device: RunningMeans(task) for device in (CPU, SIM)}
    for rows in (slice(0, 33), slice(33, 34), slice(34, 34), slice(34, 50)):
        for device, running in means.items():
            with simulator.check_mode():
                batch = (device.asarray(a[rows]) for a in (prediction, target))
                add(running, device.asarray(dtype.type(rows.start / 7)), *batch, Tape())
    assert means[SIM].state() == means[CPU].state()
    assert read(means[SIM]) == read(means[CPU])


def test_nan_is_the_largest_output_as_on_the_cpu():
    prediction = np.array([[1, np.nan, 2], [np.nan, 1, np.nan]], np.float32)
    for target in (np.array([1, 0]), np.array([[0, 1, 0], [1, 0, 0]], np.float32)):
        running = RunningMeans("classification")
        add(running, to_sim(np.float32(0)), to_sim(prediction), to_sim(target), Tape())
        assert read(running)["accuracy"] == 1


def test_the_loss_may_have_another_dtype():
    running = RunningMeans("classification")
    add(running, to_sim(np.float64(2)), to_sim(np.eye(3, dtype=np.float32)), to_sim(np.arange(3)), Tape())
    assert read(running) == {"loss": 2, "accuracy": 1}


def test_a_batch_is_accumulated_by_one_launch():
    running, tape = RunningMeans("classification"), Tape()
    batch = to_sim(np.float32(1)), to_sim(np.eye(4, 3, dtype=np.float32)), to_sim(np.arange(4) % 3)
    add(running, *batch, tape)
    tape.reset()
    with only_launches():
        add(running, *batch, tape)
    assert simulator.counters.launches == 1


def test_the_sums_continue_from_a_restored_state():
    batch = np.float32(1), np.eye(4, 3, dtype=np.float32), np.arange(4) % 3
    running, again = RunningMeans("classification"), RunningMeans("classification")
    add(running, *map(to_sim, batch), Tape())
    again.restore(running.state())
    add(again, *map(to_sim, batch), Tape())
    assert again.state() == {"totals": (8.0, 8.0), "rows": 8, "answers": 8}


def test_all_epochs_accumulate_into_one_array_for_the_recorded_step():
    running, tape = RunningMeans("classification"), Tape()
    batch = to_sim(np.float32(1)), to_sim(np.eye(4, 3, dtype=np.float32)), to_sim(np.arange(4) % 3)
    add(running, *batch, tape)
    place = running.totals.data.ptr
    with only_launches():
        running.reset()
        tape.reset()
        add(running, *batch, tape)
    assert running.totals.data.ptr == place
    assert read(running) == {"loss": 1, "accuracy": 1}


@pytest.mark.parametrize(("first", "then"), [(CPU, SIM), (SIM, CPU)], ids=["to sim", "from sim"])
def test_the_sums_move_with_a_model_within_an_epoch(first, then):
    running = RunningMeans("classification")
    for device, loss in ((first, 1), (then, 3)):
        batch = np.float32(loss), np.eye(4, 3, dtype=np.float32), np.arange(4) % 3
        add(running, *map(device.asarray, batch), Tape())
    assert read(running) == {"loss": 2, "accuracy": 1}
    running.reset()
    add(running, *map(then.asarray, batch), Tape())
    assert read(running)["loss"] == 3
