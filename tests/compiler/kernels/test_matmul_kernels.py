import math

import numpy as np
import pytest
from compiler.kernels.checked import DTYPES, run, uninitialized
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.cuda import Kernel
from gpunet.ops.activations import FUNCTIONS
from gpunet.ops.tiles import TILES, Tile

REGISTER_TILE = {"BM": 32, "BN": 32, "BK": 8, "TM": 4, "TN": 4}
WARP_TILE = REGISTER_TILE | {"WM": 16, "WN": 32}
TILES_OF_KERNELS = {
    "naive": ((8, 32), 256, {}),
    "shared": ((16, 16), 256, {"TILE": 16}),
    **dict.fromkeys(("register", "vectorized", "double_buffered"), ((32, 32), 64, REGISTER_TILE)),
    **dict.fromkeys(("warp_tiled", "split_k"), ((32, 32), 64, WARP_TILE)),
    "tiled": Tile(32, 32, 8, 32, 16, 4, 4, slices=2),
}
TENSOR_CORES = {"mma": Tile(32, 32, 8, 32, 16), "mma3": Tile(32, 32, 16, 16, 32, stages=2)}
KERNELS = {kernel: Kernel(f"matmul_{kernel}.cu", f"matmul_{kernel}") for kernel in (*TILES_OF_KERNELS, *TENSOR_CORES)}

SIZES = [(0, 5, 3), (5, 0, 3), (5, 3, 0), (1, 1, 1), (31, 33, 7), (32, 32, 8), (33, 31, 9), (70, 10, 37), (8, 100, 64)]
LAYOUTS = {"NN": (0, 0), "NT": (0, 1), "TN": (1, 0)}


def operands(m, n, k, dtype=DTYPES[0], transpose_a=0, transpose_b=0, batch=1, seed=0):
    """Return a and b in their memory layout, and the product in float64."""
    rng = np.random.default_rng(seed)
    a = rng.standard_normal((batch, m, k)).astype(dtype)
    b = rng.standard_normal((batch, k, n)).astype(dtype)
    product = a.astype(np.float64) @ b.astype(np.float64)
    a_stored, b_stored = (
        np.ascontiguousarray(x.swapaxes(1, 2) if t else x) for x, t in ((a, transpose_a), (b, transpose_b))
    )
    return a_stored, b_stored, product


def launch(kernel, c, a, b, m, n, k, *, bias=None, saved=None, preactivation=None, parameter=0.0, splits=1, batch=1,
           strides=None, column_sums=None, options=None, tile=None, mode="check"):  # fmt: skip
    tile = tile or (TILES_OF_KERNELS | TENSOR_CORES)[kernel]
    if isinstance(tile, Tile):
        (rows, columns), threads, defaults = tile[:2], tile.threads, tile.options()
    else:
        (rows, columns), threads, defaults = tile
    grid = (math.ceil(m / rows) * math.ceil(n / columns), splits, batch)
    if 0 in grid:
        return
    arguments = [a, b, bias, saved, preactivation, c, m, n, k, *(strides or (m * k, k * n)), parameter]
    if kernel in ("split_k", "tiled", *TENSOR_CORES):
        part = rows * columns if kernel == "split_k" else tile.part_size(column_sums is not None)
        parts = uninitialized(math.prod(grid) * part, c.dtype) if splits > 1 else None
        arrivals = np.zeros(grid[0] * batch, np.uint32) if splits > 1 else None
        arguments[-1:] = part, parameter
        arguments[6:6] = (parts, arrivals) if kernel == "split_k" else (column_sums, parts, arrivals)
    options = {"TRANSPOSE_A": 0, "TRANSPOSE_B": 0, **defaults, **(options or {})}  # one variant, one way to write it
    if column_sums is not None:
        options["COLUMN_SUMS"] = 1
    run(KERNELS[kernel], grid, (threads,), *arguments, options=options, mode=mode)
    if splits > 1:
        assert not arrivals.any()  # ready for the next launch


