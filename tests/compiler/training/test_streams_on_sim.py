"""Training on files and iterables of batches with graphs, the persistent kernel (simulated GPU) and C++ nodes."""

import numpy as np
import pytest
from loaders import Loader
from problems import classification, measured, weights

import gpunet as gn
from gpunet.default_device import current_device
from gpunet.training import loading
from gpunet.training.step.graph import GraphExecutor
from gpunet.uploads import Staging

X, Y = classification(150)
WHERE = [("graph", "sim"), ("persistent", "sim"), ("eager", "sim"), ("native", "cpu")]


def trained(data, executor, device, **options):
    with gn.use_device(device):
        trainer = gn.Trainer(gn.MLP([5, 8, 3], dropout=0.2, seed=0), executor=executor)
        trainer.fit(*data, epochs=2, batch_size=32, **options)
    return trainer


def alike(one, other):
    np.testing.assert_array_equal(weights(one.model), weights(other.model))
    assert measured(one.history) == measured(other.history)


@pytest.mark.parametrize(("executor", "device"), WHERE)
@pytest.mark.parametrize("most", [1, 256])
def test_a_file_and_a_loader_train_bitwise_like_their_arrays(executor, device, most, tmp_path, monkeypatch):
    monkeypatch.setattr(loading, "MOST_BATCHES", most)
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    weight = 1.0 + Y
    alike(
        trained((mapped, Y), executor, device, sample_weight=weight),
        trained((X, Y), executor, device, sample_weight=weight),
    )
    alike(trained([Loader(X, Y)], executor, device), trained((X, Y), executor, device, shuffle=False))


def test_loads_are_uploaded_through_pinned_memory_and_captured_once(monkeypatch):
    monkeypatch.setattr(loading, "MOST_BATCHES", 2)
    uploaded, captured, upload, capture = [], [], Staging.upload, GraphExecutor._capture
    monkeypatch.setattr(Staging, "upload", lambda self, a, to: uploaded.append(a.nbytes) or upload(self, a, to))
    monkeypatch.setattr(GraphExecutor, "_capture", lambda self, steps: captured.append(steps) or capture(self, steps))
    trained([Loader(X, Y)], "graph", "sim")
    assert captured == [1, 1]  # a graph for a batch of 32 rows, one for the last of 22
    assert uploaded == 2 * 3 * [64 * X[:1].nbytes, 64 * Y[:1].nbytes]


def test_an_iterable_computes_on_the_device_of_the_block_around_fit():
    seen = set()

    class Asking(Loader):
        def __iter__(self):
            for batch in super().__iter__():
                seen.add(current_device().name)
                yield batch

    with gn.use_device("cpu"):
        trainer = gn.Trainer(gn.MLP([5, 8, 3]))
    with gn.use_device("sim"):
        trainer.fit(Asking(X, Y), epochs=1)
    assert seen == {"sim"}
