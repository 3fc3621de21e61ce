"""Arrays of the simulated GPU compute as NumPy's, refuse what CuPy's refuse, and count GPU operations."""

import copy
import pickle

import numpy as np
import pytest

import gpunet.simulator as cp
from gpunet.simulator.functions import BINARY, UNARY

HOST = np.arange(1, 13, dtype=np.float32).reshape(3, 4)


@pytest.fixture
def x():
    return cp.asarray(HOST)


@pytest.fixture
def counts():
    """Return a function that runs a callable and returns the counters that it changed."""

    def counted(work):
        cp.counters.reset()
        work()
        return {name: count for name, count in vars(cp.counters).items() if count}

    return counted


# computing


@pytest.mark.parametrize("name", UNARY.split())
def test_unary_functions_match_numpy(name):
    host = HOST.astype(np.int32) if name == "invert" else HOST / 16
    np.testing.assert_array_equal(getattr(cp, name)(cp.asarray(host)).get(), getattr(np, name)(host))


@pytest.mark.parametrize("name", BINARY.split())
def test_binary_functions_match_numpy_also_with_out(name):
    host = HOST.astype(np.int32) if "bitwise" in name or "shift" in name else HOST
    expected = getattr(np, name)(host, host[0])
    device, row = cp.asarray(host), cp.asarray(host[0])
    np.testing.assert_array_equal(getattr(cp, name)(device, row).get(), expected)
    out = cp.empty(expected.shape, expected.dtype)
    assert getattr(cp, name)(device, row, out=out) is out
    np.testing.assert_array_equal(out.get(), expected)


@pytest.mark.parametrize(
    "work",
    [
        lambda xp, a: a.sum(axis=0, keepdims=True),
        lambda xp, a: xp.argmax(a, axis=1),
        lambda xp, a: a.max() - a.min(axis=1),
        lambda xp, a: a @ a.T,
        lambda xp, a: 2**a % 7 + -a / 3 - 1,
        lambda xp, a: xp.concatenate([a, a[:1]], axis=0),
        lambda xp, a: xp.where(a > 3, a, 0),
        lambda xp, a: xp.stack((a, a)).swapaxes(0, 1),
        lambda xp, a: a[1:, ::-2].reshape(-1),
        lambda xp, a: a[a > 5],
        lambda xp, a: xp.clip(a, 2, 5).astype(np.int64),
        lambda xp, a: xp.take(a, xp.asarray([2, 0]), axis=1),
        lambda xp, a: xp.full((2, 2), 7, np.int32),
        lambda xp, a: xp.zeros_like(a) + xp.arange(4),
        lambda xp, a: xp.ascontiguousarray(a.T),
        lambda xp, a: a.view(np.int32),
        lambda xp, a: xp.divide(a, 0),
    ],
)
@pytest.mark.filterwarnings("ignore:divide by zero")
def test_array_code_matches_numpys_values_and_dtypes(x, work):
    expected, result = work(np, HOST), work(cp, x)
    assert isinstance(result, cp.ndarray)
    assert result.dtype == expected.dtype
    np.testing.assert_array_equal(result.get(), expected)


def test_numpys_functions_dispatch_to_the_device(x):
    assert isinstance(np.exp(x), cp.ndarray)
    assert isinstance(np.sum(x, axis=0), cp.ndarray)
    assert np.shape(x) == (3, 4)


def test_a_reduction_gives_an_array_without_axes(x):
    total = x.sum()
    assert isinstance(total, cp.ndarray)
    assert total.shape == ()


def test_writing_changes_the_array_in_place(x):
    row = x[1]
    x += 1
    x[0, 1:3] = 9
    x[cp.asarray([2])] = x[:1]
    cp.copyto(row, 5, where=row > 7)
    np.testing.assert_array_equal(x.get(), [[2, 9, 9, 5], [6, 7, 5, 5], [2, 9, 9, 5]])


# memory


def test_a_view_shares_memory_and_has_a_base(x):
    for view in (x[1:], x.T, x.reshape(4, 3), x[0, 0], x.ravel(), cp.broadcast_to(x, (2, 3, 4))):
        assert view.base is x
        assert not view.flags.owndata
    assert x[1:][0].base is x
    assert x[1:].data.ptr == x.data.ptr + 16
    assert x.T.flags.f_contiguous
    assert not x.T.flags["C_CONTIGUOUS"]


def test_a_copy_has_its_own_memory(x):
    for fresh in (x.copy(), x + 0, x[cp.asarray([0])], x.T.reshape(-1), cp.array(x), x.astype(np.float64)):
        assert fresh.base is None
        assert fresh.data.mem is not x.data.mem


