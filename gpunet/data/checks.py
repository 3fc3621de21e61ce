"""The checks at the host's boundary: what a user passes in is made a plain array or refused, before any device sees it.

Every check returns an aligned, C-contiguous array in native byte order, whatever layout it was given. It may share the
caller's memory and never writes it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gpunet.data.frames import column_array, frame_array, frame_columns, is_column, unusable
from gpunet.device import on_device
from gpunet.errors import DataError, DTypeError, ShapeError

INT64, UINT64 = np.dtype(np.int64), np.dtype(np.uint64)


def check_features(X: Any, *, name: str = "X", n_features: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Return the samples `X` as a float array (n, features...).

    Args:
        X: host array, nested list or data frame (n, features...) of real numbers. What float32 holds exactly by its
            dtype (booleans, integers of 8 and 16 bits, smaller floats) becomes float32, all else float64.
        name: what an error calls it.
        n_features: the number of features, or the shape of one sample, that `X` must have.

    Raises:
        DataError: no rows, no features, or a value that is NaN or infinite.
        DTypeError: no host array of real numbers.
        ShapeError: fewer than two dimensions, or another number of features than `n_features`.
    """
    return _floats(check_samples(X, name=name, n_features=n_features))


def check_samples(X: Any, *, name: str = "X", n_features: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Return the samples `X` in their own dtype; arguments and errors as for `check_features`.

    Returns:
        (n, features...), integers, float32 or float64: booleans are uint8, floats of other sizes become one of the two.
    """
    array = _real_array(X, name)
    if array.ndim < 2:
        raise ShapeError(
            f"{name} has shape {array.shape}; expected (samples, features). Reshape your data: "
            f"{name}.reshape(-1, 1) if it is one feature, {name}.reshape(1, -1) if it is one sample."
        )
    if n_features is not None:
        expected = n_features if isinstance(n_features, tuple) else (n_features,)
        if array.shape[1:] != expected:
            raise ShapeError(f"{name} has {_per_sample(array.shape[1:])}; expected {_per_sample(expected)}.")
    return finite_numbers(array, name)


def check_targets(y: Any, name: str = "y") -> np.ndarray:
    """Return the regression targets `y` as a float array (n,) or (n, targets).

    Args:
        y: host array, nested list or data frame of real numbers; dtypes as in `check_features`.
        name: what an error calls it.

    Raises:
        DataError: no targets, or a value that is NaN or infinite.
        DTypeError: no host array of real numbers.
        ShapeError: a single number instead of an array.
    """
    array = _real_array(y, name)
    if array.ndim == 0:
        raise ShapeError(f"{name} is a single number; give an array with one target for each sample.")
    return _finite_floats(array, name)


def check_labels(y: Any, n_classes: int, name: str = "y", positions: tuple[int, ...] = ()) -> np.ndarray:
    """Return the class labels `y` as an int64 array (n, *positions) of values from 0 to `n_classes - 1`.

    Args:
        y: host array or nested list of integers.
        n_classes: how many classes there are.
        name: what an error calls it.
        positions: the shape of a sample's labels; one label by default.

    Raises:
        DataError: no labels, or a label out of range.
        DTypeError: labels that are not integers.
        ShapeError: another shape.
    """
    array = _real_array(y, name)
    if array.dtype.kind == "f":
        raise DTypeError(
            f"{name} holds floats ({array.dtype}); class labels are integers from 0 to {n_classes - 1}. Use "
            f"{name}.astype(int) if they are labels, a regression loss if they are values."
        )
    if not positions:
        check_one_dimension(array, name)
    elif array.shape[1:] != positions:
        expected = f"(samples, {', '.join(map(str, positions))}), a label for each position"
        raise ShapeError(f"{name} has shape {array.shape}; expected {expected}.")
    if not array.size:
        raise DataError(f"{name} is empty; at least one label is needed.")
    outside = (array < 0) | (array >= n_classes)
    if outside.any():
        row, *columns = (int(i) for i in np.unravel_index(np.argmax(outside), outside.shape))
        label, place = array[row, *columns], _place(row, columns)
        raise DataError(f"{name} is {label} at {place}; {n_classes} classes have labels 0 to {n_classes - 1}.")
    return np.require(array, np.int64, ["C", "A"])


def check_indices(X: Any, n: int, name: str = "X") -> np.ndarray:
    """Return the indices `X` as an int64 array (rows, ...) of values from 0 to `n - 1`.

    Raises:
        DataError: no indices, or one out of range.
        DTypeError: indices that are not integers.
        ShapeError: a single number instead of an array.
    """
    array = _real_array(X, name)
    if array.dtype.kind == "f":
        raise DTypeError(
            f"{name} holds floats ({array.dtype}); the model takes indices, integers from 0 to {n - 1}. Use "
            f"{name}.astype(int) if they are whole numbers."
        )
    if array.ndim == 0:
        raise ShapeError(f"{name} is a single number; give an array with one row for each sample.")
    if not array.size:
        raise DataError(f"{name} is empty, its shape is {array.shape}; at least one index is needed.")
    outside = (array < 0) | (array >= n)
    if outside.any():
        row, *columns = (int(i) for i in np.unravel_index(np.argmax(outside), outside.shape))
        raise DataError(f"{name} is {array[row, *columns]} at {_place(row, columns)}; indices lie in 0 to {n - 1}.")
    return np.require(array, np.int64, ["C", "A"])


def check_range(indices: np.ndarray, n: int, name: str) -> None:
    """Refuse integers in host memory that do not lie in 0 to `n - 1`, in one pass: for those that come every step.

    Raises:
        DataError: they don't, or are no integers.
    """
    if indices.dtype.kind not in "iu":
        raise DataError(f"{name} must be integers, got {indices.dtype}.")
    if not indices.size or (indices.dtype == INT64 and np.maximum.reduce(indices.view(UINT64), axis=None) < n):
        return  # a negative index is a huge one there
    if not 0 <= indices.min() <= indices.max() < n:
        raise DataError(f"{name} must lie in 0 .. {n - 1}, got {indices.min()} .. {indices.max()}.")


def check_weights(weight: Any, n: int, name: str = "weight") -> np.ndarray:
    """Return the sample weights as a float array (n,): finite, none negative, not all zero.

    Raises:
        DataError: a weight that is negative, NaN or infinite, or none that counts.
        DTypeError: no host array of real numbers.
        ShapeError: not one weight for each of the `n` samples.
    """
    array = check_row_weights(weight, n, name)
    if not array.any():
        raise DataError(f"{name} is zero for every sample; at least one must count.")
    return array


def check_row_weights(weight: Any, n: int, name: str = "weight") -> np.ndarray:
    """Return the weights of some samples, which may all be zero; else as `check_weights`."""
    array = check_one_dimension(_real_array(weight, name), name)
    if len(array) != n:
        raise ShapeError(f"{name} has {len(array)} entries for {n} samples; give one for each sample.")
    array = _finite_floats(array, name)
    if array.min() < 0:
        row = int(np.argmax(array < 0))
        raise DataError(f"{name} is {array[row]} at row {row}; weights are zero or more.")
    return array


def check_lengths(**arrays: np.ndarray | None) -> None:
    """Check that the named arrays have the same number of rows; `None`s are passed over.

    Raises:
        ShapeError: they differ; the message names each with its length.
    """
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ShapeError(f"lengths differ: {found}; give one row for each sample.")


def as_dtype(floats: np.ndarray, dtype: DTypeLike, name: str) -> np.ndarray:
    """Return checked floats as float32 or float64, or raise `DataError` where one is too large for it."""
    with np.errstate(over="ignore"):
        return _finite_floats(floats.astype(dtype, copy=False), f"{name} as {np.dtype(dtype)}")


def check_one_dimension(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array` where it has one dimension, else raise `ShapeError`."""
    if array.ndim != 1:
        raise ShapeError(
            f"{name} has shape {array.shape}; expected (samples,). A column becomes one by {name}.ravel()."
        )
    return array


def host_array(value: Any, name: str) -> np.ndarray:
    """Return `value` as a NumPy array, in its own dtype and layout; text in objects becomes plain text.

    A data frame must hold real numbers alone; a column of one, numbers or text.

    Raises:
        DataError: masked entries; in a data frame, missing or infinite values.
        DTypeError: an array on another device, a sparse matrix, or a data frame with other columns than real numbers.
        ShapeError: rows that differ in length.
    """
    columns = frame_columns(value)
    if columns is not None:
        return frame_array(value, columns, name)
    if is_column(value):
        return column_array(value, name)
    if on_device(value) or hasattr(value, "__cuda_array_interface__"):
        raise DTypeError(
            f"{name} lives on a GPU; copy it to the host first, with gn.to_host({name}) (a tensor: {name}.cpu()). "
            "Trainer.step takes batches that are on the model's device already."
        )
    if hasattr(value, "toarray"):
        raise DTypeError(f"{name} is a sparse matrix; make it dense first, with {name}.toarray().")
    if np.ma.is_masked(value):
        raise DataError(f"{name} has masked entries; fill them first, with {name}.filled(value).")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name} is no regular array, its rows may differ in length ({error}).") from None
    except (TypeError, RuntimeError) as error:  # tensors of another device or dtype, or with a gradient
        raise DTypeError(f"{name} cannot be read as an array: {error}") from None
    if array.dtype.kind == "O" and not array.ndim:
        do = f"collect it first, with {name}.collect()" if hasattr(value, "collect") else "give an array of numbers"
        raise DTypeError(f"{name} is a {type(value).__name__}; {do}.")
    is_text = array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
    return array.astype(str) if is_text else array


