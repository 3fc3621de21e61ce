import numpy as np
import pytest

from gpunet import simulator
from gpunet.data import check_features, check_labels, check_lengths, check_targets, check_weights
from gpunet.data.checks import host_array
from gpunet.errors import DataError, DTypeError, ShapeError

PLAIN = np.arange(24, dtype=np.float32).reshape(6, 4)


class OnGpu:
    __cuda_array_interface__ = {}  # noqa: RUF012


class Sparse:
    def toarray(self):
        return PLAIN


class Frame:
    """What NumPy sees of a pandas data frame."""

    def __array__(self, dtype=None, copy=None):
        return np.asfortranarray(PLAIN)


def read_only():
    array = PLAIN.copy()
    array.flags.writeable = False
    return array


def unaligned():
    array = np.zeros(PLAIN.nbytes + 1, np.uint8)[1:].view(np.float32).reshape(PLAIN.shape)
    array[...] = PLAIN
    return array


LAYOUTS = {
    "Fortran order": np.asfortranarray(PLAIN),
    "strided": np.repeat(PLAIN, 2, axis=1)[:, ::2],
    "negative stride": PLAIN[::-1, ::-1].copy()[::-1, ::-1],
    "broadcast": np.broadcast_to(PLAIN[:1], (6, 4)),
    "read-only": read_only(),
    "unaligned": unaligned(),
    "big-endian": PLAIN.astype(">f4"),
    "list": PLAIN.astype(int).tolist(),
    "frame": Frame(),
    "masked but whole": np.ma.array(PLAIN),
}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_layout_gives_the_same_contiguous_array_and_is_not_written(layout):
    given = LAYOUTS[layout]
    before = np.array(given)
    out = check_features(given)
    assert type(out) is np.ndarray
    assert out.dtype == (np.float64 if layout == "list" else np.float32)
    assert out.dtype.isnative
    assert out.flags.c_contiguous
    assert out.flags.aligned
    np.testing.assert_array_equal(out, before)
    np.testing.assert_array_equal(np.asarray(given), before)


def test_a_contiguous_array_is_not_copied():
    assert check_features(PLAIN) is PLAIN


@pytest.mark.parametrize(
    ("given", "becomes"),
    [
        ("float64", "float64"),
        (">f8", "float64"),
        ("longdouble", "float64"),
        ("float32", "float32"),
        ("float16", "float32"),
        ("int64", "float64"),
        ("uint64", "float64"),
        ("int32", "float64"),
        ("int16", "float32"),
        ("uint16", "float32"),
        ("uint8", "float32"),
        ("bool", "float32"),
    ],
)
def test_dtypes_that_fit_into_float32_become_float32_and_others_float64(given, becomes):
    array = (PLAIN % 2).astype(given)
    for out in (check_features(array), check_targets(array)):
        assert out.dtype == np.dtype(becomes)
        np.testing.assert_array_equal(out, PLAIN % 2)


@pytest.mark.parametrize("check", [check_features, check_targets, lambda x: check_labels(x, 3)])
@pytest.mark.parametrize(
    ("given", "message"),
    [
        (PLAIN.astype(complex), "complex"),
        (PLAIN.astype(object), "object"),
        (PLAIN.astype(str), "real numbers"),
        (np.zeros((2, 2), "datetime64[s]"), "real numbers"),
        ([[None, 1.0]], "object"),
        (Sparse(), r"\.toarray\(\)"),
        (OnGpu(), r"is on a GPU; .*gn\.to_host\(.*Trainer\.step"),
        (simulator.ones((2, 2)), r"is on a GPU; .*gn\.to_host\(.*Trainer\.step"),
    ],
)
def test_anything_but_a_host_array_of_real_numbers_raises(check, given, message):
    with pytest.raises(DTypeError, match=message):
        check(given)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_the_error_names_row_and_column_of_the_first_non_finite_value(bad):
    array = PLAIN.copy()
    array[2, 3] = array[4, 0] = bad
    with pytest.raises(DataError, match=rf"^inputs is {bad} at row 2, column 3;"):
        check_features(array, name="inputs")
    with pytest.raises(DataError, match=rf"^y is {bad} at row 2;"):
        check_targets(array[:, 3])
    with pytest.raises(DataError, match=r"row 0, column 2, 3"):
        check_features(array.reshape(2, 3, 4))


@pytest.mark.parametrize("large", [np.finfo(np.float32).max, np.finfo(np.float64).max])
def test_finite_numbers_whose_squares_overflow_are_accepted(large):
    X = np.array([[1, large], [-large, 0]], large.dtype)
    assert check_features(X) is X


