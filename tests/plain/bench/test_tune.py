"""The products to tune, the candidate plans and the choice, on the stand-in for CuPy with its fake clock."""

import statistics

import cupy_stand_in
import numpy as np
import pytest
from tune_stand_in import gpu

import gpunet as gn
from gpunet.bench import memory
from gpunet.bench import tune as tuning
from gpunet.bench.measure import clock_of
from gpunet.bench.tune import choices, linear_sizes, step_products, tune
from gpunet.errors import ArgumentError, DeviceError
from gpunet.ops import _matmul_plan, matmul_launch
from gpunet.ops.tiles import FLOAT32, FLOAT64
from gpunet.ops.tuned import Product, most_splits

__all__ = ["gpu"]

PRODUCT = Product.of(40, 24, 256, "NT", FLOAT32)


def tuned(product=PRODUCT, clocked=True, precision="float32"):
    device = gn.get_device("cuda")
    (result,) = tune([product], device, clock_of(device) if clocked else None, seconds=1e-3, precision=precision)
    return result


# the products to tune


@pytest.mark.parametrize(
    ("model", "features"),
    [
        (lambda: gn.MLP([20, 12, 12, 12, 5], dropout=0.5), 20),
        (lambda: gn.MLP([1, 9, 1]), 1),
        (lambda: gn.Sequential(gn.Flatten(), gn.Linear(6, 4), gn.Sequential(gn.Tanh(), gn.Linear(4, 3))), 6),
    ],
)
@pytest.mark.parametrize("batch", [1, 7])
def test_the_products_are_those_of_a_training_step(gpu, monkeypatch, model, features, batch):
    planned = []

    def noted(m, n, k, *, layout, dtype, **options):
        planned.append(Product.of(m, n, k, layout, dtype))
        return matmul_plan(m, n, k, layout=layout, dtype=dtype, **options)

    matmul_plan = matmul_launch.matmul_plan
    monkeypatch.setattr(matmul_launch, "matmul_plan", noted)
    net = model().to("cuda")
    gn.Trainer(net, loss=gn.CrossEntropyLoss(), executor="graph").step(
        np.ones((batch, features), np.float32), np.zeros(batch, int)
    )
    products = step_products(linear_sizes(net), batch, net.dtype)
    assert set(planned) == set(products)
    assert len(products) == len(set(products))


# the candidate plans


@pytest.mark.parametrize("size", [(128, 128, 784), (784, 128, 128), (128, 10, 128), (1, 1, 1), (4096, 4096, 4096)])
@pytest.mark.parametrize("dtype", [FLOAT32, FLOAT64], ids=str)
@pytest.mark.parametrize("processors", [16, 132])
def test_the_default_is_tried_first_and_no_plan_twice(size, dtype, processors):
    product = Product.of(*size, "NN", dtype)
    for kernel in ("tiled", "mma", "mma3") if dtype == FLOAT32 else ("tiled",):
        tried = choices(product, processors, kernel)
        default = _matmul_plan.default_plan(kernel, product, 1, processors)
        assert tried[0] == (default.tile, default.splits)
        assert len({str(choice) for choice in tried}) == len(tried)
        assert all(1 <= splits <= most_splits(tile, product.k) for tile, splits in tried)


def test_a_small_product_is_tried_with_splits_that_fill_the_gpu():
    tried = choices(Product.of(128, 128, 784, "NN", FLOAT32), 132)
    assert {splits for tile, splits in tried if str(tile) == "32x32x32 in 4 slices"} == {1, 2, 4, 8, 16}
    assert 33 in {splits for tile, splits in tried if str(tile) == "64x64x16"}


# the plan that is kept


def test_the_fastest_correct_plan_wins(gpu):
    gpu.seconds = {"16x16x32 in 2 slices, 4 splits": 1.0, "16x16x64 in 4 slices, 1 split": 2.0}
    result = tuned()
    assert result.best == "16x16x32 in 2 slices, 4 splits"
    assert (str(result.winner.tile), result.winner.splits) == ("16x16x32 in 2 slices", 4)
    assert result.faults == {}
    assert result.times.keys() == {"blas", *result.choices}
    assert statistics.median(result.times["16x16x64 in 4 slices, 1 split"]) == pytest.approx(2.0)


@pytest.mark.parametrize(("precision", "kernel"), [("float32", "tiled"), ("tf32", "mma"), ("3xtf32", "mma3")])
def test_each_precision_tunes_its_kernel_and_only_tf32_may_round(gpu, monkeypatch, precision, kernel):
    run_plan, kernels = tuning.run_plan, set()

    def rounded(plan, a, b, c, **options):
        kernels.add(plan.kernel)
        run_plan(plan, a * (1 + 2**-11), b, c, **options)

    monkeypatch.setattr(tuning, "run_plan", rounded)
    result = tuned(precision=precision)
    assert (result.kernel, kernels) == (kernel, {kernel})
    assert set(result.faults) == (set() if precision == "tf32" else set(result.choices))


def test_a_wrong_plan_is_rejected_by_name(gpu):
    gpu.seconds = {"16x16x32 in 2 slices, 4 splits": 1.0, "16x16x64 in 4 slices, 1 split": 2.0}
    gpu.wrong = {"16x16x32 in 2 slices, 4 splits"}
    result = tuned()
    assert result.best == "16x16x64 in 4 slices, 1 split"
    assert result.faults.keys() == {"16x16x32 in 2 slices, 4 splits"}
    assert "are off" in result.faults["16x16x32 in 2 slices, 4 splits"]
    assert "16x16x32 in 2 slices, 4 splits" not in result.times


def test_no_plan_wins_if_all_are_wrong_or_untimed(gpu):
    assert (tuned(clocked=False).winner, tuned(clocked=False).times) == (None, {})
    gpu.wrong = {str(choice) for choice in choices(PRODUCT, 132)}
    assert tuned().winner is None


@pytest.mark.parametrize("precision", ["tf32", "3xtf32"])
def test_a_gpu_without_tensor_cores_is_refused_before_any_run(gpu, monkeypatch, precision):
    monkeypatch.setattr(cupy_stand_in.Device, "compute_capability", "75")
    monkeypatch.setattr(tuning, "check", None)
    matmul_launch.check_tensor_cores.cache_clear()
    with pytest.raises(DeviceError, match=r"needs compute capability 8\.0 or more; cuda:0 has 75"):
        tuned(precision=precision)


def test_a_product_larger_than_memory_is_refused_before_any_run(gpu, monkeypatch):
    monkeypatch.setattr(memory, "host_memory", lambda: 2**50)
    monkeypatch.setattr(tuning, "check", None)
    small, large = (Product.of(n, n, n, "NN", FLOAT32) for n in (8, 20_000))
    with pytest.raises(ArgumentError, match="matmul 20000x20000x20000 needs about"):
        next(tune([small, large], gn.get_device("cuda"), None))
