"""Helpers for tests of the operations on the device "sim"."""

import contextlib

import numpy as np

import gpunet as gn
from gpunet import simulator
from gpunet.simulator import counters
from gpunet.tape import Tape

CPU, SIM = gn.get_device("cpu"), gn.get_device("sim")
DTYPES = [np.dtype(np.float32), np.dtype(np.float64)]


def tolerance(dtype):
    eps = np.finfo(dtype).eps
    return {"rtol": 100 * eps, "atol": 50 * eps}


def to_sim(a):
    return None if a is None else SIM.asarray(a)


@contextlib.contextmanager
def only_launches():
    """Check that the block launches kernels and neither allocates, transfers nor synchronizes."""
    counters.reset()
    yield
    counted = counters.allocations, counters.uploads, counters.downloads, counters.synchronizations
    assert counted == (0, 0, 0, 0)
    assert counters.launches or counters.graph_launches


def assert_as_on_the_cpu(op, *arrays, **weights):
    """Check that `op(*arrays, tape=..., **weights)` on "sim", in check mode, matches the CPU.

    With a tape, the second step on "sim" must only launch kernels.
    """
    expected = op(*arrays, tape=None, **weights)
    with simulator.check_mode():
        there, named = [to_sim(a) for a in arrays], {name: to_sim(a) for name, a in weights.items()}
        tape = Tape()
        op(*there, tape=tape, **named)
        tape.reset()
        with only_launches():
            results = op(*there, tape=tape, **named)
        fresh = op(*there, tape=None, **named)
    for a, b, c in zip(expected, results, fresh, strict=True):
        assert (b.shape, b.dtype) == (a.shape, a.dtype)
        np.testing.assert_allclose(SIM.to_host(b), a, **tolerance(a.dtype))
        np.testing.assert_array_equal(SIM.to_host(c), SIM.to_host(b))
