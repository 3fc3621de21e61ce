"""Training on iterables of batches, such as a DataLoader, and on memory-mapped files."""

import itertools
import re
import subprocess
import sys
import threading

import numpy as np
import pytest
from loaders import Loader, Tensor, WithoutLength
from problems import classification, measured, net, regression, weights

import gpunet as gn
from gpunet.data import Standardizer, mapped
from gpunet.errors import ArgumentError, DataError, DTypeError, ShapeError
from gpunet.training import loading
from gpunet.training.distributed import Ranks

X, Y = classification(150)
EXECUTORS = ["auto", "numpy", "eager"]


def trainer(executor="auto", callbacks=(), **options):
    return gn.Trainer(net(dropout=0.2), executor=executor, callbacks=callbacks, **options)


def alike(one, other):
    """Check that two trainings gave the same bits."""
    np.testing.assert_array_equal(weights(one.model), weights(other.model))
    assert measured(one.history) == measured(other.history)
    assert (one.epoch, one.position, one.rows) == (other.epoch, other.position, other.rows)


def of_file(tmp_path, *arrays):
    """Return the arrays as memory-mapped files."""
    for number, a in enumerate(arrays):
        np.save(tmp_path / f"{number}.npy", a)
    return [np.load(tmp_path / f"{number}.npy", mmap_mode="r") for number in range(len(arrays))]


class Failing(Loader):
    """A loader that yields or raises `what` instead of one batch of one epoch, or ends there."""

    def __init__(self, *arrays, what, epoch=0, batch=3):
        super().__init__(*arrays)
        self.what, self.epoch, self.batch = what, epoch, batch

    def __iter__(self):
        epoch = len(self.epochs)
        for number, batch in enumerate(super().__iter__(), 1):
            if (epoch, number) == (self.epoch, self.batch):
                if isinstance(self.what, Exception):
                    raise self.what
                if self.what is StopIteration:
                    return
                yield self.what
            else:
                yield batch


@pytest.mark.parametrize("executor", EXECUTORS)
def test_batches_of_a_loader_train_bitwise_like_their_arrays(executor):
    one, other = trainer(executor), trainer(executor)
    one.fit(Loader(X, Y), epochs=3, validation=(X, Y))
    other.fit(X, Y, epochs=3, shuffle=False, validation=(X, Y))
    alike(one, other)


