"""Replayed calls give the same result for new values as the code that was recorded."""

import numpy as np
import pytest

import gpunet as gn
from gpunet.recording import NotRecordableError, RecordedArray, do, recorded, recording
from gpunet.versions import Versioned, parts

RNG = np.random.default_rng(0)
A = RNG.standard_normal((5, 4)).astype(np.float32)
B = RNG.standard_normal((4, 3)).astype(np.float32)

CODE = {
    "products": lambda a, b: np.dot(a, b) + a @ b,
    "a ufunc with out": lambda a, b: np.maximum(a, 0.25, out=np.empty_like(a)),
    "products by name": lambda a, b: np.dot(a[:3], out=np.empty((3, 3), np.float32), b=b) + np.dot(a=b.T, b=b),
    "a reduction with an initial value": lambda a, b: np.maximum.reduce(a, axis=1, initial=0.5),
    "a reduction with a mask": lambda a, b: np.add.reduce(a, axis=1, where=np.array([True, False, True, True])),
    "operators": lambda a, b: (2 * a - 1) / (a * a + 1),
    "in place": lambda a, b: add_in_place(a * 1),
    "reductions": lambda a, b: a.sum(axis=0) + a.mean(axis=0) + a.max(axis=0) - np.min(a, axis=0),
    "a number": lambda a, b: a * a.sum() + np.vdot(a, a),
    "views": lambda a, b: a.T[1:3].reshape(5, 2)[:, None] * 3,
    "written through a view": lambda a, b: write(a * 1),
    "rows": lambda a, b: a.take(np.array([2, 0]), axis=0) + a[[1, 3]],
    "one element": lambda a, b: a[1, 2] * np.ones(3, np.float32),
    "rows one by one": lambda a, b: sum(row for row in a),
    "choice": lambda a, b: np.where(a > 0, a, 0.5),
    "a count of predictions": lambda a, b: (a.argmax(axis=1) == 2).sum(),
    "other dtypes": lambda a, b: a.astype(np.float64) * 0.1,
    "functions of numpy": lambda a, b: np.concatenate([np.clip(a, -1, 1), np.tanh(a)]),
    "exponentials": lambda a, b: np.exp(a - np.logaddexp.reduce(a, axis=1, keepdims=True)),
    "shapes": lambda a, b: np.zeros(np.shape(a), np.result_type(a, b)) + a,
    "a result in fresh memory": lambda a, b: np.matmul(a, b, out=np.empty((5, 3), np.float32)) * 2,
    "methods": lambda a, b: np.take_along_axis(a, a.argpartition(2, axis=1), axis=1).repeat(2, axis=0),
    "einsum": lambda a, b: np.einsum("ij,jk->ik", a, b),
}


def add_in_place(a):
    a += 1
    a *= a
    return a


def write(a):
    a[1:, 0] = 7
    a[0].fill(3)
    return a


@pytest.mark.parametrize("name", CODE)
def test_replayed_calls_equal_the_code_bitwise(name):
    a, b = A.copy(), B.copy()
    with recording() as calls:
        result = CODE[name](RecordedArray.of(a), RecordedArray.of(b))
    np.testing.assert_array_equal(np.asarray(result), CODE[name](A, B), strict=True)
    a[...], b[...] = RNG.standard_normal(a.shape), RNG.standard_normal(b.shape)
    for _ in range(2):
        for call in calls:
            call()
        np.testing.assert_array_equal(np.asarray(result), CODE[name](a.copy(), b.copy()), strict=True)


@pytest.mark.parametrize(
    "code",
    [
        lambda a: float(a[0, 0]),
        lambda a: 1 if a.max() > 0 else 0,
        lambda a: a.tolist(),
        lambda a: a[0, 0].item(),
        lambda a: [1, 2, 3][a.argmax()],
        lambda a: a[a[:, 0] > 0, 1],
        lambda a: a[a > 0],
        lambda a: np.nonzero(a),
        lambda a: np.flatnonzero(a > 0),
        lambda a: a.compress(a[:, 0] > 0, axis=0),
        lambda a: np.unique(a, return_index=True),
    ],
    ids=["float", "if", "tolist", "item", "index", "mask,column", "mask", "nonzero", "places", "compress", "several"],
)
def test_code_that_reads_array_values_is_refused(code):
    with recording(), pytest.raises(NotRecordableError):
        code(RecordedArray.of(A))


def test_other_calls_are_recorded_with_do_and_run_at_each_replay():
    numbers = iter(range(10))
    out = np.full(1, np.nan)
    with recording() as calls:
        do(lambda: out.fill(next(numbers)))
    assert np.isnan(out[0])
    for number in range(3):
        calls[0]()
        assert out[0] == number


def test_arrays_record_inside_the_block_only():
    assert recorded(A) is A
    with recording() as calls:
        a = recorded(A)
    result = a + 1
    assert type(result) is np.ndarray
    assert calls == []


def test_a_failed_recording_ends():
    with pytest.raises(ZeroDivisionError), recording():
        _ = 1 / 0
    assert recorded(A) is A


def test_python_numbers_are_rounded_to_the_arrays_dtype_as_in_numpy():
    with recording():
        assert (np.asarray(RecordedArray.of(A) * 0.1) == A * 0.1).all()
        assert (RecordedArray.of(A) * 0.1).dtype == np.float32
        assert (RecordedArray.of(np.arange(3)) * 0.5).dtype == np.float64


class Part(Versioned):
    outside_the_step = frozenset(("note",))

    def __init__(self, *inside):
        self.inside = list(inside)
        self.note = ""


@pytest.mark.parametrize("hold", [lambda part: part, lambda part: (part,), lambda part: {"a": part}])
def test_a_change_of_a_part_is_detected_and_an_outside_attribute_is_not(hold):
    leaf = Part()
    whole = Part(Part(hold(leaf)), hold(leaf))
    assert len(parts(whole)) == 3
    before = [part.version for part in parts(whole)]
    whole.note = "trained"
    assert [part.version for part in parts(whole)] == before
    leaf.p = 0.5
    assert [part.version for part in parts(whole)] != before


def test_equal_parts_are_distinct_and_may_reference_each_other():
    first, second = gn.LeakyReLU(0.1), gn.LeakyReLU(0.1)
    assert first == second
    whole = Part(first, Part(second))
    whole.inside[1].inside.append(whole)
    found = parts(whole)
    assert len(found) == 4
    before = [part.version for part in found]
    second.negative_slope = 0.2
    assert [part.version for part in found] != before
