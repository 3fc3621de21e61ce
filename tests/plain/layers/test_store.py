"""The flat store: layers hold views into it after they are built, moved, copied and pickled."""

import copy
import gc
import pickle
import weakref

import numpy as np
import pytest
from numpy.testing import assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, ShapeError, StateError
from gpunet.memory import CACHE_LINE

X = np.random.default_rng(0).standard_normal((5, 4)).astype(np.float32)


def model_of_all_kinds() -> gn.Sequential:
    inner = gn.Sequential(gn.Linear(3, 5, rng=1), gn.GELU(), gn.Dropout(0.5))
    return gn.Sequential(gn.Linear(4, 3, rng=0), gn.Tanh(), inner, gn.Flatten(), gn.Linear(5, 2, bias=False, rng=2))


def train_a_step(model: gn.Model, x: np.ndarray = X) -> np.ndarray:
    """Do a step of gradient descent and return the output before it."""
    tape, optimizer = gn.Tape(), gn.SGD(0.1).attach(model)
    y = model.forward(x.astype(model.dtype), tape)
    model.backward(np.ones_like(y), tape)
    optimizer.step()
    return y


def assert_views(model: gn.Layer) -> None:
    for which in ("params", "grads"):
        for leaf in model.leaves().values():
            for a in getattr(leaf, which).values():
                assert np.shares_memory(a, getattr(model.store, which))


def test_parameters_and_gradients_are_views_into_two_flat_buffers_with_aligned_segments():
    model = model_of_all_kinds()
    assert_views(model)
    assert list(model.store.segments) == ["0.weight", "0.bias", "2.0.weight", "2.0.bias", "4.weight"]
    assert list(model.parameters()) == list(model.gradients()) == list(model.store.segments)
    assert sum(a.size for a in model.parameters().values()) == 4 * 3 + 3 + 3 * 5 + 5 + 5 * 2
    for key, segment in model.store.segments.items():
        assert segment.start * model.store.params.itemsize % 256 == 0
        assert_array_equal(segment.view(model.store.params), model.parameters()[key])


def test_parameters_gradients_and_state_begin_at_a_cache_line():
    # many values, because a single one could be correct by chance
    models = [gn.MLP([size, 3]).to(dtype=dtype) for size in range(1, 20) for dtype in ("float32", "float64")]
    for model in models:
        gn.Adam().attach(model)
        for a in (model.store.params, model.store.grads, *model.store.slots.values()):
            assert a.ctypes.data % CACHE_LINE == 0


def test_a_write_to_the_flat_buffer_is_seen_by_the_layers():
    model = model_of_all_kinds()
    model.store.params.fill(3)
    assert all((a == 3).all() for a in model.parameters().values())


@pytest.mark.parametrize(
    "value",
    [[[1, 2], [3, 4]], np.array([[1.0, 3], [2, 4]]).T, np.array([[3, 4], [1, 2]])[::-1]],
    ids=["list", "F", "strided"],
)
def test_an_assignment_copies_the_values(value):
    layer = gn.Linear(2, 2)
    view = layer.params["weight"]
    layer.params["weight"] = value
    assert layer.params["weight"] is view
    assert_array_equal(view, [[1, 2], [3, 4]])
    assert_views(layer)


@pytest.mark.parametrize("value", [np.ones((3, 2)), np.ones(2), 1.0, np.ones((1, 2, 3))], ids=np.shape)
def test_an_assignment_of_another_shape_is_refused_and_changes_nothing(value):
    layer = gn.Linear(2, 3, rng=0)
    before = layer.params["weight"].copy()
    with pytest.raises(ShapeError, match=r"weight: cannot assign shape .* to an array of shape \(2, 3\)"):
        layer.params["weight"] = value
    assert_array_equal(layer.params["weight"], before)


def test_an_assignment_to_an_unknown_name_is_refused():
    layer = gn.Linear(2, 3, bias=False)
    with pytest.raises(KeyError, match="bias"):
        layer.params["bias"] = np.ones(3)
    assert dict(layer.params).keys() == {"weight"}


