"""Faults to plant in the real kernels: (file, original text, faulty text, function that runs it, how it is caught).

"AssertionError" means by comparison with NumPy; anything else is the message of check mode.
"""

import shutil

import numpy as np
from compiler.kernels.checked import partial_sums, run, uninitialized

from gpunet.cuda import Kernel
from gpunet.data import Standardizer
from gpunet.device import kernels_path
from gpunet.ops import entity_embedding, entity_embedding_backward, scaled_dot_product_attention, softmax_cross_entropy
from gpunet.ops.tiles import Tile

TILED = Tile(32, 32, 32, 32, 16, 4, 4, slices=2)
WITH_TILES = {"tiled": TILED, **dict.fromkeys(("mma", "mma3"), Tile(32, 32, 16, 16, 16))}
REGISTER = {"BM": 32, "BN": 32, "BK": 8, "TM": 4, "TN": 4}
WARP = REGISTER | {"WM": 16, "WN": 32}


def matmul(folder, name, threads, options=None, m=33, n=36, k=108, splits=1):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((m, k)).astype(np.float32), rng.standard_normal((k, n)).astype(np.float32)
    if (options or {}).get("TRANSPOSE_A"):
        a = np.ascontiguousarray(a.T)
    c, sums = uninitialized((m, n), a.dtype), uninitialized(n, a.dtype)
    kernel = Kernel(folder / f"matmul_{name}.cu", f"matmul_{name}")
    tiles = {"shared": 9, "naive": 10}.get(name, 4)
    arguments = [a, b, None, None, None, c, m, n, k, 0, 0, 0.0]
    if name == "split_k":
        arguments[6:6] = uninitialized(tiles * splits * 32 * 32, a.dtype), np.zeros(tiles, np.uint32)
        arguments[-1:] = 32 * 32, 0.0
    if tile := WITH_TILES.get(name):
        part = tile.part_size(column_sums=True)
        options = {**tile.options(), "COLUMN_SUMS": 1, **(options or {})}
        arguments[6:6] = sums, uninitialized(tiles * splits * part, a.dtype), np.zeros(tiles, np.uint32)
        arguments[-1:] = part, 0.0
    run(kernel, (tiles, splits), (threads,), *arguments, options=options)
    product = (a.T if (options or {}).get("TRANSPOSE_A") else a) @ b
    np.testing.assert_allclose(c, product, rtol=1e-4, atol=0.1 if name == "mma" else 1e-4)  # the error of TF32
    if tile:
        np.testing.assert_allclose(sums, b.sum(axis=0), rtol=1e-4, atol=1e-4)


def shared(folder):
    matmul(folder, "shared", 256)


def register(folder):
    matmul(folder, "register", 64, REGISTER)


def vectorized(folder):
    matmul(folder, "vectorized", 64, REGISTER)


def vectorized_odd(folder):
    matmul(folder, "vectorized", 64, REGISTER, n=35, k=107)


def double_buffered(folder):
    matmul(folder, "double_buffered", 64, REGISTER)


def warp_tiled(folder):
    matmul(folder, "warp_tiled", 64, WARP)


def split_k(folder):
    matmul(folder, "split_k", 64, WARP, splits=2)


def tiled(folder):
    matmul(folder, "tiled", TILED.threads)


def tensor_cores(folder):
    matmul(folder, "mma", 128)


def split_elements(folder):
    matmul(folder, "mma3", 128)


def synchronous_copies(folder):
    matmul(folder, "double_buffered", 64, REGISTER | {"__CUDA_ARCH__": 750})


def split(folder):
    matmul(folder, "tiled", TILED.threads, splits=2)


def split_batch(folder):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((2, 33, 108), np.float32), rng.standard_normal((2, 108, 36), np.float32)
    c, part = uninitialized((2, 33, 36), a.dtype), TILED.part_size(column_sums=False)
    scratch = None, uninitialized(4 * 2 * 2 * part, a.dtype), np.zeros(4 * 2, np.uint32)
    arguments = a, b, None, None, None, c, *scratch, 33, 36, 108, 33 * 108, 108 * 36, part, 0.0
    kernel = Kernel(folder / "matmul_tiled.cu", "matmul_tiled")
    run(kernel, (4, 2, 2), (TILED.threads,), *arguments, options=TILED.options())
    np.testing.assert_allclose(c, a @ b, rtol=1e-4, atol=1e-4)


