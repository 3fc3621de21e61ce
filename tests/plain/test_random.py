import threading
import tracemalloc

import numpy as np
import pytest

from gpunet.errors import ArgumentError, DTypeError
from gpunet.random import permutation, uniform

MASK = 2**64 - 1


def philox4x64_10(counter, key):
    """One block of Philox4x64-10, written from the paper's description: four 64-bit words."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        p0, p1 = 0xD2E7470EE14C6C93 * c0, 0xCA5A826395121157 * c2
        c0, c1, c2, c3 = (p1 >> 64) ^ c1 ^ k0, p1 & MASK, (p0 >> 64) ^ c3 ^ k1, p0 & MASK
        k0, k1 = (k0 + 0x9E3779B97F4A7C15) & MASK, (k1 + 0xBB67AE8584CAA73B) & MASK
    return c0, c1, c2, c3


def reference(element, *, seed, step, draw):
    """The number at one place, as the docstring of `uniform` describes it."""
    word = philox4x64_10((element // 8 + 1, step, draw, 0), (seed, 0))[element // 2 % 4]
    u = word >> 32 if element % 2 else word & 0xFFFFFFFF
    return np.float32((u >> 8) * 2.0**-24)


def drawn(shape, **where):
    out = np.full(shape, np.nan, np.float32)
    uniform(out, **where)
    return out


def test_the_reference_gives_the_published_known_answer():
    block = philox4x64_10((0, 0, 0, 0), (0, 0))  # the first vector of the paper's own library, Random123
    assert block == (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B)


@pytest.mark.parametrize(
    ("seed", "step", "draw", "first_row"), [(0, 0, 0, 0), (7, 3, 1, 5), (MASK, MASK, MASK, 2**40), (2**63, 1, 0, 1)]
)
@pytest.mark.parametrize("width", [1, 3, 8, 13])
def test_every_element_is_the_documented_function_of_its_place(seed, step, draw, first_row, width):
    out = drawn((5, width), seed=seed, step=step, draw=draw, first_row=first_row)
    start = first_row * width
    expected = [reference(start + e, seed=seed, step=step, draw=draw) for e in range(out.size)]
    np.testing.assert_array_equal(out.ravel(), expected)


def test_known_random_numbers_never_change():
    out = drawn((1, 4), seed=42, step=7, draw=1)
    assert (out * 2**24).astype(int).tolist() == [[11915447, 15966096, 15927073, 6974770]]


@pytest.mark.parametrize("shape", [(8, 1), (8, 7), (8, 8), (8, 3, 5), (8,), (8, 0)])
@pytest.mark.parametrize("split", [0, 3, 8])
def test_rows_filled_in_two_parts_equal_rows_filled_at_once(shape, split):
    where = {"seed": 1, "step": 2, "draw": 3}
    parts = [drawn((split, *shape[1:]), **where), drawn((8 - split, *shape[1:]), **where, first_row=split)]
    np.testing.assert_array_equal(np.concatenate(parts), drawn(shape, **where))


@pytest.mark.parametrize("change", ["seed", "step", "draw", "first_row"])
def test_each_coordinate_gives_different_numbers(change):
    where = {"seed": 1, "step": 1, "draw": 1, "first_row": 1}
    shared = np.intersect1d(drawn((4, 16), **where)[0], drawn((4, 16), **{**where, change: 9})[0])
    assert shared.size == 0


def test_numbers_fill_the_unit_interval_evenly():
    counts, _ = np.histogram(drawn((1000, 100), seed=0, step=0, draw=0), bins=10, range=(0, 1))
    assert counts.sum() == 100_000
    assert np.abs(counts - 10_000).max() < 5 * np.sqrt(100_000 * 0.1 * 0.9)


def test_threads_do_not_disturb_each_other():
    expected = [drawn((64, 33), seed=t, step=0, draw=0) for t in range(4)]
    wrong = []

    def draw(t):
        for _ in range(50):
            if not np.array_equal(drawn((64, 33), seed=t, step=0, draw=0), expected[t]):
                wrong.append(t)

    threads = [threading.Thread(target=draw, args=(t,)) for t in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_a_draw_allocates_only_a_few_numbers():
    out = np.empty((1000, 77), np.float32)
    uniform(out, seed=0, step=0, draw=0)
    tracemalloc.start()
    uniform(out, seed=0, step=1, draw=0, first_row=1)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 4096


@pytest.mark.parametrize("bad", [-1, 2**64, 1.0, None])
@pytest.mark.parametrize("name", ["seed", "step", "draw", "first_row"])
def test_a_coordinate_out_of_range_is_named_and_nothing_is_written(name, bad):
    out = np.full((2, 2), np.nan, np.float32)
    where = {"seed": 0, "step": 0, "draw": 0, "first_row": 0, name: bad}
    with pytest.raises(ArgumentError, match=rf"{name}={bad}"):
        uniform(out, **where)
    assert np.isnan(out).all()


@pytest.mark.parametrize("dtype", ["f8", "f2", "i4", np.dtype("f4").newbyteorder()])
def test_an_array_of_another_dtype_is_refused(dtype):
    with pytest.raises(DTypeError, match="out has dtype"):
        uniform(np.empty((2, 2), dtype), seed=0, step=0, draw=0)


def read_only():
    out = np.empty((2, 2), np.float32)
    out.flags.writeable = False
    return out


@pytest.mark.parametrize("out", [np.empty((2, 3), np.float32).T, np.empty((4, 4), np.float32)[:, ::2], read_only()])
def test_a_strided_or_read_only_array_is_refused(out):
    with pytest.raises(ArgumentError, match="out is not C-contiguous"):
        uniform(out, seed=0, step=0, draw=0)


@pytest.mark.parametrize("n", [0, 1, 2, 1000])
def test_a_permutation_has_each_index_once(n):
    order = permutation(n, seed=3, epoch=4)
    assert order.dtype == np.int64
    np.testing.assert_array_equal(np.sort(order), np.arange(n))


def test_a_permutation_is_a_function_of_seed_and_epoch_alone():
    first = permutation(100, seed=1, epoch=0)
    others = [permutation(100, seed=1, epoch=1), permutation(100, seed=2, epoch=0)]
    assert not any(np.array_equal(first, other) for other in others)
    np.testing.assert_array_equal(permutation(100, seed=1, epoch=0), first)


def test_a_permutation_draws_from_another_stream_than_uniform():
    order = permutation(1000, seed=1, epoch=2)
    same_stream = np.random.Generator(np.random.Philox(key=[1, 0], counter=[0, 2, 0, 0])).permutation(1000)
    other_stream = np.random.Generator(np.random.Philox(key=[1, 1], counter=[0, 2, 0, 0])).permutation(1000)
    assert not np.array_equal(order, same_stream)
    np.testing.assert_array_equal(order, other_stream)


@pytest.mark.parametrize("name", ["n", "seed", "epoch"])
def test_a_permutation_of_a_negative_argument_is_refused(name):
    arguments = {"n": 5, "seed": 0, "epoch": 0, name: -1}
    with pytest.raises(ArgumentError, match=f"{name}=-1"):
        permutation(arguments.pop("n"), **arguments)