def target_array(y: Any) -> np.ndarray:
    """Return targets as `host_array` does; a data frame of one column is that column."""
    columns = [*(frame_columns(y) or ())]
    return column_array(columns[0][1], "y") if len(columns) == 1 else host_array(y, "y")


def _real_array(value: Any, name: str) -> np.ndarray:
    """Return `value` as a NumPy array of real numbers, in its own dtype and layout."""
    array = host_array(value, name)
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            f"{name} has dtype {array.dtype}; expected real numbers. Drop or encode text and mixed columns first; "
            "complex numbers become real ones by their .real and .imag."
        )
    return array


def finite_numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array` as plain integers, float32 or float64, or raise `DataError` where it is empty or not finite."""
    if not array.size:
        raise DataError(f"{name} is empty, its shape is {array.shape}; at least one sample is needed.")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    dtype = array.dtype.newbyteorder("=") if array.dtype.kind in "iu" else _float_dtype(array)
    numbers = np.require(array, dtype, ["C", "A"])
    if dtype.kind in "iu" or np.isfinite(np.vdot(numbers, numbers)):  # the quickest look at all of them
        return numbers
    finite = np.isfinite(numbers)  # squares may overflow where the numbers themselves are finite
    if not finite.all():
        row, *columns = (int(i) for i in np.unravel_index(np.argmin(finite), finite.shape))
        number, place = numbers[row, *columns], _place(row, columns)
        raise unusable(name, number, place)
    return numbers


def _finite_floats(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array` as plain floats; errors as for `finite_numbers`."""
    return _floats(finite_numbers(array, name))


def _floats(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(_float_dtype(numbers), copy=False)


def _float_dtype(array: np.ndarray) -> np.dtype[Any]:
    """Return float32 where it holds the array's numbers exactly; others may lose the digits in which samples differ."""
    return np.dtype(np.float32 if np.can_cast(array.dtype, np.float32) else np.float64)


def _place(row: int, columns: list[int]) -> str:
    return f"row {row}, column {', '.join(map(str, columns))}" if columns else f"row {row}"


def _per_sample(shape: tuple[int, ...]) -> str:
    return f"{shape[0]} feature(s)" if len(shape) == 1 else f"samples of shape {shape}"
