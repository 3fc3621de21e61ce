"""Gather with the kernel, compared with the CPU."""

import numpy as np
import pytest
from compiler.ops.simulated import SIM, only_launches, to_sim

from gpunet import simulator
from gpunet.data import Standardizer
from gpunet.errors import ShapeError
from gpunet.ops._gather import gather, gather_batch
from gpunet.tape import Tape


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.int32, np.uint8, bool, np.int16, np.float16])
@pytest.mark.parametrize("shape", [(9,), (9, 1), (9, 3), (9, 16), (9, 2, 8), (9, 0)])
def test_the_rows_match_the_cpu(shape, dtype):
    a = np.random.default_rng(0).integers(0, 100, shape).astype(dtype)
    with simulator.check_mode():
        there, tape = to_sim(a), Tape()
        for rows in (np.array([8, 0, 0, 5]), np.array([3]), np.array([], np.int64)):
            tape.reset()
            batch = gather(there, to_sim(rows), tape=tape)
            assert (batch.shape, batch.dtype) == (a[rows].shape, a.dtype)
            np.testing.assert_array_equal(SIM.to_host(batch), gather(a, rows))


def test_indices_of_narrower_dtypes_and_views_give_the_same():
    a = np.arange(40, dtype=np.float32).reshape(8, 5)
    rows = np.array([7, 1, 6, 2], np.int32)
    with simulator.check_mode():
        np.testing.assert_array_equal(SIM.to_host(gather(to_sim(a), to_sim(rows)[::2])), a[[7, 6]])
        np.testing.assert_array_equal(SIM.to_host(gather(to_sim(a).T, to_sim(rows[1:2]))), a.T[[1]])


def test_a_batch_of_an_epoch_is_gathered_by_one_launch():
    a, order = to_sim(np.ones((20, 6), np.float32)), to_sim(np.arange(20))
    tape = Tape()
    gather(a, order[:5], tape=tape)
    tape.reset()
    with only_launches():
        gather(a, order[5:10], tape=tape)
    assert simulator.counters.launches == 1


def test_each_batch_of_an_epoch_takes_one_launch():
    rng = np.random.default_rng(0)
    x, y, order = rng.integers(0, 256, (20, 6), np.uint8), rng.integers(0, 3, 20), rng.permutation(20)
    scaler, tape = Standardizer.fit(x), Tape()
    expected = scaler.apply(x, np.dtype(np.float32)), y
    with simulator.check_mode():
        arrays = [to_sim(a) for a in (x, y, np.ones(20, np.float32))]
        scaling = [to_sim(a) for a in (scaler.mean, scaler.factor)]
        data = arrays, scaling, to_sim(order), to_sim(np.array([3])), 5, np.dtype(np.float32)
        for begin in (3, 8, 13):
            tape.reset()
            if begin == 3:
                batch = gather_batch(*data, tape=tape)
            else:
                with only_launches():
                    batch = gather_batch(*data, tape=tape)
                assert simulator.counters.launches == 1
            for a, rows in zip(expected, batch, strict=False):
                np.testing.assert_array_equal(SIM.to_host(rows), a[order[begin : begin + 5]])
                assert rows.dtype == a.dtype
            assert SIM.to_host(batch[2]).tolist() == [1] * 5


def test_rows_of_an_empty_array_raise():
    with pytest.raises(ShapeError, match=r"a has no rows \(shape \(0, 3\)\), but 1 are requested"):
        gather(to_sim(np.empty((0, 3))), to_sim(np.array([0])))
