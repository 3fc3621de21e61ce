import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.data import digits, split_indices
from gpunet.errors import ArgumentError, DataError

FRACTIONS = (0.64, 0.16, 0.2)


@settings(deadline=None, derandomize=True)
@given(
    counts=st.lists(st.integers(3, 40), min_size=1, max_size=6),
    shares=st.lists(st.integers(1, 9), min_size=1, max_size=3),
    seed=st.integers(0, 2**64),
)
def test_a_stratified_split_holds_every_sample_once_and_every_class_in_proportion(counts, shares, seed):
    y = np.repeat(np.arange(len(counts)), counts)[::-1]
    fractions = [share / sum(shares) for share in shares]
    parts = split_indices(y, fractions, seed=seed)
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(len(y)))
    for label, count in enumerate(counts):
        sizes = np.array([(y[part] == label).sum() for part in parts])
        assert sizes.min() >= 1
        exact = count * np.array(fractions)
        if exact.min() >= 1:
            assert np.abs(sizes - exact).max() < 1


def test_the_split_of_the_digits_never_changes():
    train, validation, test = split_indices(digits().y, FRACTIONS, seed=0)
    assert (len(train), len(validation), len(test)) == (1150, 287, 360)
    assert test[:6].tolist() == [4, 6, 12, 13, 23, 36]
    assert test.dtype == np.int64


def test_another_seed_gives_another_split_and_the_same_seed_the_same():
    y = digits().y
    first, again, other = (split_indices(y, FRACTIONS, seed=seed)[2] for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert len(np.intersect1d(first, other)) < 0.3 * len(first)


def test_a_sample_count_and_float_targets_give_the_same_unstratified_split():
    parts = split_indices(50, FRACTIONS, seed=3)
    assert [len(part) for part in parts] == [32, 8, 10]
    for targets in (np.linspace(0, 1, 50), np.zeros((50, 2))):
        for part, expected in zip(split_indices(targets, FRACTIONS, seed=3), parts, strict=True):
            np.testing.assert_array_equal(part, expected)


def test_text_labels_stratify():
    y = np.array(["cat", "dog"] * 10)
    parts = split_indices(y, (0.5, 0.5), seed=0)
    assert [np.unique(y[part], return_counts=True)[1].tolist() for part in parts] == [[5, 5], [5, 5]]


def test_a_class_with_fewer_members_than_parts_goes_to_the_larger_parts():
    train, _, test = split_indices([0] * 20 + [1] * 2, FRACTIONS, seed=0)
    assert np.isin([20, 21], np.concatenate([train, test])).all()


@pytest.mark.parametrize(("members", "fractions"), [(2, (0.64, 0.16, 0.2)), (1, (0.2,) * 5), (2, (0.2,) * 5)])
def test_many_small_classes_are_divided_together_in_proportion(members, fractions):
    y = np.repeat(np.arange(100), members)
    parts = split_indices(y, fractions, seed=0)
    np.testing.assert_allclose([len(part) for part in parts], np.multiply(fractions, len(y)), atol=1)
    if len(parts) == 3:
        np.testing.assert_array_equal(np.unique(y[parts[0]]), np.arange(100))  # the training part has every class


@pytest.mark.parametrize("fractions", [(), (0.5, 0.4), (1.2, -0.2), (1.0, 0.0), (np.nan, 1.0)])
def test_invalid_fractions_raise(fractions):
    with pytest.raises(ArgumentError, match=r"fractions=.*add up to 1"):
        split_indices(10, fractions, seed=0)


@pytest.mark.parametrize("seed", [-1, 0.5, None])
def test_an_invalid_seed_raises(seed):
    with pytest.raises(ArgumentError, match="seed="):
        split_indices(10, (0.5, 0.5), seed=seed)


@pytest.mark.parametrize("y", [0, 2, [0, 1, 2, 3], []])
def test_an_empty_part_raises_with_the_sizes(y):
    with pytest.raises(DataError, match=r"divided into parts of .*more samples"):
        split_indices(y, FRACTIONS, seed=0)
