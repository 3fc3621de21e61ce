import dataclasses
import functools
import itertools

import numpy as np
import pytest
from tensor_cores import require_tensor_cores
from tuned_table import table

import gpunet as gn
from gpunet import simulator
from gpunet.cuda import traced_launches
from gpunet.errors import ArgumentError
from gpunet.ops import _matmul, matmul_launch, tuned
from gpunet.ops._linear import Below
from gpunet.ops.activations import FUNCTIONS, ActivationFunction
from gpunet.ops.tiles import TILES, Tile

__all__ = ["table"]

SIM = gn.get_device("sim")
KERNEL_NAMES = ["naive", "shared", "register", "split_k", "tiled"]
SIZES = [(1, 1, 1), (5, 0, 3), (5, 3, 0), (31, 33, 7), (70, 36, 300)]


@pytest.fixture(autouse=True)
def checked():
    with simulator.check_mode():
        yield


def on_sim(*arrays):
    return [SIM.asarray(a) for a in arrays]


def close(actual, expected, k=1):
    tolerance = 8 * np.finfo(expected.dtype).eps * max(k, 8)
    np.testing.assert_allclose(SIM.to_host(actual), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize(
    ("kernel", "dtype"), [(None, "f4"), ("tiled", "f8"), ("blas", "f4"), *((name, "f4") for name in KERNEL_NAMES[:4])]
)
def test_matmul_of_every_layout_matches_the_cpu(kernel, dtype):
    rng = np.random.default_rng(0)
    for (m, n, k), (ta, tb) in itertools.product(SIZES, [(False, False), (False, True), (True, False)]):
        a = rng.standard_normal((k, m) if ta else (m, k)).astype(dtype)
        b = rng.standard_normal((n, k) if tb else (k, n)).astype(dtype)
        expected = gn.ops.matmul(a, b, transpose_a=ta, transpose_b=tb)
        close(gn.ops.matmul(*on_sim(a, b), transpose_a=ta, transpose_b=tb, kernel=kernel), expected, k)


@pytest.mark.parametrize("kernel", ["naive", "tiled"])
def test_a_batch_of_products_may_share_an_operand(kernel):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((3, 9, 20), dtype=np.float32), rng.standard_normal((20, 12), dtype=np.float32)
    close(gn.ops.matmul(*on_sim(a, b), kernel=kernel), a @ b, 20)
    close(gn.ops.matmul(*on_sim(a, a), transpose_b=True, kernel=kernel), a @ a.swapaxes(1, 2), 20)


@pytest.mark.parametrize("kernel", ["naive", "tiled"])
def test_a_batch_larger_than_a_launch_takes_several_launches(monkeypatch, kernel):
    monkeypatch.setattr(_matmul, "MOST_MATRICES", 2)
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((5, 9, 300), dtype=np.float32), rng.standard_normal((300, 12), dtype=np.float32)
    with traced_launches() as traced:
        close(gn.ops.matmul(*on_sim(a, b), kernel=kernel), a @ b, 300)
        close(gn.ops.matmul(*on_sim(b.T.copy(), a), transpose_b=True, kernel=kernel), b.T @ a.swapaxes(1, 2), 300)
        close(gn.ops.matmul(*on_sim(a, a), transpose_a=True, kernel=kernel), a.swapaxes(1, 2) @ a, 9)
    assert [launch.grid[2] for launch in traced] == [2, 2, 1] * 3


def test_seventy_thousand_matrices_are_a_batch():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((70_000, 2, 3), np.float32), rng.standard_normal((70_000, 3, 2), np.float32)
    with simulator.check_mode(False):
        close(gn.ops.matmul(*on_sim(a, b), kernel="naive"), a @ b)


def test_unsupported_operands_use_the_library_or_raise_for_a_requested_kernel():
    a, b = on_sim(np.ones((4, 3), np.float32), np.ones((5, 4), np.float32))
    close(gn.ops.matmul(a, b, transpose_a=True, transpose_b=True), np.full((3, 5), 4, np.float32))
    with pytest.raises(ArgumentError, match="'tiled' does not support these layouts"):
        gn.ops.matmul(a, b, transpose_a=True, transpose_b=True, kernel="tiled")
    with pytest.raises(ArgumentError, match="'tiled' runs on a GPU"):
        gn.ops.matmul(np.ones((2, 2)), np.ones((2, 2)), kernel="tiled")


@pytest.mark.parametrize("dtypes", [("f4", "f8"), ("f8", "f4")])
def test_operands_of_two_dtypes_use_the_library_or_raise_for_a_requested_kernel(dtypes):
    a, b = on_sim(*(np.full((3, 3), 2, dtype) for dtype in dtypes))
    close(gn.ops.matmul(a, b), np.full((3, 3), 12.0))
    with pytest.raises(ArgumentError, match="'tiled' does not support these layouts, batch axes or dtypes"):
        gn.ops.matmul(a, b, kernel="tiled")


@pytest.mark.parametrize(
    ("activation", "dtype"), [("identity", "f4"), ("leaky_relu", "f4"), ("gelu", "f4"), ("silu", "f8")]
)
def test_linear_forward_and_backward_match_the_cpu(activation, dtype):
    rng = np.random.default_rng(0)
    saves = FUNCTIONS[activation].saves
    for rows, n_in, n_out in [(5, 0, 3), (1, 1, 1), (33, 7, 10), (20, 64, 36)]:
        x, w, b, dy = (
            rng.standard_normal(shape).astype(dtype) for shape in ((rows, n_in), (n_in, n_out), n_out, (rows, n_out))
        )
        found = []
        for arrays in ((x, w, b, dy), on_sim(x, w, b, dy)):
            z = gn.array_module(arrays[0]).empty((rows, n_out), dtype)
            with gn.ops.use_kernel("tiled" if found else None):
                y = gn.ops.linear(*arrays[:3], activation, preactivation=z)
                kept = z if saves == "input" else y
                gradients = gn.ops.linear_backward(arrays[3], arrays[0], arrays[1], kept, activation)
            found.append((y, z, *gradients))
        for expected, actual in zip(*found, strict=True):
            np.testing.assert_allclose(SIM.to_host(actual), expected, rtol=1e-4 if dtype == "f4" else 1e-10, atol=1e-5)


def test_a_custom_activation_with_cuda_expressions_is_fused_into_the_product():
    x, w = (np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32) for _ in range(2))
    plain = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z)
    fused = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z, cuda=("z * z", "2 * z"))
    expected = gn.ops.linear(x, w, None, plain)
    for activation, launches in ((plain, 3), (fused, 1)):  # product, square and copy; one fused kernel
        arrays = on_sim(x, w)
        simulator.counters.reset()
        with gn.ops.use_kernel("tiled"):
            y = gn.ops.linear(*arrays, None, activation)
        assert simulator.counters.launches == launches
        close(y, expected, 9)