def tiled_by_vectors(folder):
    options = {"VECTOR_A": 1, "VECTOR_B": 1, "VECTOR_C": 1, "TRANSPOSE_A": 1}
    matmul(folder, "tiled", TILED.threads, options, m=36)


def gradients(folder):
    rng = np.random.default_rng(0)
    x, weight, dz = (rng.standard_normal(shape, np.float32) for shape in ((33, 40), (40, 21), (33, 21)))
    dx, dweight = uninitialized(x.shape, x.dtype), uninitialized(weight.shape, x.dtype)
    kernel = Kernel(folder / "linear_backward.cu", "linear_backward")
    arrays = x, weight, dz, None, dx, dweight, None
    run(kernel, (6,), (TILED.threads,), *arrays, 33, 40, 21, 0.0, options=TILED.options())
    np.testing.assert_allclose(dx, dz @ weight.T, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(dweight, x.T @ dz, rtol=1e-4, atol=1e-4)


def bias(folder):
    rng = np.random.default_rng(0)
    for rows, n in ((5, 7), (3, 8), (700, 12)):
        z, b = rng.standard_normal((rows, n)).astype(np.float32), rng.standard_normal(n).astype(np.float32)
        y = uninitialized((rows, n), z.dtype)
        kernel = Kernel(folder / "bias_activation.cu", "bias_activation_forward")
        run(kernel, (1,), (256,), z, b, None, y, rows, n, 0.0, options={"ACTIVATION": "relu"})
        np.testing.assert_array_equal(y, np.maximum(z + b, 0))


def bias_gradient(folder):
    rows, n = 29, 12
    dy, y = np.random.default_rng(0).standard_normal((2, rows, n), np.float32)
    dz, dbias = uninitialized((rows, n), dy.dtype), uninitialized(n, dy.dtype)
    kernel = Kernel(folder / "bias_activation.cu", "bias_activation_backward")
    run(kernel, (1, 1), (32, 8), dy, y, dz, None, None, dbias, rows, n, rows, 0.0, options={"ACTIVATION": "relu"})
    np.testing.assert_array_equal(dz, dy * (y > 0))
    np.testing.assert_allclose(dbias, (dy * (y > 0)).sum(axis=0), rtol=1e-5, atol=1e-5)


def column_sums(folder):
    x = np.ones((40, 130), np.float32)[:19]  # a view of a larger array, so that no other array follows it in memory
    sums = uninitialized(130, x.dtype)
    run(Kernel(folder / "reduce.cu", "sum_columns"), (2, 1), (32, 8), x, None, None, sums, 19, 130, 19)
    np.testing.assert_array_equal(sums, 19)


def column_sums_in_chunks(folder):
    x, sums = np.ones((40, 130), np.float32), uninitialized(130, np.dtype(np.float32))
    scratch = uninitialized(2 * 130, x.dtype), np.zeros(2, np.uint32)
    run(Kernel(folder / "reduce.cu", "sum_columns"), (2, 2), (32, 8), x, *scratch, sums, 40, 130, 20)
    np.testing.assert_array_equal(sums, 40)


def total(folder):
    x, whole = np.ones(1000, np.float32), uninitialized(1, np.dtype(np.float32))
    run(Kernel(folder / "reduce.cu", "sum"), (2,), (256,), x, *partial_sums(2, x.dtype), whole, 1000)
    assert whole[0] == 1000


def cross_entropy(folder):
    rng = np.random.default_rng(0)
    z, labels = rng.standard_normal((9, 40)).astype(np.float32), rng.integers(0, 40, 9)
    dz, loss = uninitialized(z.shape, z.dtype), uninitialized(1, z.dtype)
    kernel = Kernel(folder / "softmax_cross_entropy.cu", "softmax_cross_entropy_labels")
    run(kernel, (1,), (256,), z, labels, None, None, None, dz, None, None, loss, 9, 40, 0.0)
    expected_loss, expected = softmax_cross_entropy(z, labels)
    np.testing.assert_allclose(loss[0], expected_loss, rtol=1e-5)
    np.testing.assert_allclose(dz, expected, atol=1e-6)


def batch(folder):
    rng = np.random.default_rng(0)
    x, y, order = rng.integers(0, 256, (9, 12), np.uint8), np.arange(9, dtype=np.uint32), rng.permutation(9)
    scaler, first, arrivals = Standardizer.fit(x), np.array([3]), np.zeros(1, np.uint32)
    out, labels = uninitialized((5, 12), np.dtype(np.float32)), uninitialized(5, y.dtype)
    given = x, scaler.mean, scaler.factor, y, None, order, first, arrivals, out, labels, None, 9, 12, 1, 0, 9, 5
    run(Kernel(folder / "gather.cu", "gather_batch"), (2,), (256,), *given, options={"SOURCE": "unsigned char"})
    np.testing.assert_array_equal(out, scaler.apply(x[order[3:8]], out.dtype))
    np.testing.assert_array_equal(labels, y[order[3:8]])
    assert first[0] == 8


def categories(folder):
    rng = np.random.default_rng(0)
    x = np.column_stack([rng.standard_normal((70, 2)), rng.integers(-1, 6, 70)]).astype(np.float32)
    table, dy = (rng.standard_normal(shape).astype(np.float32) for shape in ((5, 9), (70, 11)))
    y, dtable, expected = uninitialized(dy.shape, dy.dtype), uninitialized(table.shape, dy.dtype), np.empty_like(table)
    place = 2, 5, 9, 2, 3, 11, 70
    run(Kernel(folder / "embedding.cu", "category_forward"), (2,), (256,), x, table, y, *place)
    np.testing.assert_array_equal(y[:, 2:], entity_embedding(x, [table])[:, 2:])
    run(Kernel(folder / "embedding.cu", "category_backward"), (5, 1), (32, 8), dy, x, dtable, *place)
    entity_embedding_backward(dy, x, [expected])
    np.testing.assert_allclose(dtable, expected, rtol=1e-5, atol=1e-6)


def average(folder):
    p, mean, progress = np.ones(9, np.float32), np.zeros(9, np.float32), np.array([1, 0, 0])
    for squares, expected in ((1, 0.5), (np.nan, 0.5)):
        state = np.full(1, squares, float), np.ones(1, np.float32), progress, 1, 0.0
        run(Kernel(folder / "optimizers.cu", "average"), (2,), (256,), *state, p, mean, 9, 0.5)
        assert (mean == expected).all()


def gradient_sum(folder):
    g, total, value = np.ones(1500, np.float32), uninitialized(1500, np.dtype(np.float32)), np.ones(1, np.float32)
    losses, weights = np.ones(2, np.float32), np.full(2, 0.5, np.float32)
    for part in range(2):
        arrays = g, total, value, losses, weights
        run(Kernel(folder / "gradient_sum.cu", "add_gradient"), (2,), (256,), *arrays, 1500, part, 2, 2.0)
    assert (g == 1).all()
    assert losses.tolist() == [1, 1]


def step(folder):
    p, g = np.zeros(1500, np.float32), np.full(1500, 2, np.float32)
    rates, progress = np.ones(1, np.float32), np.zeros(3, np.int64)
    squares, rate = uninitialized(2, np.dtype(np.float64)), uninitialized(1, g.dtype)
    run(
        Kernel(folder / "optimizers.cu", "begin_step"),
        (2,),
        (256,),
        g,
        squares,
        rates,
        rate,
        progress,
        1500,
        1,
        1,
        np.inf,
    )
    state = squares, rate, progress, 2, 1.0
    run(Kernel(folder / "optimizers.cu", "sgd"), (2,), (256,), *state, p, g, None, 1500, 0.0, 0.0, False)
    np.testing.assert_allclose(p, -2 * 6000**-0.5, rtol=1e-5)
    assert progress.tolist() == [1, 0, 0]


def convolution(folder):
    x, dx = np.arange(32, dtype=np.float32), uninitialized(32, np.dtype(np.float32))
    columns = uninitialized(9 * 32, x.dtype)
    sizes = (2, 1, 4, 4, 4, 4, 3, 3, 1, 1, 1, 1, 1, 1)
    run(Kernel(folder / "convolution.cu", "im2col"), (1,), (256,), x, columns, *sizes)
    np.testing.assert_array_equal(columns.reshape(9, 32)[4], x)
    run(Kernel(folder / "convolution.cu", "col2im"), (1,), (256,), columns, dx, *sizes)
    np.testing.assert_array_equal(dx, x * np.tile(np.outer([2, 3, 3, 2], [2, 3, 3, 2]).ravel(), 2))


def convolution_backward(folder):
    dy = np.ones((2, 2, 300), np.float32)
    dz, dbias = uninitialized((2, 2, 300), dy.dtype), uninitialized(2, dy.dtype)
    scratch = uninitialized(2 * 2, dy.dtype), np.zeros(2, np.uint32)
    kernel = Kernel(folder / "convolution.cu", "conv2d_output_backward")
    run(kernel, (2, 2), (256,), dy, None, dz, *scratch, dbias, 2, 2, 300, 0.0, options={"ACTIVATION": "identity"})
    np.testing.assert_array_equal(dbias, 600)


def attention(folder):
    rng = np.random.default_rng(0)
    q, k, v = (rng.standard_normal((2, 3, n, 4)).astype(np.float32) for n in (6, 40, 40))
    mask, expected = rng.random((2, 1, 1, 40)) < 0.5, np.empty((2, 3, 6, 40), np.float32)
    scaled_dot_product_attention(q, k, v, mask, causal=True, weights=expected)
    weights = q @ k.swapaxes(2, 3)
    kernel = Kernel(folder / "attention.cu", "attention_softmax_forward")
    run(kernel, (2,), (256,), weights, mask, None, 36, 2, 3, 6, 40, 40, 0, 0, 1, 1, 0.5)
    np.testing.assert_allclose(weights, expected, atol=1e-6)


BARRIER = "        __syncthreads();\n"
FAULTS = {
    "no barrier before a tile is read": (
        "matmul_shared.cu", BARRIER, "", shared, "race"),
    "no barrier before a tile is overwritten": (
        "matmul_shared.cu", "        __syncthreads();  // other threads", "        // other threads", shared, "race"),
    "a sum that is not initialized": (
        "matmul_shared.cu", "T sum = 0;", "T sum;", shared, "AssertionError"),
    "an edge off by one": (
        "matmul.cuh", "if (row >= m || i >= k)", "if (row > m || i >= k)", shared, "out of bounds"),
    "a wrong stride": (
        "matmul.cuh", "static_cast<size_t>(row) * k + i", "static_cast<size_t>(row) * m + i", shared, "AssertionError"),
    "a transposed index": (
        "matmul_register.cu", "row_b[q] = tile_b[i][x + q * (BN / TN)]", "row_b[q] = tile_b[i][x * TN + q]", register,
        "AssertionError"),
    "a vector past the end of a row": (
        "matmul_vectorized.cu", "length % VECTOR == 0 && aligned(operand)", "true", vectorized_odd,
        "misaligned|out of bounds"),
    "vectors of a tile overwritten while they are read": (
        "matmul_vectorized.cu", "        __syncthreads();  // other threads", "        // other threads", vectorized,
        "race"),
    "no wait for the copies of a stage": (
        "matmul_double_buffered.cu", "        wait_copies<0>();\n", "", double_buffered, "uninitialized"),
    "no barrier between the two stages": (
        "matmul_double_buffered.cu", "        __syncthreads();  // this stage", "        // this stage",
        double_buffered, "race"),
    "a stage copied while it is read": (
        "matmul_warp_tiled.cu", "copy(stage ^ 1, first + BK)", "copy(stage, first + BK)", warp_tiled, "race"),
    "lanes that share a thread tile": (
        "matmul_warp_tiled.cu", "lane / 2 % 2 + lane / 16 * 2", "lane / 2 % 2 + lane / 16", warp_tiled,
        "AssertionError"),
    "splits that overlap": (
        "matmul_split_k.cu", "min(begin + length, k)", "min(begin + length + BK, k)", split_k, "AssertionError"),
    "an epilogue without a guard": (
        "matmul.cuh", "if (row >= m || column >= n) return;", "", register, "race|out of bounds"),
    "a swapped operand register": (
        "mma.cuh", "{%4, %5, %6, %7}", "{%5, %4, %6, %7}", tensor_cores, "AssertionError"),
    "a swapped result register": (
        "mma.cuh", '"+f"(d[0]), "+f"(d[1])', '"+f"(d[1]), "+f"(d[0])', tensor_cores, "AssertionError"),
    "a swapped register of a fragment": (
        "mma.cuh", "{%0, %1, %2, %3}, [%4]", "{%1, %0, %2, %3}, [%4]", tensor_cores, "AssertionError"),
    "the wrong steps of a fragment": (
        "mma_product.cuh", "i / EACH % 2 * 4);", "i % 2 * 4);", tensor_cores, "AssertionError"),
    "a row of the wrong fragment": (
        "mma_product.cuh", "place(p, r / 2, lane / 4)", "place(p, r % 2, lane / 4)", tensor_cores, "AssertionError"),
    "a wait skipped by the tensor cores": (
        "tile_loader.cuh", "wait_copies<COUNT - 2>();", "wait_copies<COUNT - 1>();", tensor_cores, "uninitialized"),
    "a missing last step of the tensor cores": (
        "mma_product.cuh", "i < last; i += BK", "i + BK < last; i += BK", tensor_cores,
        "copy never waited for"),
    "column sums past the end": (
        "mma_product.cuh", "x < BN && column + x < n", "x < BN", tensor_cores, "out of bounds"),
    "a dropped small product": (
        "matmul_mma3.cu", "mma_m16n8k8_tf32(part, a[j].big[p], b[j].small[q]);", "", split_elements, "AssertionError"),
    "a small part of the wrong number": (
        "matmul_mma3.cu", "x - __uint_as_float(big[p][i])", "x", split_elements, "AssertionError"),
    "a part that replaces the sum": (
        "matmul_mma3.cu", "sum.tile[p][q][r] += part[r]", "sum.tile[p][q][r] = part[r]", split_elements,
        "AssertionError"),
    "copies that are not committed": (
        "async_copy.cuh", 'asm volatile("cp.async.commit_group;" ::: "memory");', "", tiled, "uninitialized"),
    "a wait for too few groups": (
        "async_copy.cuh", '"n"(PENDING)', '"n"(PENDING + 1)', tiled, "uninitialized"),
    "elements past the end that are not filled with zeros": (
        "async_copy.cuh", "selp.b32 bytes, %3, 0, p;", "selp.b32 bytes, %3, %3, p;", tiled, "out of bounds"),
    "vectors past the end that are not filled with zeros": (
        "async_copy.cuh", "selp.b32 bytes, 16, 0, p;", "selp.b32 bytes, 16, 16, p;", tiled_by_vectors, "out of bounds"),
    "a copy with its predicate inverted": (
        "async_copy.cuh", "setp.ne.b32 p, %2, 0; selp.b32 bytes, %3", "setp.eq.b32 p, %2, 0; selp.b32 bytes, %3",
        tiled, "AssertionError|out of bounds"),
    "a synchronous copy without zeros past the end": (
        "async_copy.cuh", "there ? *static_cast<const Piece*>(global) : Piece{}", "*static_cast<const Piece*>(global)",
        synchronous_copies, "out of bounds"),
    "a later key": (
        "attention.cu", "query + 1 :", "query + 2 :", attention, "AssertionError"),
    "a mask of another row": (
        "attention.cu", "matrix / heads * s0", "matrix % heads * s0", attention, "AssertionError|out of bounds"),
    "a query without keys": (
        "attention.cu", "total < T(1) ? T(1) : total", "total", attention, "AssertionError"),
    "a copy into the stage being read": (
        "tile_loader.cuh", "now > 0 ? now - 1 : COUNT - 1, wanted);", "now, wanted);", tiled, "race"),
    "no wait for the copies of a step": (
        "tile_loader.cuh", "wait_copies<COUNT - 2>();", "wait_copies<COUNT - 1>();", tiled, "uninitialized"),
    "no barrier after the wait for the copies": (
        "tile_loader.cuh", "        __syncthreads();  // this step's", "        // this step's", tiled, "race"),
    "slices added up while tiles are still read": (
        "tiled_product.cuh", "__syncthreads();  // no thread", "// no thread", tiled, "race"),
    "a slice that is not added": (
        "tiled_product.cuh", "other < SLICES - 1", "other < SLICES - 2", tiled, "AssertionError"),
    "a partly loaded tile": (
        "tile_loader.cuh", "c < EACH; ++c) {\n                    const int", "c < 1; ++c) {\n const int", tiled,
        "uninitialized"),
    "a row past the end of an operand": (
        "tile_loader.cuh", "first + right) < x_end", "first + right) <= x_end", tiled, "out of bounds"),
    "a step before the first": (
        "tile_loader.cuh", ">= missing;", ">= missing - 1;", tiled, "AssertionError|out of bounds"),
    "all tiles as short as the first": (
        "tile_loader.cuh", "b.now = b.later;", "", tiled, "AssertionError"),
    "a vector copied one element too far": (
        "tile_loader.cuh", "at_row(row, place);", "at_row(row, place) + 1;", tiled_by_vectors, "misaligned"),
    "fragments loaded from the middle of a row": (
        "tiled_product.cuh", "if (step % STEPS != 0) return;", "", tiled, "misaligned"),
    "rows of a tile that overlap": (
        "tile_loader.cuh", "SIZE + SIZE / 8, SPREAD", "SIZE, SPREAD", tiled, "race"),
    "the first fragments of a stage from the previous one": (
        "tiled_product.cuh", "if (another) tiles", "if (!another) tiles", tiled, "AssertionError|race|uninitialized"),
    "a fragment of the wrong step": (
        "tiled_product.cuh", "columns_a.at(j)", "columns_a.at(0)", tiled, "AssertionError"),
    "a missing last step along k": (
        "tiled_product.cuh", "i < last; i += BK", "i + BK < last; i += BK", tiled, "AssertionError"),
    "column sums of too many columns": (
        "tiled_product.cuh", "if (x < n) column_sums", "column_sums", tiled, "out of bounds"),
    "a tile of the wrong gradient": (
        "linear_backward.cu", "blockIdx.x - of_weight", "blockIdx.x", gradients, "AssertionError"),
    "a gradient stored by every slice": (
        "linear_backward.cu", "if (holds) OfInput", "OfInput", gradients, "race"),
    "a block counted before its writes are visible": (
        "common.cuh", "    __threadfence();  // publish", "    // publish", split, "race"),
    "a block that does not wait for the last": (
        "common.cuh", "== blocks - 1;", "== blocks - 2;", split, "race|uninitialized"),
    "the last block by index, not by arrival, in a batch": (
        "gather.cu", "last_to_arrive(arrivals, gridDim.x)", "blockIdx.x == gridDim.x - 1", batch, "race"),
    "the last block by index, not by arrival, in column sums": (
        "columns.cuh", "!last_to_arrive(arrivals + blockIdx.x, gridDim.y)", "blockIdx.y != gridDim.y - 1",
        column_sums_in_chunks, "race|uninitialized"),
    "arrivals counted by block, not by tile": (
        "split_k.cuh", "arrivals + tile", "arrivals + blockIdx.x", split_batch, "race|uninitialized"),
    "one arrival counter for all channels": (
        "convolution.cu", "arrivals + channel", "arrivals", convolution_backward, "race|uninitialized"),
    "a missing part of the sum": (
        "split_k.cuh", "split = 0; split < gridDim.y", "split = 1; split < gridDim.y", split, "AssertionError"),
    "overlapping parts": (
        "split_k.cuh", "parts + tile * gridDim.y * COUNT", "parts + tile * COUNT", split, "race"),
    "vectors although the size is not a multiple": (
        "bias_activation.cu", "n % VECTOR == 0 && aligned(z)", "aligned(z)", bias,
        "misaligned|out of bounds"),
    "a missing tail": (
        "bias_activation.cu", "for (unsigned i = vectors * VECTOR + flat_thread(); i < size;",
        "for (unsigned i = vectors * VECTOR + flat_thread(); i + VECTOR < size;", bias, "AssertionError"),
    "a column that is not wrapped around": (
        "bias_activation.cu", "step : step - width", "step : step", bias, "AssertionError|out of bounds"),
    "a bias of the wrong column": (
        "bias_activation.cu", "z[i] + bias[i % n]", "z[i] + bias[i % rows]", bias, "AssertionError"),
    "a row loaded past the last one": (
        "columns.cuh", "< last_row) loaded[i]", "<= last_row) loaded[i]", bias_gradient, "out of bounds"),
    "a loaded row that is not used": (
        "columns.cuh", "< last_row) use(", "< last_row && i < 3) use(", bias_gradient, "AssertionError"),
    "a column past the end": (
        "columns.cuh", "if (column_of(j, false) < n) values", "values", column_sums, "out of bounds"),
    "a race between the warps of a column sum": (
        "columns.cuh", "    __syncthreads();\n", "", column_sums, "race"),
    "a race in the sum of a block": (
        "common.cuh", "    __syncthreads();\n", "", total, "race"),
    "one partial sum for all blocks": (
        "common.cuh", "partial_sums[blockIdx.x] = x", "partial_sums[0] = x", total, "race"),
    "a barrier that only some threads reach": (
        "common.cuh", "    __syncthreads();\n", "    if (threadIdx.x < 32) __syncthreads();\n    __syncthreads();\n",
        total, "barrier"),
    "a maximum of one lane": (
        "softmax_cross_entropy.cu", "sums.largest = warp_max<LANES>(sums.largest);", "",
        cross_entropy, "AssertionError"),
    "a shuffle in a branch": (
        "cross_entropy.cuh", "product = warp_sum<SPAN>(product);",
        "if (threadIdx.x < 8) product = warp_sum<SPAN>(product);", cross_entropy, "collective|mask|warp"),
    "a row past the end": (
        "softmax_cross_entropy.cu", "min(first + group, rows - 1)", "first + group + 1", cross_entropy,
        "out of bounds"),
    "a step counted by every block": (
        "optimizers.cu", "if (flat_thread() != 0) return;", "if (threadIdx.x != 0) return;", step, "race"),
    "the squares of only one block": (
        "optimizers.cu", "i < parts; i += 256", "i < 1; i += 256", step, "AssertionError"),
    "a write through a pointer to const": (
        "optimizers.cu", "    for (int group = 0;", "    const_cast<T*>(rates)[0] = 0;\n    for (int group = 0;", step,
        "const"),
    "an average updated by a skipped step": (
        "optimizers.cu", "max_norm).factor == T(0)) return;", "max_norm).factor == T(2)) return;", average,
        "AssertionError"),
    "a loss added by every block": (
        "gradient_sum.cu", "if (flat_thread() != 0) return;", "if (threadIdx.x != 0) return;", gradient_sum, "race"),
    "a patch past the edge of the image": (
        "convolution.cu", "h < height && w >= 0", "h <= height && w >= 0", convolution, "out of bounds"),
    "a mean of the vector's first column": (
        "gather.cu", "convert(x.v[k], column + k)", "convert(x.v[k], column)", batch, "AssertionError"),
    "a batch that ignores the order": (
        "gather.cu", "clipped(order[clipped(begin + i, total)], n)", "clipped(begin + i, n)", batch, "AssertionError"),
    "a category past the end of the table": (
        "embedding.cu", "category < T(rows - 1)", "category < T(rows)", categories, "out of bounds"),
    "a category in the adjacent row": (
        "embedding.cu", "static_cast<int>(category) + 1 : 0", "static_cast<int>(category) : 0",
        categories, "AssertionError"),
    "features written over the numbers": (
        "embedding.cu", "width_y + first + j] =", "width_y + j] =", categories, "AssertionError"),
    "gradients of the wrong column": (
        "embedding.cu", "sum_of_row(dy + first,", "sum_of_row(dy,", categories, "AssertionError"),
    "warp sums read too early": (
        "embedding.cu", "    __syncthreads();\n", "", categories, "race|uninitialized"),
    "a position advanced while it is read": (
        "gather.cu", "last_to_arrive(arrivals, gridDim.x) && threadIdx.x == 0", "flat_thread() == 0", batch, "race"),
    "a window past the last one": (
        "window.cuh", "window >= count", "window > count", convolution, "AssertionError"),
}  # fmt: skip


def plant(name, folder):
    """Run the case of a fault on a copy of the kernels in `folder` that contains the fault; raise if it is caught."""
    file, right, wrong, case, _ = FAULTS[name]
    planted = folder / "kernels"
    shutil.copytree(kernels_path(), planted)
    source = (planted / file).read_text(encoding="utf-8")
    assert right in source, "the kernel has changed: update the planted fault"
    (planted / file).write_text(source.replace(right, wrong, 1), encoding="utf-8")
    case(planted)