def test_memory_has_cupys_alignment():
    assert all(cp.empty(n).data.ptr % 512 == 0 for n in range(8))


def test_an_array_at_a_memory_pointer_shares_its_memory(x):
    column = cp.ndarray((3,), np.float32, x[0, 1:2].data, strides=(16,))
    np.testing.assert_array_equal(column.get(), HOST[:, 1])


# operations that CuPy refuses


@pytest.mark.parametrize(
    "work",
    [
        np.asarray,
        lambda x: x + HOST,
        lambda x: HOST + x,
        lambda x: cp.add(x, HOST),
        lambda x: cp.add(x, 1, out=HOST.copy()),
        lambda x: np.add(HOST, 1, out=x, where=x > 0),
        lambda x: cp.add(x, [1, 2, 3, 4]),
        lambda x: cp.concatenate([x, HOST]),
        lambda x: np.concatenate([HOST, x]),
        lambda x: x.__setitem__(0, HOST[0]),
        lambda x: x.fill(HOST),
        lambda x: x.set(x),
        lambda x: x.set(HOST.astype(np.float64)),
        lambda x: cp.take(x, cp.asarray([0]), mode="clip"),
        lambda x: cp.exp(x, where=x > 0),
        lambda x: np.cbrt(x),
        hash,
    ],
)
def test_unsupported_operands_raise_cupys_type_error(x, work):
    with pytest.raises(TypeError):
        work(x)
    np.testing.assert_array_equal(x.get(), HOST)


def test_host_data_of_another_shape_cannot_be_set(x):
    with pytest.raises(ValueError, match=r"\(4, 3\)"):
        x.set(np.ones((4, 3), np.float32))


def test_text_and_object_dtypes_are_refused():
    with pytest.raises(ValueError, match="dtype"):
        cp.asarray(["a"])


def test_indices_out_of_range_wrap_around(x):
    np.testing.assert_array_equal(x[cp.asarray([4, -1])].get(), HOST[[1, 2]])
    np.testing.assert_array_equal(x[:, cp.asarray([5])].get(), HOST[:, [1]])
    np.testing.assert_array_equal(cp.take(x, cp.asarray([3]), axis=0).get(), HOST[[0]])
    with pytest.raises(IndexError):
        x[3]


# counters


@pytest.mark.parametrize("work", [float, int, bool, repr, str, lambda a: a.item(), lambda a: f"{a:.2f}", cp.asnumpy])
def test_reading_a_value_on_the_host_synchronizes_and_copies(x, work, counts):
    total = x.sum()
    assert counts(lambda: work(total)) == {"downloads": 1, "synchronizations": 1}


def test_computing_neither_synchronizes_nor_copies(x, counts):
    def work():
        cp.add(x, 1, out=x)
        x.fill(3)
        x[0] = x[1]
        x[1:].T.swapaxes(0, 1)

    assert counts(work) == {"launches": 3}


def test_only_new_arrays_allocate(x, counts):
    assert counts(lambda: x + 1) == {"allocations": 1, "launches": 1}
    assert counts(lambda: x.T) == {}


def test_host_data_are_copied_once(counts):
    assert counts(lambda: cp.asarray(HOST)) == {"allocations": 1, "uploads": 1}


def test_a_boolean_mask_synchronizes_for_the_size(x, counts):
    mask = x > 3
    assert counts(lambda: x[mask])["synchronizations"] == 1
    assert counts(lambda: x.nonzero())["synchronizations"] == 1


def test_synchronizing_is_counted(counts):
    assert counts(cp.cuda.Device().synchronize) == {"synchronizations": 1}
    assert counts(cp.cuda.Stream.null.synchronize) == {"synchronizations": 1}


# copies


def test_copies_and_pickles_have_the_same_values(x):
    for twin in (copy.deepcopy(x), copy.copy(x), pickle.loads(pickle.dumps(x))):
        assert isinstance(twin, cp.ndarray)
        np.testing.assert_array_equal(twin.get(), HOST)
        assert twin.data.mem is not x.data.mem


def test_uninitialized_memory_reads_as_nan_in_check_mode():
    with cp.check_mode():
        assert np.isnan(cp.empty(3).get()).all()


def test_check_mode_is_set_by_block_or_environment(monkeypatch):
    assert not cp.checking()
    monkeypatch.setenv("GPUNET_SIM_CHECK", "1")
    assert cp.checking()
    with cp.check_mode(False):
        assert not cp.checking()