def test_weights_in_the_batches_are_those_of_the_rows():
    weight = np.arange(150) % 4
    weight[32:64] = 0  # all rows of a batch
    one, other = trainer(), trainer()
    one.fit(Loader(X, Y, weight), epochs=2)
    other.fit(X, Y, epochs=2, shuffle=False, sample_weight=weight * 1.5 / weight.mean())
    np.testing.assert_allclose(weights(one.model), weights(other.model), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("executor", EXECUTORS)
@pytest.mark.parametrize("options", [{}, {"validation": 0.2}, {"drop_last": True}, {"shuffle": False}], ids=str)
def test_memory_mapped_arrays_train_bitwise_like_arrays_in_memory(executor, options, tmp_path):
    one, other = trainer(executor), trainer(executor)
    options |= {"epochs": 3, "sample_weight": 1.0 + Y}
    one.fit(*of_file(tmp_path, X, Y), **options)
    other.fit(X, Y, **options)
    alike(one, other)


@pytest.mark.parametrize("kind", [np.uint8, np.float64, ">f4"])
def test_mapped_features_of_other_dtypes_and_scaled_ones_train_bitwise_equally(kind, tmp_path):
    features = (10 * np.abs(X)).astype(kind)
    one, other = trainer(), trainer()
    for each in (one, other):
        each.model.input_scaler = Standardizer.fit(features)
    one.fit(*of_file(tmp_path, features, Y), epochs=2)
    other.fit(features, Y, epochs=2)
    alike(one, other)


def test_views_and_columns_of_mapped_arrays_are_read_correctly(tmp_path):
    stored, labels = of_file(tmp_path, np.hstack([X, X + 1]), Y)
    one, other = trainer(), trainer()
    one.fit(stored[::2, 5:], labels[::2], epochs=2)
    other.fit(X[::2] + 1, Y[::2], epochs=2)
    alike(one, other)


def test_mapped_targets_are_standardised_and_validated_as_in_memory(tmp_path):
    features, values = regression(150)
    one, other = (gn.Trainer(net(1), loss=gn.MSELoss()) for _ in range(2))
    for each in (one, other):
        each.model.target_scaler = Standardizer.fit(values)
    one.fit(*of_file(tmp_path, features, values), epochs=2, validation=0.3)
    other.fit(features, values, epochs=2, validation=0.3)
    alike(one, other)


def test_mapped_text_labels_name_the_classes(tmp_path):
    names = np.array(["cat", "dog", "owl"])[Y]
    one, other = trainer(), trainer()
    one.fit(*of_file(tmp_path, X, names), epochs=2, validation=0.2)
    other.fit(X, names, epochs=2, validation=0.2)
    alike(one, other)
    assert one.model.classes == ("cat", "dog", "owl")


@pytest.mark.parametrize("most", [1, 2, 100])
def test_the_size_of_a_load_does_not_change_the_bits(most, monkeypatch):
    class EachStep(gn.Callback):
        def on_step_end(self, trainer, rows):
            pass

    one, other = trainer(), trainer(callbacks=[EachStep()])
    one.fit(Loader(X, Y), epochs=2)
    monkeypatch.setattr(loading, "MOST_BATCHES", most)
    other.fit(Loader(X, Y), epochs=2)
    alike(one, other)


def test_reading_few_rows_of_a_file_at_a_time_does_not_change_the_bits(tmp_path, monkeypatch):
    one, other = trainer(), trainer()
    one.fit(X, Y, epochs=2, validation=0.2)
    monkeypatch.setattr(mapped, "MAX_RESIDENT", 1)
    monkeypatch.setattr(mapped, "BLOCK", 7 * X[:1].nbytes)
    other.fit(*of_file(tmp_path, X, Y), epochs=2, validation=0.2)
    alike(one, other)


def test_private_changes_of_a_memory_map_are_used(tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "MAX_RESIDENT", 1)
    np.save(tmp_path / "X.npy", np.zeros_like(X))
    private = np.load(tmp_path / "X.npy", mmap_mode="c")
    private[...] = X
    one, other = trainer(), trainer()
    one.fit(private, Y, epochs=2)
    other.fit(X, Y, epochs=2)
    alike(one, other)


def test_batches_may_have_different_sizes():
    starts = [0, 3, 40, 41, 41 + 37, 100, 149, 150]
    batches = [(X[a:b], Y[a:b]) for a, b in itertools.pairwise(starts)]
    one, other = trainer("numpy"), trainer("numpy")
    one.fit(batches, epochs=2)
    for _ in range(2):
        for x, y in batches:
            other.step(x, y)
    np.testing.assert_allclose(weights(one.model), weights(other.model), rtol=1e-5, atol=1e-6)
    assert one.optimizer.steps == 14


def test_an_iterable_may_reuse_its_arrays():
    class Reusing(Loader):
        def __iter__(self):
            x, y = np.empty((30, 5), np.float32), np.empty(30, np.int64)
            for start in range(0, 150, 30):
                x[...], y[...] = X[start : start + 30], Y[start : start + 30]
                yield x, y

    one, other = trainer(), trainer()
    one.fit(WithoutLength(Reusing(X, Y)), epochs=2)
    other.fit(X, Y, epochs=2, batch_size=30, shuffle=False)
    alike(one, other)


def test_the_next_batches_are_loaded_by_a_thread_while_steps_run(monkeypatch):
    monkeypatch.setattr(loading, "MOST_BATCHES", 1)
    asked, events = threading.Event(), []

    class Note(gn.Callback):
        def on_step_end(self, trainer, rows):
            if trainer.optimizer.steps == 1:
                events.append(asked.wait(10))

    class Slow(Loader):
        def __iter__(self):
            for number, batch in enumerate(super().__iter__()):
                if number == 2:  # batch 1 has already been loaded ahead
                    events.append(threading.current_thread().name)
                    asked.set()
                yield batch

    trainer(callbacks=[Note()]).fit(Slow(X, Y), epochs=1)
    assert True in events
    assert any(isinstance(event, str) and event.startswith("gpunet-loader") for event in events)
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("gpunet-loader")]