def assert_product(actual, expected, k):
    tolerance = 4 * np.finfo(actual.dtype).eps * max(k, 4)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * 4)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", TILES_OF_KERNELS)
def test_every_kernel_multiplies_any_sizes(kernel, layout, dtype):
    transpose_a, transpose_b = LAYOUTS[layout]
    options = {"TRANSPOSE_A": transpose_a, "TRANSPOSE_B": transpose_b}
    for m, n, k in SIZES:
        a, b, product = operands(m, n, k, dtype, transpose_a, transpose_b)
        c = uninitialized((1, m, n), dtype)
        launch(kernel, c, a, b, m, n, k, options=options)
        assert_product(c, product, k)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize(("layout", "gradient"), [("NN", 0), ("NT", 1), ("TN", 0)])  # as a layer has them
def test_tiled_copies_aligned_operands_by_vectors(layout, gradient, dtype):
    transpose_a, transpose_b = LAYOUTS[layout]
    options = {"VECTOR_A": 1, "VECTOR_B": 1, "VECTOR_C": 1, "ACTIVATION": "tanh", "GRADIENT": gradient}
    options |= {"TRANSPOSE_A": transpose_a, "TRANSPOSE_B": transpose_b}
    for m, n, k in [(32, 32, 8), (4, 4, 4), (36, 28, 12), (64, 100, 40)]:
        a, b, product = operands(m, n, k, dtype, transpose_a, transpose_b)
        c, z = (uninitialized((1, m, n), dtype) for _ in range(2))
        y, bias = np.tanh(product).astype(dtype), np.linspace(-1, 1, n, dtype=dtype)
        if gradient:
            launch("tiled", c, a, b, m, n, k, saved=y, options=options)
            assert_product(c, product * (1 - y.astype(np.float64) ** 2), k)
        else:
            launch("tiled", c, a, b, m, n, k, bias=bias, preactivation=z, options=options)
            assert_product(z, product + bias, k)
            assert_product(c, np.tanh(z.astype(np.float64)), k)


# the smaller ones serve the tests of the operations
LARGE_TILES = [(kernel, dtype, tile) for (kernel, dtype), tiles in TILES.items() for tile, _ in tiles if tile.bm > 32]


@pytest.mark.parametrize("vectors", [0, 1])
@pytest.mark.parametrize(("kernel", "dtype", "tile"), LARGE_TILES, ids=str)
def test_the_large_tiles_in_use_multiply_in_splits_and_sum_columns(kernel, dtype, tile, vectors):
    options = {"TRANSPOSE_A": 1} | {f"VECTOR_{operand}": vectors for operand in "ABC"}
    for m, n, k, splits in [(132, 68, 44, 2), (4, 200, 16, 1)] if vectors else [(130, 67, 37, 2), (1, 201, 16, 1)]:
        a, b, product = multiplied_by(kernel)(m, n, k, dtype, transpose_a=1)
        c, sums = uninitialized((1, m, n), a.dtype), uninitialized(n, a.dtype)
        launch(kernel, c, a, b, m, n, k, splits=splits, column_sums=sums, options=options, tile=tile)
        assert_product(c, product, k)
        assert_product(sums, b[0].sum(axis=0, dtype=np.float64), k)


LARGEST = [tile for kernel, dtype, tile in LARGE_TILES if (kernel, dtype) == ("tiled", DTYPES[0])]
ALONG_K = [(DTYPES[0], tile) for tile in LARGEST] + [(DTYPES[1], Tile(32, 64, 16, 16, 32, 4, 4))]


@pytest.mark.parametrize("layout", ["NN", "NT"])
@pytest.mark.parametrize(("dtype", "tile"), ALONG_K, ids=str)
@pytest.mark.parametrize("vectors", [0, 1])
def test_the_large_tiles_multiply_operands_that_are_contiguous_along_k(dtype, tile, layout, vectors):
    options = {"TRANSPOSE_B": int(layout == "NT")} | {f"VECTOR_{operand}": vectors for operand in "ABC"}
    for m, n, k in [(132, 68, 72), (4, 8, 4)] if vectors else [(130, 67, 70), (5, 3, 1)]:
        a, b, product = operands(m, n, k, dtype, transpose_b=options["TRANSPOSE_B"])
        c = uninitialized((1, m, n), dtype)
        launch("tiled", c, a, b, m, n, k, options=options, tile=tile)
        assert_product(c, product, k)


