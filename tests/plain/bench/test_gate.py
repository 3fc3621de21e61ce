"""The gate accepts results that are correct up to rounding and no others; a case checks its own inputs."""

import dataclasses

import numpy as np
import pytest

from gpunet.bench import gate
from gpunet.bench.cases import OPS
from gpunet.device import CPU
from gpunet.errors import ArgumentError

F32 = np.dtype(np.float32)
SIZES = {"step": "12-16-5/8"}


def cases(op, size=None, dtype=F32):
    return list(OPS[op].cases(OPS[op].parse(size or SIZES.get(op, "40")), np.dtype(dtype)))


def results_of(case, kernel, inputs):
    call = case.kernels[kernel](np, **inputs)
    for _ in range(case.calls - 1):
        call()
    return [np.asarray(a) for a in call()]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("op", OPS)
def test_every_cpu_kernel_is_correct_on_random_inputs(op, dtype):
    for case in cases(op, dtype=dtype):
        inputs = case.draw()
        case.check(inputs)
        expected = gate.reference(case, inputs)
        for kernel in case.kernels_on(CPU):
            eps = gate.eps_of(case, kernel)
            assert gate.fault(results_of(case, kernel, inputs), expected, terms=case.terms, eps=eps) == ""


@pytest.mark.parametrize("op", OPS)
@pytest.mark.parametrize("seed", range(5))
def test_inputs_of_any_seed_count_as_random(op, seed):
    for case in cases(op):
        case.check(case.draw(seed))


def test_the_same_seed_draws_the_same_inputs():
    (case, *_) = cases("matmul")
    for a, b in zip(case.draw(3).values(), case.draw(3).values(), strict=True):
        np.testing.assert_array_equal(a, b)
    assert (case.draw(3)["a"] != case.draw(4)["a"]).any()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (np.zeros_like, "zeros"),
        (lambda a: np.where(np.arange(a.size).reshape(a.shape) % 2, a, 0).astype(a.dtype), "zeros"),
        (np.ones_like, "repeat"),
        (lambda a: np.broadcast_to(a[:1], a.shape).astype(a.dtype), "repeat"),
        (lambda a: abs(a), "mean"),
        (lambda a: a * a.dtype.type(0.1), "mean square 0.01"),
        (lambda a: np.where(a > 3, np.nan, a).astype(a.dtype), "mean nan"),
        (lambda a: a.astype(np.float64), "float64"),
        (lambda a: a[1:], r"\(39, 40\)"),
    ],
)
def test_a_zero_or_wrong_generator_is_detected(spoil, said):
    (case, *_) = cases("matmul")
    inputs = case.draw()
    with pytest.raises(ArgumentError, match=f"input b .*{said}"):
        case.check({**inputs, "b": spoil(inputs["b"])})


@pytest.mark.parametrize("labels", [np.zeros(40, np.int64), np.full(40, 40), np.full(40, -1)])
def test_constant_or_invalid_labels_are_detected(labels):
    (case,) = cases("softmax-cross-entropy")
    with pytest.raises(ArgumentError, match=r"input labels .* labels"):
        case.check({**case.draw(), "labels": labels})


@pytest.mark.parametrize("k", [1, 16, 300, 4096])
def test_a_product_passes_by_its_rounding_and_fails_by_one_missing_term(k):
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((16, k), np.float32), rng.standard_normal((k, 16), np.float32)
    expected = [a.astype(float) @ b.astype(float)]
    in_order = np.cumsum(a[:, :, None] * b[None], axis=1)[:, -1]  # sequential: the worst order of a sum
    eps = np.finfo(np.float32).eps
    assert gate.fault([in_order], expected, terms=k, eps=eps) == ""
    assert "are off" in gate.fault([in_order - a[:, -1:] * b[-1:]], expected, terms=k, eps=eps)


def test_one_wrong_element_of_many_is_found_and_named():
    expected = np.random.default_rng(0).standard_normal((50, 60))
    wrong = expected.copy()
    wrong[7, 9] += 1e-4
    said = gate.fault([expected, wrong], [expected, expected], terms=1, eps=1e-7)
    assert said.startswith("1 of 3,000 elements of result 1 are off, worst at (7, 9)")


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_nan_and_infinity_are_wrong(value):
    assert "are off, worst at (2,)" in gate.fault([np.array([0, 1, value])], [np.arange(3.0)], terms=1, eps=1e-7)


def test_a_result_of_another_shape_is_wrong():
    assert "shape (2,), expected (3,)" in gate.fault([np.ones(2)], [np.ones(3)], terms=1, eps=1e-7)


def test_only_tf32_is_allowed_the_rounding_of_tf32(monkeypatch):
    (case, *_) = cases("matmul")
    monkeypatch.setenv("CUPY_TF32", "1")
    assert gate.eps_of(case, "mma") == gate.eps_of(case, "blas") == 2**-10
    assert gate.eps_of(case, "tiled") == np.finfo(np.float32).eps
    monkeypatch.delenv("CUPY_TF32")
    assert gate.eps_of(case, "blas") == np.finfo(np.float32).eps
    double = dataclasses.replace(case, dtype=np.dtype(np.float64))
    assert gate.eps_of(double, "tiled") == np.finfo(np.float64).eps


@pytest.mark.parametrize(
    ("op", "text", "size"),
    [
        ("matmul", "7", (7, 7, 7)),
        ("matmul", "1x2x3", (1, 2, 3)),
        ("optimizer", "10", (10,)),
        ("step", "784-128-10/32", (784, 128, 10, 32)),
    ],
)
def test_sizes_are_read(op, text, size):
    assert OPS[op].parse(text) == size


@pytest.mark.parametrize(
    ("op", "text"),
    [("matmul", "1x2"), ("matmul", "0"), ("matmul", "-4"), ("matmul", "4x4x4x4"), ("matmul", "four"), ("step", "64"),
     ("step", "64-10"), ("optimizer", "2x3"), ("linear", "1.5")],
)  # fmt: skip
def test_a_malformed_size_is_refused_with_the_expected_form(op, text):
    with pytest.raises(ArgumentError, match=f"size '{text}': expected {OPS[op].form}, such as"):
        OPS[op].parse(text)