def test_the_number_of_rows_comes_from_the_length_or_the_first_epoch():
    class Note(gn.Callback):
        def on_fit_begin(self, trainer, total_rows):
            self.total = total_rows

    for batches, total in ((Loader(X[:128], Y[:128]), 3 * 128), (WithoutLength(Loader(X[:128], Y[:128])), 0)):
        note = Note()
        one = trainer(callbacks=[note])
        one.fit(batches, epochs=3)
        assert (note.total, one.rows, len(one.history)) == (total, 128, 3)


def test_validation_on_an_iterable_or_a_file_equals_that_in_memory(tmp_path):
    histories = []
    for validation in ((X, Y), Loader(X, Y), tuple(of_file(tmp_path, X, Y))):
        one = trainer(metrics={"accuracy": gn.metrics.accuracy, "auc": gn.metrics.roc_auc})
        histories.append(measured(one.fit(X, Y, epochs=2, validation=validation)))
        assert one.evaluate(Loader(X, Y)) == pytest.approx(one.evaluate(X, Y), rel=1e-6)
    for other in histories[1:]:
        for row, expected in zip(other, histories[0], strict=True):
            assert row == pytest.approx(expected, rel=1e-6)


def test_weights_of_streamed_validation_rows_weight_the_loss(tmp_path):
    weight = 1.0 + Y
    histories = []
    for validation in ((X, Y, weight), Loader(X, Y, weight), (*of_file(tmp_path, X, Y), weight)):
        one = trainer()
        histories.append(measured(one.fit(X, Y, epochs=2, validation=validation)))
        assert one.evaluate(Loader(X, Y, weight)) == pytest.approx(one.evaluate(X, Y, weight), rel=1e-6)
    for other in histories[1:]:
        for row, expected in zip(other, histories[0], strict=True):
            assert row == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("class_weight", ["balanced", {"0": 3.0}], ids=str)
def test_balanced_class_weights_of_a_mapped_file_equal_those_in_memory(class_weight, tmp_path):
    rows = np.arange(150) % 5 < 4
    one, other = (gn.Trainer(net(), loss=gn.CrossEntropyLoss(class_weight=class_weight), seed=1) for _ in range(2))
    options = {"epochs": 2, "validation": 0.2, "sample_weight": 1.0 + Y[rows]}
    one.fit(*of_file(tmp_path, X[rows], Y[rows]), **options)
    other.fit(X[rows], Y[rows], **options)
    alike(one, other)


def test_class_weights_by_name_apply_to_batches_of_an_iterable():
    one, other = (gn.Trainer(net(), loss=gn.CrossEntropyLoss(class_weight={"0": 3.0})) for _ in range(2))
    one.fit(Loader(X, Y), epochs=2)
    other.fit(X, Y, epochs=2, shuffle=False)
    alike(one, other)


def test_balanced_weights_of_classes_need_all_labels():
    one = gn.Trainer(net(), loss=gn.CrossEntropyLoss(class_weight="balanced"))
    with pytest.raises(ArgumentError, match="counts the labels of all rows, which is not possible for an iterable"):
        one.fit(Loader(X, Y), epochs=2)
    one.fit(X, Y, epochs=1)
    one.fit(Loader(X, Y), epochs=1)  # the previous fit has counted the labels


# what is refused before the first step