def test_a_tile_may_have_fewer_rows_than_a_warp_has_lanes():
    a, b, product = operands(130, 66, 37, DTYPES[0])
    c = uninitialized((1, 130, 66), a.dtype)
    launch("tiled", c, a, b, 130, 66, 37, tile=Tile(16, 64, 32, 16, 32, 4, 4))
    assert_product(c, product, 37)


@pytest.mark.parametrize("kernel", TILES_OF_KERNELS)
def test_a_batch_may_share_an_operand(kernel):
    m, n, k, batch = 33, 12, 10, 3
    a, b, _ = operands(m, n, k, DTYPES[0], batch=batch)
    c = uninitialized((batch, m, n), a.dtype)
    launch(kernel, c, a, b[:1], m, n, k, batch=batch, strides=(m * k, 0))
    assert_product(c, a @ b[0], k)


@pytest.mark.parametrize("kernel", TILES_OF_KERNELS)
def test_the_epilogue_adds_the_bias_and_activates(kernel):
    m, n, k = 33, 35, 9
    a, b, product = operands(m, n, k, DTYPES[0])
    bias = np.linspace(-1, 1, n, dtype=np.float32)
    c, z = (uninitialized((1, m, n), a.dtype) for _ in range(2))
    launch(kernel, c, a, b, m, n, k, bias=bias, preactivation=z, options={"ACTIVATION": "gelu"})
    assert_product(z, product + bias, k)
    np.testing.assert_allclose(c, FUNCTIONS["gelu"]()(product + bias), atol=1e-5)


@pytest.mark.parametrize("kernel", TILES_OF_KERNELS)
def test_the_epilogue_multiplies_by_the_derivative(kernel):
    m, n, k = 33, 35, 9
    a, b, product = operands(m, n, k, DTYPES[0], transpose_b=1)
    y = np.tanh(np.random.default_rng(1).standard_normal((1, m, n))).astype(np.float32)
    c = uninitialized((1, m, n), a.dtype)
    launch(kernel, c, a, b, m, n, k, saved=y, options={"ACTIVATION": "tanh", "GRADIENT": 1, "TRANSPOSE_B": 1})
    assert_product(c, product * (1 - y * y), k)


@pytest.mark.parametrize("splits", [2, 5])
@pytest.mark.parametrize("k", [0, 8, 37, 300])
def test_splits_add_up_to_the_whole_product_and_its_column_sums(splits, k):
    m, n = 33, 20
    a, b, product = operands(m, n, k, DTYPES[0], transpose_a=1)
    bias = np.linspace(-1, 1, n, dtype=np.float32)
    c, column_sums = uninitialized((m, n), a.dtype), uninitialized(n, a.dtype)
    launch("tiled", c, a, b, m, n, k, splits=splits, bias=bias, column_sums=column_sums,
           options={"TRANSPOSE_A": 1, "ACTIVATION": "relu"})  # fmt: skip
    assert_product(c, np.maximum(product[0] + bias, 0), k)
    assert_product(column_sums, b[0].sum(axis=0, dtype=np.float64), k)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("kernel", ["split_k", "tiled"])
def test_splits_of_a_batch_add_up(kernel, dtype):
    m, n, k, batch = 33, 20, 50, 3
    a, b, product = operands(m, n, k, dtype, batch=batch)
    for splits in (2, 5):
        c = uninitialized((batch, m, n), a.dtype)
        launch(kernel, c, a, b, m, n, k, splits=splits, batch=batch)
        assert_product(c, product, k)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_column_sums_are_computed_with_the_product(dtype):
    m, n, k = 70, 45, 37
    a, b, product = operands(m, n, k, dtype, transpose_a=1)
    c, sums = uninitialized((1, m, n), dtype), uninitialized(n, dtype)
    launch("tiled", c, a, b, m, n, k, column_sums=sums, options={"TRANSPOSE_A": 1})
    assert_product(c, product, k)
    assert_product(sums, b[0].sum(axis=0), k)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("kernel", TENSOR_CORES)
