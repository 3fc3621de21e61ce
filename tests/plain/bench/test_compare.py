import numpy as np
import pytest

from gpunet.bench.check import Output, compare


def difference(got, expected, rtol=None, atol=None, written=True):
    got = np.asarray(got)
    return compare("y", Output(got, np.full(got.shape, written)), np.asarray(expected), rtol, atol)


def sums(n):
    """Return sequential float32 sums of n terms and the sums in double precision."""
    x = np.random.default_rng(0).standard_normal((50, n), np.float32)
    return x.cumsum(axis=1)[:, -1], x.sum(axis=1, dtype=np.float64)


@pytest.mark.parametrize("n", [10, 1000, 100_000])
def test_roundings_of_a_sum_of_any_length_agree(n):
    assert difference(*sums(n)) is None


@pytest.mark.parametrize("n", [10, 1000])
def test_a_lost_term_does_not_agree(n):
    rounded, exact = sums(n)
    rounded[7] -= np.float32(0.01)
    assert "the worst: y[7] is " in difference(rounded, exact)


def test_the_worst_mismatch_is_named_with_the_number_of_mismatches():
    expected = np.zeros((3, 4)) + 1
    got = expected.astype(np.float32)
    got[1, 2], got[2, 3] = 1.5, 3
    text = difference(got, expected)
    assert text.startswith("2 of 12 elements wrong (tolerance 7.6e-06 + 7.6e-06 * |expected|); ")
    assert text.endswith("; the worst: y[2, 3] is 3, expected 1.")


def test_the_worst_mismatch_is_rounded_to_the_digits_of_its_dtype():
    assert difference(np.float32([0.1]), [1 / 3]).endswith("y[0] is 0.1, expected 0.3333333.")
    assert difference(np.float16([0.1]), [1 / 3]).endswith("y[0] is 0.09998, expected 0.3333.")


def test_nan_and_infinity_must_be_where_they_are_expected():
    special = np.array([np.nan, np.inf, -np.inf, 1], np.float32)
    assert difference(special, special.astype(np.float64)) is None
    for index, wrong in enumerate([1, -np.inf, np.nan, np.inf]):
        got = special.copy()
        got[index] = wrong
        assert f"the worst: y[{index}] is " in difference(got, special)


def test_integers_must_be_equal():
    big = np.array([2**62, -(2**62) + 1], np.int64)
    assert difference(big, big) is None
    assert "the worst: y[1] is " in difference(big + np.array([0, 1]), big)


def test_the_tolerances_of_the_spec_are_used():
    assert difference(np.float32([1.1]), [1.0], rtol=0.2) is None
    assert difference(np.float32([1.1]), [1.0], atol=0.2) is None
    assert difference(np.float32([1.1]), [1.0], rtol=0.01) is not None
    assert difference(np.int32([11]), [10], atol=1) is None


def test_an_element_that_was_never_written_is_named():
    assert difference(np.float32([[1, 2]]), [[1, 2]], written=[[True, False]]).startswith(
        "y[0, 1] was never written (1"
    )


def test_empty_and_zero_dimensional_arrays_compare():
    assert difference(np.zeros((0, 3), np.float32), np.zeros((0, 3))) is None
    assert difference(np.float32(2), 2.0) is None
    assert "the worst: y[] is 2, expected 3" in difference(np.float32(2), 3.0)