REFUSED = {
    "y missing": (X, {}, ArgumentError, "fit: y is missing; it can be omitted only if X is an iterable of batches"),
    "a generator": ((b for b in Loader(X, Y)), {}, ArgumentError, "2 epochs, but X is a generator"),
    "sample_weight": (Loader(X, Y), {"sample_weight": np.ones(150)}, ArgumentError, "sample_weight works only"),
    "a share": (Loader(X, Y), {"validation": 0.2}, ArgumentError, "fit: cannot hold out a fraction of an iterable"),
    "validation once": (Loader(X, Y), {"validation": iter([(X, Y)])}, ArgumentError, "validation is a generator"),
    "validation, bad": (Loader(X, Y), {"validation": Loader(X[:, :4], Y)}, ShapeError, "validation: batch 1: X"),
    "empty": ([], {}, DataError, "the iterable is empty: it has no batches."),
    "validation, a list": (Loader(X, Y), {"validation": [X, Y]}, DataError, "validation: batch 1 must be (X, y)"),
    "validation, empty": (Loader(X, Y), {"validation": []}, DataError, "validation: the iterable is empty"),
    "validation, parts": (Loader(X, Y), {"validation": (X,)}, ArgumentError, "validation must be a fraction of"),
    "on a GPU": (Loader(X, Y, device="cuda:0"), {}, DTypeError, "batch 1: X is on a GPU; copy it to the host"),
    "elsewhere": (Loader(X, Y, device="mps:0"), {}, DTypeError, "batch 1: X cannot be read as an array: can't conv"),
    "features alone": (Loader(X), {}, DataError, "batch 1 must be (X, y) or (X, y, weight), got 1 parts"),
    "dicts": ([{"x": X, "y": Y}], {}, DataError, "batch 1 must be (X, y) or (X, y, weight), got a dict"),
    "NaN": (Loader(np.where(X > 3, np.nan, X), Y), {}, DataError, "batch 1: X is nan at row"),
    "labels": (Loader(X, Y + 1), {}, DataError, "batch 1: y is 3 at row"),
    "lengths": ([(X, Y[:9])], {}, ShapeError, "batch 1: lengths differ: X has 150, y has 9"),
    "text": ([(X, np.array(list("abc"))[Y])], {}, DataError, "batch 1: y: text labels, but the model's classes have"),
    "weights": (Loader(X, Y, -np.ones(150)), {}, DataError, "batch 1: weight is -1.0 at row 0"),
}  # fmt: skip


@pytest.mark.parametrize(("batches", "options", "error", "said"), REFUSED.values(), ids=REFUSED.keys())
def test_bad_streams_are_refused_before_the_first_step_and_nothing_changes(batches, options, error, said):
    one = trainer()
    before = weights(one.model)
    with pytest.raises(error, match=re.escape(said)):
        one.fit(batches, epochs=2, **options)
    np.testing.assert_array_equal(weights(one.model), before)
    assert (len(one.history), one.epoch, one.position, one.optimizer.steps, one.history.stopped) == (0, 0, 0, 0, None)


def test_weights_whose_sum_overflows_are_refused():
    with pytest.raises(DataError, match=r"batch 1: weight: the sum overflows in float32"):
        trainer().fit([(X, Y, np.full(len(X), 1e38))])


def test_distributed_training_refuses_an_iterable():
    class Comm:
        rank, size = 0, 2

        def allgather(self, thing):
            return [thing, thing]

    one = trainer()
    one.ranks = Ranks(Comm())
    with pytest.raises(ArgumentError, match="distributed training needs arrays, not an iterable"):
        one.fit(Loader(X, Y), epochs=2)


@pytest.mark.parametrize("block", [2**23, 200])
def test_a_bad_value_in_a_mapped_file_is_refused_before_the_first_step(block, tmp_path, monkeypatch):
    monkeypatch.setattr(mapped, "BLOCK", block)
    bad = X.copy()
    bad[140, 2] = np.inf
    one = trainer()
    with pytest.raises(
        DataError,
        match="X is inf at row 140, column 2" if block > 200 else "in the block from row 140: X is inf at row 0",
    ):
        one.fit(*of_file(tmp_path, bad, Y), epochs=2)
    assert (one.optimizer.steps, one.history.stopped) == (0, None)
    with pytest.raises(ShapeError, match="lengths differ: X has 150, y has 149"):
        one.fit(*of_file(tmp_path, X, Y[:-1]))


def batches_of(size):
    return [(X[start : start + size], Y[start : start + size]) for start in range(0, 150, size)]


class Places:
    """A sequence of batches with `__getitem__` and `__len__`, but without `__iter__`."""

    def __len__(self):
        return 5

    def __getitem__(self, place):
        return batches_of(30)[place % 5]


def test_batches_are_read_by_index_from_an_object_without_iter():
    one, other = trainer(), trainer()
    one.fit(Places(), epochs=2, validation=Places())
    other.fit(batches_of(30), epochs=2, validation=batches_of(30))
    alike(one, other)
    assert one.evaluate(Places()) == other.evaluate(batches_of(30))