def test_the_plan_names_the_kernel_and_the_reason():
    plan = functools.partial(gn.ops.matmul_plan, device=gn.get_device("cpu"))  # as if for a GPU like an H200
    assert plan(4096, 4096, 4096)[:3] == ("tiled", TILES["tiled", np.dtype("f4")][0][0], 1)
    assert plan(128, 128, 784)[1:3] == (TILES["tiled", np.dtype("f4")][-1][0], 1)
    assert plan(128, 16, 4096).splits == 8
    assert plan(128, 128, 4096, kernel="split_k")[:3] == ("split_k", None, 32)
    assert plan(128, 128, 4096, kernel="warp_tiled")[:3] == ("warp_tiled", None, 1)
    assert "requested" in plan(8, 8, 8, kernel="blas").why
    assert plan(8, 8, 8, dtype=np.float64).kernel == "blas"
    assert plan(8, 8, 8, dtype=np.float64, kernel="tiled").kernel == "tiled"


def test_tensor_cores_are_used_only_on_request_and_within_the_error_of_tf32():
    rng = np.random.default_rng(0)
    plan = gn.ops.matmul_plan
    assert plan(128, 128, 784).kernel == "tiled"
    assert plan(128, 128, 784, kernel="mma").splits > 1
    for (m, n, k), (ta, tb) in itertools.product(SIZES, [(False, False), (False, True), (True, False)]):
        a = rng.standard_normal((k, m) if ta else (m, k), np.float32)
        b = rng.standard_normal((n, k) if tb else (k, n), np.float32)
        expected = gn.ops.matmul(a.astype("f8"), b.astype("f8"), transpose_a=ta, transpose_b=tb)
        there = gn.ops.matmul(*on_sim(a, b), transpose_a=ta, transpose_b=tb, kernel="mma")
        # each factor is rounded by 2^-11 at most
        bound = 2.0**-10 * gn.ops.matmul(abs(a), abs(b), transpose_a=ta, transpose_b=tb) + 1e-6
        assert (abs(SIM.to_host(there) - expected) <= bound).all()


