"""`gpunet tune` on the simulated GPU, which runs the kernels: every plan is checked, the fastest is used."""

import numpy as np
import pytest
from click.testing import CliRunner
from tuned_table import table

import gpunet as gn
from gpunet import simulator
from gpunet.bench import timing
from gpunet.bench import tune as tuning
from gpunet.bench.timing import WallClock
from gpunet.bench.tune import Choice, tune
from gpunet.cli import main
from gpunet.ops import matmul_launch, tuned
from gpunet.ops.tiles import FLOAT32
from gpunet.ops.tuned import Product

__all__ = ["table"]

SIM = gn.get_device("sim")
M, N, K = 20, 12, 300
PRODUCT = Product.of(M, N, K, "NN", FLOAT32)


def test_the_fastest_plan_is_stored_reloaded_used_and_correct(table, monkeypatch):
    now = [0.0]

    def read_clock():
        # Advance the clock, because the timing repeats the library call, which takes no time here, until time passes.
        now[0] += 2 * timing.MIN_SECONDS
        return now[0]

    def run_plan(plan, *operands, **options):
        now[0] += 1.0 if str(Choice(plan.tile, plan.splits)) == "16x16x32 in 2 slices, 8 splits" else 5.0
        matmul_launch.run_plan(plan, *operands, **options)

    monkeypatch.setattr(timing, "ROUNDS", (2, 2))
    monkeypatch.setattr(tuning, "run_plan", run_plan)
    (result,) = tune([PRODUCT], SIM, WallClock(SIM, now=read_clock), seconds=1)
    assert result.faults == {}
    assert len(result.times) == len(result.choices) + 1 >= 6
    tuned.keep(SIM, {(result.kernel, PRODUCT): result.winner})

    rng = np.random.default_rng(0)
    x, w, bias = (rng.standard_normal(shape, np.float32) for shape in ((M, K), (K, N), N))
    ran = []
    kernels = matmul_launch.KERNELS
    launch = kernels["tiled"]
    monkeypatch.setitem(kernels, "tiled", lambda grid, *args, **kw: ran.append(grid) or launch(grid, *args, **kw))
    with simulator.check_mode():
        y = gn.ops.linear(*(SIM.asarray(a) for a in (x, w, bias)), "relu")
    assert ran == [(2, 8, 1)]  # a 32x32 tile would give a single tile
    np.testing.assert_allclose(SIM.to_host(y), gn.ops.linear(x, w, bias, "relu"), rtol=1e-4, atol=1e-4)


@pytest.fixture
def broken(monkeypatch):
    """Break one plan: it omits the last part of k."""

    def run_plan(plan, a, b, c, **options):
        k = K - 1 if plan.splits == 4 else K
        matmul_launch.run_plan(plan, simulator.ascontiguousarray(a[:, :k]), b[:k], c, **options)

    monkeypatch.setattr(tuning, "run_plan", run_plan)


def test_a_wrong_plan_is_rejected_with_its_name(broken):
    (result,) = tune([PRODUCT], SIM, None)
    assert result.faults
    assert all(name.endswith("4 splits") and "are off" in fault for name, fault in result.faults.items())


def test_without_timing_all_plans_are_checked_and_none_is_stored(table):
    arguments = ["tune", "--sizes", "20-12-10", "--batch-size", "8", "--device", "sim"]
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 0, result.output
    assert "float32, on sim, gpunet simulator" in result.stdout
    assert "8x12x20 NN" in result.stdout
    assert "4 of 4 choices are correct" in result.stdout
    assert "Every choice was checked. None is saved, as the simulated GPU cannot be timed." in result.stdout
    assert not table.exists()


@pytest.mark.parametrize("precision", ["tf32", "3xtf32"])
def test_every_choice_of_tensor_cores_is_correct(precision):
    (result,) = tune([Product.of(40, 36, 70, "NN", FLOAT32)], SIM, None, precision=precision)
    assert len(result.choices) >= 8
    assert result.faults == {}