@pytest.mark.parametrize("size", [150, 75, 50, 30])
def test_a_list_of_any_number_of_batches_validates(size):
    one, other = trainer(), trainer()
    one.fit(X, Y, epochs=1, validation=batches_of(size))
    other.fit(X, Y, epochs=1, validation=(X, Y))
    assert one.history["val_accuracy"] == other.history["val_accuracy"]


def test_validation_batches_that_end_early_are_refused():
    one = trainer()
    with pytest.raises(DataError, match="validation: the iterable ended after 2 of 5 batches"):
        one.fit(X, Y, epochs=3, validation=Failing(X, Y, what=StopIteration, epoch=1))
    with pytest.raises(DataError, match="the iterable ended after 2 of 5 batches"):
        one.evaluate(Failing(X, Y, what=StopIteration))
    assert one.fit(X, Y, epochs=1).stopped is None


def test_with_accumulation_only_complete_groups_count_as_steps():
    one = gn.Trainer(net(), accumulate=4)
    with pytest.raises(OSError, match="gone") as caught:
        one.fit(Failing(X, Y, what=OSError("gone")))
    assert caught.value.__notes__ == [
        "raised by the iterable after batch 2; all complete steps before that have been run"
    ]
    assert one.optimizer.steps == 0


@pytest.mark.parametrize("call", ["predict", "evaluate"])
def test_non_arrays_are_refused_with_advice(call):
    class LazyFrame:
        def collect(self):
            return X

    rest = (Y,) if call == "evaluate" else ()
    with pytest.raises(DTypeError, match="X is a Loader; pass an array of numbers"):
        getattr(trainer(), call)(Loader(X, Y), *rest)
    with pytest.raises(DTypeError, match=r"X is a LazyFrame; collect it first, with X.collect\(\)"):
        getattr(trainer(), call)(LazyFrame(), *rest)


# what shows in mid-epoch

WORSE = {
    "raises": (OSError("the disk is gone"), OSError, "the disk is gone"),
    "ends early": (StopIteration, DataError, "the iterable ended after 2 of 5 batches"),
    "other features": ([X[:32, :4], Y[:32]], ShapeError, "batch 3: X"),
    "other dtype": ([X[:32].astype(np.int8), Y[:32]], DataError, "batch 3: rows of (5,) int8, () int64, but the first"),
    "other parts": ([X[:32], Y[:32], np.ones(32)], DataError, "batch 3: rows of (5,) float32, () int64, () float32"),
    "NaN": ([np.full((32, 5), np.nan), Y[:32]], DataError, "batch 3: X is nan at row 0"),
    "on a GPU": ([Tensor(X[:32], "cuda:0"), Y[:32]], DTypeError, "batch 3: X is on a GPU"),
    "no batch": (None, DataError, "batch 3 must be (X, y) or (X, y, weight), got a NoneType"),
}


@pytest.mark.parametrize(("what", "error", "said"), WORSE.values(), ids=WORSE.keys())
@pytest.mark.parametrize("epoch", [0, 1])
def test_after_a_bad_batch_earlier_steps_are_done_and_training_can_continue(what, error, said, epoch):
    one, other = trainer(), trainer()
    with pytest.raises(error, match=re.escape(said)) as info:
        one.fit(Failing(X, Y, what=what, epoch=epoch), epochs=3)
    if error is OSError:
        assert "after batch 2" in info.value.__notes__[0]
    assert (one.history.stopped, one.epoch, one.position, one.optimizer.steps) == ("error", epoch, 64, 5 * epoch + 2)
    if epoch:
        other.fit(X, Y, epochs=1, shuffle=False)
    for start in (0, 32):
        other.step(X[start : start + 32], Y[start : start + 32])
    np.testing.assert_array_equal(weights(one.model), weights(other.model))
    for each in (one, other):
        each.fit(Loader(X, Y), epochs=2)  # the failed epoch starts again
    np.testing.assert_array_equal(weights(one.model), weights(other.model))
    assert measured(one.history)[-1]["loss"] == measured(other.history)[-1]["loss"]
    assert one.history.stopped is None
    one.fit(X, Y, epochs=1)
    one.step(X[:7], Y[:7])