def test_masked_entries_raise():
    with pytest.raises(DataError, match="masked"):
        check_features(np.ma.masked_greater(PLAIN, 20))


def test_features_with_one_dimension_raise_with_both_ways_to_reshape():
    for array in (PLAIN[0], np.float32(1), [1.0, 2.0]):
        with pytest.raises(ShapeError, match=r"X\.reshape\(-1, 1\).*X\.reshape\(1, -1\)"):
            check_features(array)


def test_ragged_rows_raise():
    with pytest.raises(ShapeError, match="rows may differ in length"):
        check_features([[1.0, 2.0], [3.0]])


@pytest.mark.parametrize("shape", [(0, 4), (4, 0)])
def test_empty_features_raise_with_their_shape(shape):
    with pytest.raises(DataError, match=rf"empty.*\({shape[0]}, {shape[1]}\)"):
        check_features(np.zeros(shape))


def test_a_wrong_number_of_features_raises_naming_both_numbers():
    assert check_features(PLAIN, n_features=4) is PLAIN
    assert check_features(PLAIN.reshape(2, 3, 4), n_features=(3, 4)).shape == (2, 3, 4)
    with pytest.raises(ShapeError, match=r"4 feature.*64 feature"):
        check_features(PLAIN, n_features=64)
    with pytest.raises(ShapeError, match=r"samples of shape \(3, 4\).*12 feature"):
        check_features(PLAIN.reshape(2, 3, 4), n_features=12)


def test_targets_keep_their_shape_and_raise_if_empty_or_scalar():
    assert check_targets(PLAIN).shape == (6, 4)
    assert check_targets([1, 2]).tolist() == [1, 2]
    with pytest.raises(DataError, match="y is empty"):
        check_targets([])
    with pytest.raises(ShapeError, match="single number"):
        check_targets(3.0)


@pytest.mark.parametrize("given", [[0, 2, 1], np.array([0, 2, 1], ">i2"), np.array([1, 2, 0], np.uint8)[[2, 1, 0]]])
def test_integer_labels_of_any_kind_become_native_int64(given):
    out = check_labels(given, 3)
    assert out.dtype == np.int64
    assert out.dtype.isnative
    assert out.tolist() == [0, 2, 1]


def test_boolean_labels_are_the_classes_zero_and_one():
    assert check_labels([True, False], 2).tolist() == [1, 0]


@pytest.mark.parametrize("y", [[0.0, 1.0], [0.0, np.nan]])
def test_float_labels_raise(y):
    with pytest.raises(DTypeError, match=r"y holds floats \(float64\).*y\.astype\(int\)"):
        check_labels(y, 2)


@pytest.mark.parametrize("bad", [-1, 10, np.uint64(2**64 - 1)])
def test_a_label_out_of_range_raises_with_its_row_and_the_range(bad):
    y = np.array([0, 9, bad, 3], np.uint64 if bad > 10 else np.int64)
    with pytest.raises(DataError, match=rf"y is {bad} at row 2; 10 classes have labels 0 to 9"):
        check_labels(y, 10)


def test_labels_that_are_not_one_dimensional_raise():
    with pytest.raises(ShapeError, match=r"\(2, 1\).*y\.ravel\(\)"):
        check_labels([[0], [1]], 2)
    with pytest.raises(DataError, match="labels is empty"):
        check_labels(np.zeros(0, int), 2, "labels")


def test_weights_must_be_finite_not_negative_and_not_all_zero():
    assert check_weights([0, 1, 2], 3).tolist() == [0, 1, 2]
    with pytest.raises(ShapeError, match="3 numbers for 4 samples"):
        check_weights([0, 1, 2], 4)
    with pytest.raises(DataError, match=r"weight is -1\.0 at row 1"):
        check_weights([1, -1], 2)
    with pytest.raises(DataError, match="weight is nan at row 0"):
        check_weights([np.nan, 1], 2)
    with pytest.raises(DataError, match="zero for every sample"):
        check_weights([0, 0], 2)
    with pytest.raises(ShapeError, match=r"\(2, 1\)"):
        check_weights([[1], [1]], 2)


def test_different_lengths_raise_naming_each():
    check_lengths(X=PLAIN, y=PLAIN[:, 0], weight=None)
    with pytest.raises(ShapeError, match="X has 6, y has 5"):
        check_lengths(X=PLAIN, y=PLAIN[1:, 0], weight=None)


def test_objects_that_are_all_text_become_text_and_others_stay_objects():
    text = np.array(["rose", "lily"], object)
    assert host_array(text, "y").dtype.kind == "U"
    assert host_array(text, "y").tolist() == ["rose", "lily"]
    assert host_array(np.array(["rose", None]), "y").dtype == object