def test_tensor_cores_multiply_any_sizes(kernel, layout):
    transpose_a, transpose_b = LAYOUTS[layout]
    for vectors, sizes in ((0, SIZES), (1, [(32, 32, 8), (36, 28, 12)])):
        options = {"TRANSPOSE_A": transpose_a, "TRANSPOSE_B": transpose_b} | {f"VECTOR_{x}": vectors for x in "ABC"}
        for m, n, k in sizes:
            a, b, product = multiplied_by(kernel)(m, n, k, DTYPES[0], transpose_a, transpose_b)
            c = uninitialized((1, m, n), a.dtype)
            launch(kernel, c, a, b, m, n, k, options=options)
            assert_product(c, product, k)


@pytest.mark.parametrize("splits", [1, 3])
@pytest.mark.parametrize("kernel", TENSOR_CORES)
def test_tensor_cores_split_the_product_of_a_batch_and_sum_unrounded_columns(kernel, splits):
    m, n, k, batch = 33, 44, 50, 2
    a, b, product = multiplied_by(kernel)(m, n, k, batch=batch, transpose_a=1)
    c, sums = uninitialized((batch, m, n), a.dtype), uninitialized(n, a.dtype)
    launch(kernel, c, a, b, m, n, k, splits=splits, batch=batch, column_sums=sums, options={"TRANSPOSE_A": 1})
    assert_product(c, product, k)
    assert_product(sums, b[0].sum(axis=0, dtype=np.float64), k)


@pytest.mark.parametrize("vectors", [0, 1])
@pytest.mark.parametrize("kernel", TENSOR_CORES)
def test_tensor_cores_apply_the_epilogue(kernel, vectors):
    m, n, k = 36, 44, 20
    options = {"ACTIVATION": "tanh", "VECTOR_C": vectors}
    a, b, product = multiplied_by(kernel)(m, n, k)
    bias = np.linspace(-1, 1, n, dtype=np.float32)
    c, z = (uninitialized((1, m, n), a.dtype) for _ in range(2))
    launch(kernel, c, a, b, m, n, k, bias=bias, preactivation=z, splits=2, options=options)
    assert_product(z, product + bias, k)
    np.testing.assert_allclose(c, np.tanh(z), atol=1e-6)
    y = np.array(c)
    a, b, product = multiplied_by(kernel)(m, n, k, transpose_b=1)
    launch(kernel, c, a, b, m, n, k, saved=y, options=options | {"GRADIENT": 1, "TRANSPOSE_B": 1})
    assert_product(c, product * (1 - y.astype(np.float64) ** 2), k)


@pytest.mark.parametrize("arch", [800, 900])
@pytest.mark.parametrize("kernel", TENSOR_CORES)
def test_tensor_cores_treat_infinity_and_nan_as_float_arithmetic_does(kernel, arch):
    a, b, _ = operands(20, 24, 40, DTYPES[0])
    a[0, 1:6, 7] = np.inf, -np.inf, np.nan, 0, 1
    a[0, 6:8, 7] = np.array([0x7FFFFFFF, 0xFFFFFFFF], np.uint32).view(np.float32)  # NaN that a GPU computes
    b[0, 7, 2:5] = 0, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        expected = a @ b
    c = uninitialized((1, 20, 24), a.dtype)
    launch(kernel, c, a, b, 20, 24, 40, options={"__CUDA_ARCH__": arch})
    finite = np.isfinite(expected)
    assert 0 < finite.sum() < finite.size
    np.testing.assert_array_equal(c[~finite], expected[~finite])
    np.testing.assert_allclose(c[finite], expected[finite], atol=1e-5 if kernel == "mma3" else 0.05)


