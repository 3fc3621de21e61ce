import gzip
import struct

import numpy as np
import pytest

from gpunet.data import Dataset, digits, load
from gpunet.errors import ArgumentError, DataError, DTypeError, ShapeError

X = np.arange(24, dtype=np.float64).reshape(6, 4)
Y = np.array([5, 7, 5, 7, 7, 5])
IMAGES = np.arange(5 * 2 * 3, dtype=np.uint8).reshape(5, 2, 3)
LABELS = np.array([3, 0, 3, 9, 0], np.uint8)


def idx(array):
    return struct.pack(f">4B{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()


@pytest.fixture
def mnist(tmp_path):
    """Return a function that writes a folder of IDX files."""

    def write(files, suffix="", mark="-"):
        for name, content in files.items():
            path = tmp_path / (name.replace("-idx", f"{mark}idx") + suffix)
            path.write_bytes(gzip.compress(content) if suffix == ".gz" else content)
        return tmp_path

    return write


TRAIN = {"train-images-idx3-ubyte": idx(IMAGES), "train-labels-idx1-ubyte": idx(LABELS)}
TEST = {"t10k-images-idx3-ubyte": idx(IMAGES[:2]), "t10k-labels-idx1-ubyte": idx(LABELS[2:4])}


@pytest.fixture
def npz(tmp_path):
    def write(**arrays):
        path = tmp_path / "data.npz"
        np.savez(path, **arrays)
        return path

    return write


def test_the_embedded_digits_are_the_uci_test_part():
    data = load("digits")
    assert data.X.shape == (1797, 64)
    assert data.X.dtype == np.float32
    assert (data.X.min(), data.X.max(), data.X.sum()) == (0, 16, 561718)
    assert data.y.dtype == np.int64
    assert np.bincount(data.y).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert data.X[0, :8].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]
    assert data.classes == tuple("0123456789")
    assert (data.name, data.schema, data.test) == ("digits", None, None)


def test_take_copies_rows_and_drops_the_test_part():
    data = Dataset(X, Y, ("a", "b"), "letters", test=digits())
    part = data.take([4, 0])
    assert part.y.tolist() == [7, 5]
    assert part.X.tolist() == X[[4, 0]].tolist()
    assert (part.classes, part.name, part.test, len(part)) == (("a", "b"), "letters", None, 2)
    assert not np.shares_memory(data.take(np.arange(6)).X, X)


def test_npz_labels_become_indices_with_their_values_as_names(npz):
    data = load(npz(X=X, y=Y))
    assert data.X.dtype == np.float64
    assert data.y.tolist() == [0, 1, 0, 1, 1, 0]
    assert data.classes == ("5", "7")
    assert (data.name, data.test) == ("data", None)


@pytest.mark.parametrize(
    ("y", "classes"),
    [
        (Y.astype(float), ("5", "7")),
        (np.array(list("abcabc")), ("a", "b", "c")),
        (Y > 5, ("False", "True")),
        (Y / 3, None),
        (np.arange(6), None),
        (X, None),
    ],
)
def test_the_npz_target_decides_the_task(npz, y, classes):
    data = load(npz(X=X, y=y))
    assert data.classes == classes
    assert data.y.shape == y.shape
    assert data.y.dtype == (np.float64 if classes is None else np.int64)


@pytest.mark.parametrize("task", [None, "classification", "regression"])
@pytest.mark.parametrize("y", [Y, Y.astype(float), np.array(list("abcabc")), Y > 5, Y / 3, np.arange(6)], ids=str)
def test_an_npz_target_of_one_column_equals_a_flat_one(npz, y, task):
    def read(y):
        try:
            data = load(npz(X=X, y=y, X_test=X[:2], y_test=y[:2]), task=task)
        except DataError as error:
            return str(error)
        return data.classes, data.y.tolist(), data.test.y.tolist()

    assert read(y[:, None]) == read(y)


def test_an_npz_target_of_one_column_can_index_class_names(npz):
    assert load(npz(X=X, y=Y[:, None])).classes == ("5", "7")
    named = load(npz(X=X, y=Y[:, None] - 5, classes=["zebra", "unused", "ant"]))
    assert (named.classes, named.y.tolist()) == (("zebra", "unused", "ant"), (Y - 5).tolist())


