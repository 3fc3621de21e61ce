"""The kernel that computes both gradients of a linear layer, against float64 and against two products."""

import numpy as np
import pytest
from compiler.kernels.checked import DTYPES, run, uninitialized

from gpunet.cuda import Kernel
from gpunet.ops.tiles import Tile

BACKWARD, PRODUCT = Kernel("linear_backward.cu", "linear_backward"), Kernel("matmul_tiled.cu", "matmul_tiled")
TILE, WIDE = Tile(32, 32, 8, 32, 16, 4, 4, slices=2), Tile(16, 32, 32, 16, 32, 4, 4, slices=4)

# rows, inputs, outputs: edges on all sides, tiles of one gradient alone, a single element
ODD = [(33, 70, 5), (70, 5, 33), (5, 33, 70), (1, 1, 1), (64, 3, 65)]
EVEN = [(36, 64, 8), (8, 4, 100), (65, 32, 32)]


def operands(rows, inputs, outputs, dtype):
    rng = np.random.default_rng(0)
    shapes = (rows, inputs), (inputs, outputs), (rows, outputs), (rows, inputs)
    return [rng.standard_normal(shape).astype(dtype) for shape in shapes]


def backward(x, weight, dz, saved, options, tile=TILE):
    """Return dx, dW and the bias's gradient."""
    (rows, inputs), outputs = x.shape, dz.shape[1]
    results = [uninitialized(shape, x.dtype) for shape in (x.shape, weight.shape, outputs)]
    if "COLUMN_SUMS" not in options:
        results[2] = None
    grid = (tile.blocks(inputs, outputs) + tile.blocks(rows, inputs),)
    sizes = rows, inputs, outputs, 0.0
    run(BACKWARD, grid, (tile.threads,), x, weight, dz, saved, *results, *sizes, options=tile.options() | options)
    return results


def assert_close(actual, expected, terms):
    tolerance = 4 * np.finfo(actual.dtype).eps * max(terms, 4)
    np.testing.assert_allclose(actual, expected, rtol=tolerance, atol=tolerance * 4)


@pytest.mark.parametrize(
    ("sizes", "vectors", "dtype", "tile"),
    [
        (ODD, 0, DTYPES[0], TILE),
        (EVEN, 1, DTYPES[0], TILE),
        (ODD, 0, DTYPES[1], TILE),
        (EVEN, 1, DTYPES[1], TILE),
        (ODD, 0, DTYPES[0], WIDE),
    ],
    ids=str,
)
def test_both_gradients_of_any_sizes(sizes, vectors, dtype, tile):
    options = {"VECTOR_INPUTS": vectors, "VECTOR_OUTPUTS": vectors, "COLUMN_SUMS": 1}
    options |= {"ACTIVATION": "tanh", "GRADIENT": 1}
    for rows, inputs, outputs in sizes:
        x, weight, dz, saved = operands(rows, inputs, outputs, dtype)
        dx, dweight, dbias = backward(x, weight, dz, saved, options, tile)
        x, weight, dz, saved = (a.astype(np.float64) for a in (x, weight, dz, saved))
        assert_close(dx, dz @ weight.T * (1 - saved**2), outputs)
        assert_close(dweight, x.T @ dz, rows)
        assert_close(dbias, dz.sum(axis=0), rows)


def test_one_launch_gives_the_same_bits_as_two():
    x, weight, dz, _ = operands(70, 45, 37, DTYPES[0])
    dx, dweight, dbias = backward(x, weight, dz, None, {"COLUMN_SUMS": 1})

    def product(out, a, b, m, n, k, sums, **options):
        rest = None, None, None, out, sums, None, None, m, n, k, 0, 0, 0, 0.0
        run(PRODUCT, (TILE.blocks(m, n),), (TILE.threads,), a, b, *rest, options=TILE.options() | options)

    apart = [uninitialized(a.shape, a.dtype) for a in (dx, dweight, dbias)]
    product(apart[0], dz, weight, 70, 45, 37, None, TRANSPOSE_B=1)
    product(apart[1], x, dz, 45, 37, 70, apart[2], TRANSPOSE_A=1, COLUMN_SUMS=1)
    for together, alone in zip((dx, dweight, dbias), apart, strict=True):
        np.testing.assert_array_equal(together, alone)


def test_a_layer_without_bias_sums_no_columns():
    x, weight, dz, _ = operands(40, 33, 9, DTYPES[0])
    dx, dweight, dbias = backward(x, weight, dz, None, {})
    assert dbias is None
    assert_close(dx, dz.astype(np.float64) @ weight.T, 9)
    assert_close(dweight, x.T.astype(np.float64) @ dz, 40)