def test_3xtf32_multiplies_very_large_and_very_small_numbers():
    a, b = np.full((1, 16, 16), 3.4028e38, np.float32), np.full((1, 16, 16), 0.01, np.float32)
    a[0, 8:] = 1e-34  # below, the small part is subnormal
    c = uninitialized((1, 16, 16), a.dtype)
    launch("mma3", c, a, b, 16, 16, 16)
    np.testing.assert_allclose(c, a.astype(np.float64) @ b, rtol=1e-6)


def test_a_single_product_of_3xtf32_is_off_by_at_most_2_to_the_minus_21():
    last_bits = np.array([1, 2049, 4093, 4095, 4097, 6145, 8191], np.float64)
    x = np.float32(1 + last_bits * 2.0**-23)  # their small parts have from 1 to 12 bits
    c = uninitialized((1, 7, 7), x.dtype)
    launch("mma3", c, x, x, 7, 7, 1)
    expected = np.outer(x.astype(np.float64), x)
    assert 0.99 * 2.0**-21 < (abs(c[0] - expected) / expected).max() <= 2.0**-21


DRAWS = {"normal": np.random.default_rng(0).standard_normal, "uniform": np.random.default_rng(0).random}


@pytest.mark.parametrize("k", [64, 512, 2048, 8192])
@pytest.mark.parametrize("draw", DRAWS)
def test_3xtf32_has_at_most_twice_the_error_of_a_float32_product(draw, k):
    a, b = (DRAWS[draw](shape).astype(np.float32) for shape in ((1, 16, k), (1, k, 16)))
    double = a.astype(np.float64), b.astype(np.float64)
    expected, scale = double[0] @ double[1], abs(double[0]) @ abs(double[1])
    errors = {}
    for kernel, tile in (("tiled", Tile(16, 16, 64, 16, 16, 2, 4)), ("mma3", TENSOR_CORES["mma3"])):
        c = uninitialized((1, 16, 16), a.dtype)
        launch(kernel, c, a, b, 16, 16, k, tile=tile, mode="fast")
        errors[kernel] = (abs(c - expected) / scale).max(), np.linalg.norm(c - expected) / np.linalg.norm(expected)
    assert all(ours <= 2 * theirs for ours, theirs in zip(errors["mma3"], errors["tiled"], strict=True)), errors


def multiplied_by(kernel):
    """Return the function that draws operands and their product, as the kernel multiplies them."""
    return rounded_operands if kernel == "mma" else operands


def rounded_operands(m, n, k, dtype=DTYPES[0], transpose_a=0, transpose_b=0, batch=1):
    """Return operands in float32, and the product that a tensor core makes of them."""
    a, b, _ = operands(m, n, k, dtype, transpose_a, transpose_b, batch)
    left, right = (tf32(x).swapaxes(1, 2) if t else tf32(x) for x, t in ((a, transpose_a), (b, transpose_b)))
    return a, b, left.astype(np.float64) @ right


def tf32(x):
    """Round to 10 bits of mantissa."""
    return ((x.view(np.uint32) + 0x1000) & 0xFFFFE000).view(np.float32)


@settings(max_examples=40, deadline=None, derandomize=True)
@given(
    kernel=st.sampled_from(list(TILES_OF_KERNELS)),
    layout=st.sampled_from(list(LAYOUTS)),
    m=st.integers(0, 80),
    n=st.integers(0, 80),
    k=st.integers(0, 80),
    batch=st.integers(1, 2),
    with_bias=st.booleans(),
)
def test_random_products_are_correct(kernel, layout, m, n, k, batch, with_bias):
    transpose_a, transpose_b = LAYOUTS[layout]
    a, b, product = operands(m, n, k, DTYPES[0], transpose_a, transpose_b, batch)
    bias = np.linspace(-1, 1, n, dtype=np.float32) if with_bias else None
    c = uninitialized((batch, m, n), a.dtype)
    options = {"TRANSPOSE_A": transpose_a, "TRANSPOSE_B": transpose_b}
    launch(kernel, c, a, b, m, n, k, bias=bias, batch=batch, options=options)
    assert_product(c, product + bias if with_bias else product, k)