def test_npz_class_names_keep_their_order_and_y_indexes_them(npz):
    path = npz(X=X, y=Y - 5, classes=["zebra", "unused", "ant"], X_test=X[:2], y_test=[2, 1])
    data = load(path)
    assert data.classes == data.test.classes == ("zebra", "unused", "ant")
    assert data.y.tolist() == (Y - 5).tolist()
    assert data.test.y.tolist() == [2, 1]
    assert load(path, task="regression").classes is None


def test_the_npz_test_part_is_encoded_like_the_training_part(npz):
    assert load(npz(X=X, y=Y, X_test=X[:3], y_test=[7.0, 7.0, 5.0])).test.y.tolist() == [1, 1, 0]
    assert load(npz(X=X, y=Y / 3, X_test=X[:3], y_test=[7, 7, 5])).test.y.tolist() == [7, 7, 5]


@pytest.mark.parametrize(("given", "kept"), [("float64", "float64"), ("int64", "float64"), ("uint8", "float32")])
def test_npz_features_keep_their_precision(npz, given, kept):
    assert load(npz(X=X.astype(given), y=Y)).X.dtype == kept


def test_npz_images_keep_their_shape_in_any_byte_order(npz):
    data = load(npz(X=X.reshape(6, 2, 2).astype(">f4"), y=Y.astype(">i2")))
    assert data.X.shape == (6, 2, 2)
    np.testing.assert_array_equal(data.X.reshape(6, 4), X)
    assert data.y.tolist() == [0, 1, 0, 1, 1, 0]


@pytest.mark.parametrize(
    ("arrays", "error", "message"),
    [
        ({"X": X}, DataError, r"data\.npz: no array 'y'; the file holds 'X'"),
        ({"features": X, "y": Y}, DataError, r"no array 'X'; the file holds 'features', 'y'"),
        ({"X": X, "y": Y, "X_test": X}, DataError, "no array 'y_test'"),
        ({"X": X, "y": Y[:5]}, ShapeError, "X has 6, y has 5"),
        ({"X": X, "y": Y, "X_test": X, "y_test": Y[:5]}, ShapeError, "X_test has 6, y_test has 5"),
        ({"X": X, "y": Y, "X_test": X[:, :3], "y_test": Y}, ShapeError, "X_test has 3 feature.*4 feature"),
        (
            {"X": X, "y": Y, "X_test": X[:1], "y_test": [6]},
            DataError,
            "y_test is '6' at row 0; the classes are '5', '7'",
        ),
        ({"X": X, "y": Y, "classes": ["a", "b"]}, DataError, "y is 5 at row 0; 2 classes"),
        ({"X": X, "y": np.full(6, np.nan)}, DataError, "y is nan at row 0"),
        ({"X": np.log(X, where=X > 0, out=X * np.nan), "y": Y}, DataError, r"data\.npz: X is nan at row 0, column 0"),
        ({"X": X * 1j, "y": Y}, DTypeError, "complex"),
        ({"X": X[0], "y": Y[:4]}, ShapeError, "reshape"),
        ({"X": X, "y": np.array([{}] * 6)}, DataError, "plain arrays"),
    ],
)
def test_invalid_npz_arrays_raise_naming_them(npz, arrays, error, message):
    with pytest.raises(error, match=message):
        load(npz(**arrays))


def test_an_invalid_or_truncated_npz_file_raises(npz, tmp_path):
    whole = npz(X=X, y=Y).read_bytes()
    for content in (b"", b"hello", whole[:100], whole[:-30], whole[30:]):
        (tmp_path / "bad.npz").write_bytes(content)
        with pytest.raises(DataError, match=r"bad\.npz: not a readable npz file"):
            load(tmp_path / "bad.npz")
    np.save(tmp_path / "bad.npy", X)
    (tmp_path / "bad.npy").replace(tmp_path / "bad.npz")
    with pytest.raises(DataError, match="not a readable npz file"):
        load(tmp_path / "bad.npz")