def test_3xtf32_gives_float32_products_on_tensor_cores():
    rng = np.random.default_rng(0)
    for (m, n, k), (ta, tb) in itertools.product(SIZES, [(False, False), (False, True), (True, False)]):
        a = rng.standard_normal((k, m) if ta else (m, k), np.float32)
        b = rng.standard_normal((n, k) if tb else (k, n), np.float32)
        expected = gn.ops.matmul(a.astype("f8"), b.astype("f8"), transpose_a=ta, transpose_b=tb)
        close(gn.ops.matmul(*on_sim(a, b), transpose_a=ta, transpose_b=tb, kernel="mma3"), expected.astype("f4"), k)


@pytest.mark.parametrize("kernel", ["mma", "mma3"])
def test_tensor_cores_refuse_float64_on_request_and_leave_it_to_the_library_elsewhere(kernel):
    ones = on_sim(np.ones((2, 2)), np.ones((2, 2)))
    with pytest.raises(ArgumentError, match=f"'{kernel}' multiplies float32"):
        gn.ops.matmul(*ones, kernel=kernel)
    with gn.ops.use_kernel(kernel):
        assert gn.ops.matmul_plan(2, 2, 2, dtype=np.float64).kernel == "blas"
        assert gn.ops.matmul_plan(2, 2, 2).kernel == kernel


@pytest.mark.parametrize("kernel", ["mma", "mma3"])
def test_a_layer_on_tensor_cores_equals_the_cpu(kernel):
    rng = np.random.default_rng(0)
    x, weight, bias, dy = (rng.standard_normal(shape, np.float32) for shape in ((33, 20), (20, 44), 44, (33, 44)))
    results = []
    for device in (gn.get_device("cpu"), SIM):
        arrays = [device.asarray(a) for a in (x, weight, bias, dy)]
        z = device.xp.empty((33, 44), np.float32)
        with gn.ops.use_kernel(kernel):
            y = gn.ops.linear(*arrays[:3], "gelu", preactivation=z)
            gradients = gn.ops.linear_backward(arrays[3], arrays[0], arrays[1], z, "gelu")
        results.append([device.to_host(a) for a in (y, z, *gradients)])
    for expected, actual in zip(*results, strict=True):
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5 if kernel == "mma3" else 0.1)


def test_a_gpu_without_tf32_tensor_cores_raises(monkeypatch):
    monkeypatch.setattr(simulator.cuda.Device, "compute_capability", "75")
    matmul_launch.check_tensor_cores.cache_clear()
    with pytest.raises(gn.errors.DeviceError, match=r"needs compute capability 8\.0 or more; sim has 75"):
        gn.ops.matmul(*on_sim(np.ones((2, 2), np.float32), np.ones((2, 2), np.float32)), kernel="mma")
    matmul_launch.check_tensor_cores.cache_clear()