def test_training_continues_with_arrays_after_an_iterable_has_failed():
    one = trainer()
    with pytest.raises(OSError, match="gone"):
        one.fit(Failing(X, Y, what=OSError("gone")))
    one.fit(X[:60], Y[:60], epochs=1)
    assert (one.epoch, one.optimizer.steps) == (1, 4)


class Once(Loader):
    """An iterable that works only once, although it is not an iterator."""

    def __iter__(self):
        return super().__iter__() if not self.epochs else iter(())


def test_an_iterable_that_is_empty_in_a_later_epoch_ends_the_training_with_an_error():
    one = trainer()
    with pytest.raises(DataError, match=r"ended after 0 batches\. Each epoch iterates over it again, which generators"):
        one.fit(WithoutLength(Once(X, Y)), epochs=2)
    assert (one.epoch, one.position, len(one.history)) == (1, 0, 1)


def test_a_generator_works_for_one_epoch_only():
    one, other = trainer(), trainer()
    one.fit((batch for batch in Loader(X, Y)), epochs=1)
    other.fit(X, Y, epochs=1, shuffle=False)
    alike(one, other)


def test_a_streamed_batch_too_small_for_batch_norm_is_refused():
    one = gn.Trainer(gn.Sequential(gn.Linear(5, 8, rng=0), gn.BatchNorm1d(8), gn.Linear(8, 3, rng=1)))
    with pytest.raises(DataError, match=r"batch 5: 1 row\(s\), but the model needs at least 2 per batch"):
        one.fit(Loader(X[:129], Y[:129]), epochs=1)
    assert one.optimizer.steps == 4


# interruptions and checkpoints


class Interrupt(gn.Callback):
    def __init__(self, at):
        self.at = at

    def on_step_end(self, trainer, rows):
        if trainer.optimizer.steps == self.at:
            trainer.stop("interrupted")


@pytest.mark.parametrize("of_files", [False, True], ids=["iterable", "files"])
@pytest.mark.parametrize("at", [2, 5, 8])
def test_an_interrupted_epoch_resumes_bitwise_also_from_a_checkpoint(of_files, at, tmp_path):
    data = of_file(tmp_path, X, Y) if of_files else [Loader(X, Y)]
    one, other = trainer(callbacks=[Interrupt(at)]), trainer()
    one.fit(*data, epochs=2)
    assert one.history.stopped == "interrupted"
    one.save(tmp_path / "half.st")
    resumed = gn.Trainer.resume(tmp_path / "half.st")
    resumed.fit(*data, epochs=3 - one.epoch)
    other.fit(*data, epochs=3)
    alike(resumed, other)


def test_an_interrupted_epoch_refuses_other_batches():
    one = trainer(callbacks=[Interrupt(2)])
    one.fit(Loader(X, Y), epochs=1)
    with pytest.raises(
        DataError, match="the interrupted epoch has 64 completed rows, but a batch of the iterable ends after"
    ):
        one.fit(Loader(X, Y, batch_size=30), epochs=1)
    with pytest.raises(DataError, match="X: 150 rows, but the interrupted epoch had batches of an iterable"):
        one.fit(X, Y, epochs=1)


# memory

LARGE = """
import resource, sys
import numpy as np
import gpunet as gn

rows, width = 4096, 16384
X = np.memmap(sys.argv[1], np.float32, "w+", shape=(rows, width))  # a sparse file of 256 MiB
y = np.arange(rows) % 3
trainer = gn.Trainer(gn.MLP([width, 2, 3], seed=0), executor="numpy")
trainer.fit(np.zeros((64, width), np.float32), y[:64], epochs=1, batch_size=64)
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
trainer.fit(X, y, epochs=1, batch_size=64, validation=0.1)
print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)
"""


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak of resident memory as Linux counts it")
def test_a_file_of_256_mib_trains_in_150_mib_of_memory(tmp_path):
    run = subprocess.run([sys.executable, "-c", LARGE, str(tmp_path / "X")], capture_output=True, text=True, check=True)
    assert int(run.stdout) < 150
