"""The mean loss and accuracy of an epoch, and the number of device reads."""

import numpy as np
import pytest
from problems import classification, net
from running_means import add, read

import gpunet as gn
from gpunet import native
from gpunet.tape import Tape
from gpunet.training.running import RunningMeans

CPU = gn.get_device("cpu")
LOGITS = np.array([[3, 1, 2], [0, 5, 1], [9, 8, 7], [1, 2, 3]], np.float32)  # answers 0, 1, 0, 2


def added(task, *batches):
    means = RunningMeans(task)
    for value, prediction, target in batches:
        add(means, np.array(value, np.float32), prediction, target, Tape())
    return means


def test_the_loss_is_the_mean_over_rows_not_over_batches():
    batches = [(1.0, LOGITS[:3], np.zeros(3, np.int64)), (5.0, LOGITS[3:], np.zeros(1, np.int64))]
    assert read(added("classification", *batches))["loss"] == (3 * 1.0 + 1 * 5.0) / 4


@pytest.mark.parametrize("target", [np.array([0, 1, 1, 2]), np.eye(3, dtype=np.float32)[[0, 1, 1, 2]]])
def test_an_answer_is_correct_if_its_logit_is_the_largest(target):
    assert read(added("classification", (0, LOGITS, target)))["accuracy"] == 0.75


@pytest.mark.parametrize("target", [np.array([[0, 1], [1, 2]]), np.eye(3, dtype=np.float32)[[[0, 1], [1, 2]]]])
def test_each_position_of_a_row_counts_in_accuracy_and_mean(target):
    batches = [(1.0, LOGITS.reshape(2, 2, 3), target), (4.0, LOGITS[:1].reshape(1, 1, 3), target[:1, :1])]
    assert read(added("classification", *batches)) == {"loss": (4 * 1.0 + 4.0) / 5, "accuracy": 4 / 5}


def test_each_binary_output_counts():
    logits = np.array([[2, -1], [-3, 4]], np.float32)
    target = np.array([[1, 0], [0, 0]], np.float32)
    assert read(added("binary", (0, logits, target)))["accuracy"] == 0.75


def test_a_logit_of_0_and_a_target_of_a_half_are_both_false():
    logits, target = np.array([[0, 0, 1, -1]], np.float32), np.array([[0.5, 1, 0.5, 0.5]], np.float32)
    assert read(added("binary", (0, logits, target)))["accuracy"] == 0.5


def test_a_regression_has_no_accuracy():
    assert read(added("regression", (2.0, LOGITS, LOGITS))) == {"loss": 2.0}


def test_a_sum_of_many_small_losses_is_accurate():
    batches = [(1.0, LOGITS[:1], LOGITS[:1])] + 1000 * [(1e-7, LOGITS[:1], LOGITS[:1])]
    assert read(added("regression", *batches))["loss"] == pytest.approx((1 + 1000 * 1e-7) / 1001, rel=1e-9)


def test_a_restored_state_continues_and_a_reset_clears_it():
    batch = (1.0, LOGITS, np.array([0, 1, 1, 2]))
    means = added("classification", batch, batch)
    again = RunningMeans("classification")
    again.restore(means.state())
    add(again, np.array(4.0), *batch[1:], Tape())
    assert read(again) == {"loss": 2.0, "accuracy": 0.75}
    again.reset()
    add(again, np.array(4.0), LOGITS, np.array([2, 0, 1, 0]), Tape())
    assert read(again) == {"loss": 4.0, "accuracy": 0.0}


def test_a_state_before_the_first_batch_can_be_restored():
    means = RunningMeans("binary")
    means.restore(RunningMeans("binary").state())
    add(means, np.array(1.0), LOGITS, LOGITS, Tape())
    assert read(means)["loss"] == 1.0


def reads(batch_size, callbacks=(), epochs=3, **options):
    """Return how often a training read its device."""
    X, y = classification()
    before = CPU.host_reads
    gn.Trainer(net(dropout=0.2), callbacks=callbacks).fit(X, y, epochs=epochs, batch_size=batch_size, **options)
    return CPU.host_reads - before


def test_an_epoch_reads_the_device_once():
    assert reads(batch_size=60) == reads(batch_size=3) == 3
    assert reads(batch_size=60, epochs=1) == 1


def test_validation_and_callbacks_read_no_more_for_more_batches(tmp_path):
    def callbacks():
        return [gn.EarlyStopping(), gn.TerminateOnNaN(), gn.Log(tmp_path / "log.jsonl")]

    few, many = (reads(size, callbacks(), validation=0.2) for size in (48, 2))
    # the means, whether the weights are finite, and the outputs for validation unless a native program computes them
    assert few == many == 3 * (2 if native.why_unavailable() is None else 3)


def test_a_callback_that_reads_every_step_is_seen():
    class Reads(gn.Callback):
        def on_step_end(self, trainer, rows):
            trainer.model.device.to_host(trainer.model.store.params)

    assert reads(batch_size=10, callbacks=[Reads()]) == 3 * (1 + 6)


def test_all_epochs_sum_into_one_array():
    means = RunningMeans("regression")
    places = set()
    for _ in range(3):
        add(means, np.array(1.0), LOGITS, LOGITS, Tape())
        places.add(means.totals.ctypes.data)
        assert read(means) == {"loss": 1.0}
        means.reset()
    assert len(places) == 1