def test_a_corrupt_npz_file_raises_or_loads_but_never_crashes(npz, tmp_path):
    whole = np.frombuffer(npz(X=X, y=Y).read_bytes(), np.uint8)
    flips = np.random.default_rng(0).integers(0, whole.size * 8, 300)
    refused = 0
    for flip in flips:
        altered = whole.copy()
        altered[flip // 8] ^= 1 << flip % 8
        (tmp_path / "altered.npz").write_bytes(altered.tobytes())
        try:
            load(tmp_path / "altered.npz")
        except (DataError, ShapeError, DTypeError):
            refused += 1
    assert refused > 100


@pytest.mark.parametrize("suffix", ["", ".gz"])
@pytest.mark.parametrize("mark", ["-", "."])
def test_idx_files_are_read_raw_or_compressed_under_both_names(mnist, suffix, mark):
    data = load(mnist(TRAIN | TEST, suffix, mark))
    np.testing.assert_array_equal(data.X, IMAGES.reshape(5, 6))
    assert data.X.dtype == data.test.X.dtype == np.uint8
    assert data.classes == data.test.classes == ("0", "3", "9")
    assert data.y.tolist() == [1, 0, 1, 2, 0]
    assert data.test.y.tolist() == [1, 2]


def test_a_folder_without_a_test_part_loads_the_training_part(mnist):
    folder = mnist(TRAIN)
    assert load(folder).test is None
    assert load(str(folder)).name == folder.name


@pytest.mark.parametrize(
    ("files", "message"),
    [
        ({}, "no train-images-idx3-ubyte"),
        ({"train-images-idx3-ubyte": idx(IMAGES)}, "train-labels-idx1-ubyte .* is missing"),
        (TRAIN | {"t10k-labels-idx1-ubyte": idx(LABELS)}, "t10k-images-idx3-ubyte .* is missing"),
        (TRAIN | {"train-labels-idx1-ubyte": idx(LABELS[:4])}, "has 5 images but .* has 4 labels"),
        (TRAIN | {"train-images-idx3-ubyte": idx(IMAGES)[:-1]}, r"30 values of shape \(5, 2, 3\), the file holds 29"),
        (TRAIN | {"train-images-idx3-ubyte": idx(IMAGES) + b"1"}, "the file holds more"),
        (TRAIN | {"train-images-idx3-ubyte": idx(IMAGES)[:9]}, "not an IDX file"),
        (TRAIN | {"train-images-idx3-ubyte": b""}, "not an IDX file"),
        (TRAIN | {"train-images-idx3-ubyte": idx(LABELS)}, "not an IDX file of unsigned bytes with 3 dim"),
        (TRAIN | {"train-images-idx3-ubyte": b"\0\0\x0d" + idx(IMAGES)[3:]}, "not an IDX file of unsigned bytes"),
        (TRAIN | {"train-images-idx3-ubyte": idx(IMAGES[:0])}, "holds no values"),
        (TRAIN | TEST | {"t10k-labels-idx1-ubyte": idx(LABELS[:2] + 1)}, "t10k label is '4' at row 0"),
    ],
)
def test_missing_truncated_or_invalid_idx_files_raise_naming_them(mnist, files, message):
    with pytest.raises(DataError, match=message):
        load(mnist(files))


def test_a_truncated_or_uncompressed_gz_file_raises(mnist):
    folder = mnist(TRAIN, ".gz")
    path = folder / "train-images-idx3-ubyte.gz"
    packed = path.read_bytes()
    for content in (packed[:-9], packed[:20], idx(IMAGES)):
        path.write_bytes(content)
        with pytest.raises(DataError, match=r"train-images-idx3-ubyte\.gz: cannot be read"):
            load(folder)


def test_a_missing_or_unknown_source_raises_listing_the_supported_ones(tmp_path):
    with pytest.raises(DataError, match=r"nowhere\.csv: no such file.*'digits' \(embedded\)"):
        load(tmp_path / "nowhere.csv")
    (tmp_path / "table.xlsx").write_bytes(b"PK")
    with pytest.raises(DataError, match=r"unknown file type '\.xlsx'.*\.csv.*\.npz.*IDX"):
        load(tmp_path / "table.xlsx")


def test_a_target_or_task_that_does_not_apply_raises(tmp_path, npz):
    for source in ("digits", npz(X=X, y=Y), tmp_path):
        with pytest.raises(ArgumentError, match="target='kind'"):
            load(source, "kind")
    for source in ("digits", tmp_path):
        with pytest.raises(ArgumentError, match="task='regression'"):
            load(source, task="regression")
    with pytest.raises(ArgumentError, match="use 'classification', 'regression' or None"):
        load(npz(X=X, y=Y), task="clustering")