@pytest.mark.parametrize(("capability", "kernel", "skips"), [("75", "mma3", 1), ("80", "mma3", 0), ("75", "tiled", 0)])
def test_tests_of_kernels_on_tensor_cores_are_skipped_on_gpus_without_them(monkeypatch, capability, kernel, skips):
    monkeypatch.setattr(simulator.cuda.Device, "compute_capability", capability)
    matmul_launch.check_tensor_cores.cache_clear()
    if skips:
        with pytest.raises(pytest.skip.Exception, match=r"needs compute capability 8\.0 or more; sim has 75"):
            require_tensor_cores(SIM, kernel)
    else:
        require_tensor_cores(SIM, kernel)
    matmul_launch.check_tensor_cores.cache_clear()


@pytest.mark.parametrize("activation", ["gelu", "tanh"])
def test_each_of_consecutive_layers_takes_one_launch_backward(activation):
    rng = np.random.default_rng(0)
    x, dy = rng.standard_normal((20, 12), np.float32), rng.standard_normal((20, 5), np.float32)
    results = []
    for device in ("cpu", "sim"):
        model, tape = gn.MLP([12, 33, 9, 5], activation, seed=0).to(device), gn.Tape()
        for _ in range(2):
            tape.reset()
            model.forward(model.device.asarray(x), tape)
            gradient = model.device.asarray(dy)
            simulator.counters.reset()
            dx = model.backward(gradient, tape)
            counted = dataclasses.replace(simulator.counters)
        results.append([gn.to_host(a) for a in (dx, *model.gradients().values())])
    # three layers: the gradients of weight and bias, and of the input with the derivative below
    assert counted == simulator.Counters(launches=3)
    for here, there in zip(*results, strict=True):
        np.testing.assert_allclose(there, here, rtol=1e-4, atol=1e-5)


def test_a_layer_without_bias_sums_no_bias_gradient():
    x, w, dy = on_sim(*(np.ones(shape, np.float32) for shape in ((4, 3), (3, 2), (4, 2))))
    _, dweight, dbias = gn.ops.linear_backward(dy, x, w, bias_gradient=False)
    assert dbias is None
    close(dweight, np.full((3, 2), 4, np.float32))


@pytest.mark.parametrize(
    ("rows", "inputs", "outputs", "launches"),
    [
        (40, 12, 8, ["linear_backward"]),
        (30, 200, 8, ["linear_backward"]),  # by the larger of two tiles
        (5000, 12, 8, ["matmul_tiled"] * 2),  # the weight's gradient is a long sum, shared by several blocks
        (330, 320, 8, ["matmul_tiled"] * 2),  # the input's fills the GPU by itself
    ],
)
def test_both_gradients_of_a_small_layer_are_one_launch(rows, inputs, outputs, launches):
    rng = np.random.default_rng(0)
    shapes = (rows, outputs), (rows, inputs), (inputs, outputs)
    dy, x, w = (rng.standard_normal(shape, np.float32) for shape in shapes)
    with traced_launches() as traced:
        found = gn.ops.linear_backward(*on_sim(dy, x, w))
    assert [launch.kernel for launch in traced] == launches
    for actual, expected in zip(found, gn.ops.linear_backward(dy, x, w), strict=True):
        close(actual, expected, rows)


def test_tuned_tiles_that_are_not_square_compute_both_gradients(table):
    rng = np.random.default_rng(0)
    shapes = (40, 70), (40, 20), (20, 70)
    dy, x, w = (rng.standard_normal(shape, np.float32) for shape in shapes)
    winner = tuned.Winner(Tile(16, 32, 32, 16, 32, 4, 4, slices=4), 1, "2026-11-20")
    products = ((20, 70, 40), "TN"), ((40, 20, 70), "NT")
    tuned.keep(SIM, {("tiled", tuned.Product.of(*sizes, layout, dy.dtype)): winner for sizes, layout in products})
    with traced_launches() as traced:
        found = gn.ops.linear_backward(*on_sim(dy, x, w))
    assert [launch.kernel for launch in traced] == ["linear_backward"]
    for actual, expected in zip(found, gn.ops.linear_backward(dy, x, w), strict=True):
        close(actual, expected, 70)