def test_a_layer_in_a_model_keeps_its_values_and_frees_its_memory():
    layer = gn.Linear(4, 3, rng=0)
    before, memory = layer.forward(X), weakref.ref(layer.store.params)
    model = gn.Sequential(layer, gn.Linear(3, 2))
    assert_array_equal(layer.forward(X), before)
    assert np.shares_memory(layer.params["weight"], model.store.params)
    gc.collect()
    assert memory() is None
    with pytest.raises(StateError, match=r"Linear\(4, 3\) is part of another model"):
        layer.to(dtype="float64")
    model.to(dtype="float64")
    assert layer.dtype == layer.params["weight"].dtype == np.float64


def test_an_optimizer_of_a_model_that_lost_a_layer_to_another_one_is_refused():
    layer, other = gn.Linear(4, 3), gn.Linear(3, 2)
    old = gn.Sequential(layer, other)
    optimizer = gn.Adam().attach(old)
    new = gn.Sequential(layer)
    before = [a.copy() for a in old.parameters().values()]
    with pytest.raises(StateError, match="attach"):
        optimizer.step()
    with pytest.raises(StateError, match="part of another model"):
        gn.SGD(0.1).attach(old)
    with pytest.raises(StateError, match="part of another model"):
        old.to(dtype="float64")
    for a, b in zip(old.parameters().values(), before, strict=True):
        assert_array_equal(a, b)
    assert_views(new)
    train_a_step(gn.Sequential(other), np.ones((2, 3)))  # the layers that stayed behind can become part of a new model


def test_a_model_within_a_model_follows_the_outer_one():
    inner = gn.Sequential(gn.Linear(4, 3, rng=0), gn.SiLU())
    before = inner.forward(X)
    outer = gn.Sequential(inner, gn.Linear(3, 2, rng=1))
    assert_array_equal(inner.forward(X), before)
    outer.to(dtype="float64")
    assert inner.dtype == np.float64
    weight = inner[0].params["weight"].copy()
    train_a_step(outer)
    assert (inner[0].params["weight"] != weight).all()
    assert_array_equal(outer.forward(X.astype(float)), outer[1].forward(inner.forward(X.astype(float))))


def test_a_layer_with_parameters_can_appear_only_once():
    layer = gn.Linear(4, 4)
    for build in (lambda: gn.Sequential(layer, layer), lambda: gn.Sequential(gn.Sequential(layer), gn.Tanh(), layer)):
        with pytest.raises(ArgumentError, match=r"Linear\(4, 4\) appears twice"):
            build()


COPIES = {"pickle": lambda model: pickle.loads(pickle.dumps(model)), "deepcopy": copy.deepcopy}


@pytest.fixture(params=COPIES.values(), ids=COPIES.keys())
def copied(request):
    return request.param


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_copy_gives_the_same_bits_and_shares_no_memory(copied, dtype):
    model = model_of_all_kinds().to(dtype=dtype)
    train_a_step(model)
    model.task, model.classes = "classification", ("no", "yes")
    twin = copied(model)
    x = X.astype(dtype)
    before = model.forward(x)
    assert_array_equal(twin.forward(x), before, strict=True)
    assert (twin.task, twin.classes) == (model.task, model.classes)
    assert repr(twin) == repr(model)
    assert_views(twin)
    for key, a in twin.parameters().items():
        assert not np.shares_memory(a, model.parameters()[key])
    assert_array_equal(train_a_step(twin), train_a_step(copied(model)))
    assert_array_equal(model.forward(x), before)
    assert (twin.forward(x) != before).any()


def test_a_copy_of_a_layer_in_a_model_is_independent(copied):
    model = model_of_all_kinds()
    twin = copied(model[0])
    assert_array_equal(twin.params["weight"], model[0].params["weight"])
    twin.to(dtype="float64")
    assert model.dtype == np.float32
    assert_views(model)
    assert_views(twin)


def test_a_round_trip_of_dtypes_keeps_the_numbers_and_the_views():
    model = model_of_all_kinds()
    train_a_step(model)
    before = {key: a.copy() for key, a in (model.parameters() | model.gradients()).items()}
    assert model.to(dtype="float64") is model
    assert model.dtype == np.float64
    assert_views(model)
    assert model.forward(X.astype(float)).dtype == np.float64
    model.to(dtype="float32")
    assert_views(model)
    for key, a in (model.parameters() | model.gradients()).items():
        assert_array_equal(a, before[key], strict=True)


def test_a_model_without_parameters_has_an_empty_store():
    model = gn.Sequential(gn.Flatten(), gn.ReLU())
    assert model.store.params.size == 0
    assert_array_equal(train_a_step(model), np.maximum(X, 0))