class Square(ActivationFunction):
    """A custom function without CUDA code, whose attribute is not a number."""

    name = "square"
    saves = "input"

    def __init__(self):
        self.label = "z times z"

    def cuda_options(self):
        return None

    def backward(self, dy, saved, out, xp, tape):
        xp.multiply(dy, 2 * saved, out=out)


def test_the_derivative_of_a_function_without_cuda_code_runs_in_array_code():
    rng = np.random.default_rng(0)
    dy, x, w, z = (rng.standard_normal(shape, np.float32) for shape in ((6, 3), (6, 5), (5, 3), (6, 5)))
    dx, *_ = gn.ops.linear_backward(*on_sim(dy, x, w), below=Below(Square(), SIM.asarray(z)))
    close(dx, dy @ w.T * 2 * z, 3)


def test_the_columns_of_a_transposed_gradient_are_summed():
    rng = np.random.default_rng(0)
    dy, x, w = (rng.standard_normal(shape, np.float32) for shape in ((3, 129), (129, 1), (1, 3)))
    _, dweight, dbias = gn.ops.linear_backward(SIM.asarray(dy).T, *on_sim(x, w))
    close(dweight, x.T @ dy.T, 129)
    close(dbias, dy.sum(axis=1), 129)


@pytest.mark.parametrize("by", [1, 2])
def test_unaligned_rows_are_copied_element_by_element(by):
    rng = np.random.default_rng(0)
    dy, x, w, y = on_sim(*(rng.standard_normal(s, np.float32) for s in ((8, 4), (8, 12), (12, 4), (8, 12))))
    expected = gn.ops.linear_backward(*map(SIM.to_host, (dy, x, w)), below=Below(gn.Tanh(), SIM.to_host(y)))
    shifted, elsewhere = (SIM.xp.empty(a.size + by, np.float32)[by:].reshape(a.shape) for a in (y, w))
    shifted[...] = y
    for saved, dweight in ((shifted, None), (y, elsewhere)):
        found = gn.ops.linear_backward(dy, x, w, below=Below(gn.Tanh(), saved), dweight=dweight)
        for actual, right in zip(found, expected, strict=True):
            close(actual, right, 12)


@pytest.mark.parametrize("by", [1, 2])
def test_an_unaligned_bias_is_added_element_by_element(by):
    rng = np.random.default_rng(0)
    x, w, bias = (rng.standard_normal(shape, np.float32) for shape in ((8, 12), (12, 8), (8,)))
    shifted = SIM.xp.empty(8 + by, np.float32)[by:]
    shifted[...] = SIM.asarray(bias)
    close(gn.ops.linear(*on_sim(x, w), shifted), x @ w + bias, 12)


def test_use_kernel_applies_to_calls_without_a_kernel():
    with gn.ops.use_kernel("blas"):
        assert gn.ops.matmul_plan(8, 8, 8).kernel == "blas"
        assert gn.ops.matmul_plan(8, 8, 8, kernel="naive").kernel == "naive"
        with pytest.raises(ArgumentError, match="unknown kernel 'fast'"), gn.ops.use_kernel("fast"):
            pass
        with gn.ops.use_kernel(None):
            assert gn.ops.matmul_plan(8, 8, 8).kernel == "tiled"
    assert gn.ops.matmul_plan(8, 8, 8).kernel == "tiled"


def test_a_requested_kernel_is_used_with_an_activation_that_cannot_be_fused(monkeypatch):
    x, w = on_sim(*(np.random.default_rng(0).standard_normal((9, 9)).astype(np.float32) for _ in range(2)))
    monkeypatch.setattr(simulator, "dot", None)  # the library
    with gn.ops.use_kernel("tiled"):
        gn.ops.linear(x, w, None, gn.CustomActivation(lambda z: z * z, lambda z: 2 * z))
