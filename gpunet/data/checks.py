"""Check user input and convert it to NumPy arrays, by the conventions in the package's docstring."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import DTypeLike

from gpunet.arguments import counted
from gpunet.data.frames import column_array, frame_array, frame_columns, is_column, unusable
from gpunet.device import on_device
from gpunet.errors import DataError, DTypeError, ShapeError


def check_features(X: Any, *, name: str = "X", n_features: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Return the samples `X` (n, features...) as floats; raise by the package's conventions.

    Args:
        X: real numbers with at least two dimensions.
        n_features: the required number of features, or shape of one sample.

    Example:
        >>> gn.data.check_features([[1, 2], [3, 4]])
        array([[1., 2.],
               [3., 4.]])
    """
    return _floats(check_samples(X, name=name, n_features=n_features))


def check_samples(X: Any, *, name: str = "X", n_features: int | tuple[int, ...] | None = None) -> np.ndarray:
    """Check samples like `check_features`, but keep integers and return booleans as uint8."""
    array = real_array(X, name)
    if array.ndim < 2:
        raise ShapeError(
            f"{name} has shape {array.shape}; expected (samples, features). Reshape it: "
            f"{name}.reshape(-1, 1) if it is one feature, {name}.reshape(1, -1) if it is one sample."
        )
    if n_features is not None:
        expected = n_features if isinstance(n_features, tuple) else (n_features,)
        if array.shape[1:] != expected:
            raise ShapeError(f"{name} has {_per_sample(array.shape[1:])}; expected {_per_sample(expected)}.")
    return finite_numbers(array, name)


def check_targets(y: Any, name: str = "y") -> np.ndarray:
    """Return regression targets (n,) or (n, targets) as floats; raise by the package's conventions.

    Example:
        >>> gn.data.check_targets([1.5, 2.5])
        array([1.5, 2.5])
    """
    array = real_array(y, name)
    if array.ndim == 0:
        raise ShapeError(f"{name} is a single number; pass an array with one target for each sample.")
    return _finite_floats(array, name)


def check_weights(weight: Any, n: int, name: str = "weight") -> np.ndarray:
    """Return sample weights (n,) as floats; raise by the package's conventions.

    They must be finite, not negative and not all zero, with a finite sum.

    Example:
        >>> gn.data.check_weights([1, 0, 2], n=3)
        array([1., 0., 2.])
        >>> gn.data.check_weights([1, -1, 2], n=3)
        Traceback (most recent call last):
            ...
        gpunet.errors.DataError: weight is -1.0 at row 1; weights must not be negative.
    """
    array = check_row_weights(weight, n, name)
    if not array.any():
        raise DataError(f"{name} is zero for every sample; at least one must be positive.")
    with np.errstate(over="ignore"):
        if not np.isfinite(array.sum(dtype=np.float64)):
            raise DataError(f"{name}: the sum of the weights overflows; only their ratios matter, so scale them.")
    return array


def check_row_weights(weight: Any, n: int, name: str = "weight") -> np.ndarray:
    """Check sample weights like `check_weights`, but allow all of a batch to be zero."""
    array = check_one_dimension(real_array(weight, name), name)
    if len(array) != n:
        raise ShapeError(
            f"{name} has {counted(len(array), 'number')} for {counted(n, 'sample')}; pass one for each sample."
        )
    array = _finite_floats(array, name)
    if array.min() < 0:
        number, place = first_element(array, array < 0)
        raise DataError(f"{name} is {number} at {place}; weights must not be negative.")
    return array


def check_lengths(**arrays: np.ndarray | None) -> None:
    """Raise `ShapeError` unless the named arrays have the same number of rows; None is ignored.

    Example:
        >>> gn.data.check_lengths(X=np.zeros((3, 2)), y=np.zeros(2))
        Traceback (most recent call last):
            ...
        gpunet.errors.ShapeError: lengths differ: X has 3, y has 2; pass one row for each sample.
    """
    lengths = {name: len(array) for name, array in arrays.items() if array is not None}
    if len(set(lengths.values())) > 1:
        found = ", ".join(f"{name} has {length}" for name, length in lengths.items())
        raise ShapeError(f"lengths differ: {found}; pass one row for each sample.")


def as_dtype(floats: np.ndarray, dtype: DTypeLike, name: str) -> np.ndarray:
    """Convert checked floats to another float dtype; raise `DataError` if a value overflows."""
    with np.errstate(over="ignore"):
        return _finite_floats(floats.astype(dtype, copy=False), f"{name} as {np.dtype(dtype)}")


def check_one_dimension(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array`; raise `ShapeError` unless it has one dimension."""
    if array.ndim != 1:
        raise ShapeError(
            f"{name} has shape {array.shape}; expected (samples,). Flatten a single column with {name}.ravel()."
        )
    return array


def host_array(value: Any, name: str) -> np.ndarray:
    """Return `value` as a NumPy array in its own dtype and layout; an object array of text gets a text dtype.

    A data frame must hold only real numbers; a single column may also hold text. Masked entries, and missing or
    infinite values of a data frame, raise `DataError`.
    """
    columns = frame_columns(value)
    if columns is not None:
        return frame_array(value, columns, name)
    if is_column(value):
        return column_array(value, name)
    if on_device(value) or hasattr(value, "__cuda_array_interface__"):
        raise DTypeError(
            f"{name} is on a GPU; copy it to the host first with gn.to_host({name}), a PyTorch tensor with "
            f"{name}.cpu(). Only Trainer.step accepts batches on the model's device."
        )
    if hasattr(value, "toarray"):
        raise DTypeError(f"{name} is a sparse matrix; make it dense first, with {name}.toarray().")
    if np.ma.is_masked(value):
        raise DataError(f"{name} has masked entries; fill them first, with {name}.filled(value).")
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise ShapeError(f"{name} is not a regular array; its rows may differ in length ({error}).") from None
    except (TypeError, RuntimeError) as error:  # PyTorch tensors on a GPU, of a dtype NumPy lacks, or with a gradient
        raise DTypeError(f"{name} cannot be read as an array: {error}") from None
    if array.dtype.kind == "O" and not array.ndim:
        advice = f"collect it first, with {name}.collect()" if hasattr(value, "collect") else "pass an array of numbers"
        raise DTypeError(f"{name} is a {type(value).__name__}; {advice}.")
    is_text = array.dtype.kind == "O" and all(isinstance(item, str) for item in array.flat)
    return array.astype(str) if is_text else array


def target_array(y: Any) -> np.ndarray:
    """Convert targets like `host_array`; a data frame with one column gives (n,), and may hold text."""
    columns = [*(frame_columns(y) or ())]
    return column_array(columns[0][1], "y") if len(columns) == 1 else host_array(y, "y")


def real_array(value: Any, name: str) -> np.ndarray:
    """Convert real numbers like `host_array`; raise `DTypeError` for other dtypes."""
    array = host_array(value, name)
    if array.dtype.kind not in "biuf":
        raise DTypeError(
            f"{name} has dtype {array.dtype}; expected real numbers. Drop or encode text and mixed columns first; "
            "split complex numbers into .real and .imag."
        )
    return array


def finite_numbers(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array` as integers, float32 or float64; raise `DataError` if it is empty or not finite."""
    if not array.size:
        raise DataError(f"{name} is empty, its shape is {array.shape}; at least one sample is needed.")
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    dtype = array.dtype.newbyteorder("=") if array.dtype.kind in "iu" else _float_dtype(array)
    numbers = np.require(array, dtype, ["C", "A"])
    if dtype.kind in "iu" or np.isfinite(np.vdot(numbers, numbers)):  # the fastest check of all
        return numbers
    finite = np.isfinite(numbers)  # squares can overflow although the numbers are finite
    if not finite.all():
        raise unusable(name, *first_element(numbers, ~finite))
    return numbers


def _finite_floats(array: np.ndarray, name: str) -> np.ndarray:
    """Return `array` as floats; errors as for `finite_numbers`."""
    return _floats(finite_numbers(array, name))


def _floats(numbers: np.ndarray) -> np.ndarray:
    return numbers.astype(_float_dtype(numbers), copy=False)


def _float_dtype(array: np.ndarray) -> np.dtype[Any]:
    """Return float32 if the array's dtype fits into it exactly, else float64, so that close samples stay distinct."""
    return np.dtype(np.float32 if np.can_cast(array.dtype, np.float32) else np.float64)


def first_element(array: np.ndarray, mask: np.ndarray) -> tuple[Any, str]:
    """Return the first element that `mask` selects, and its place for an error message."""
    row, *columns = (int(i) for i in np.unravel_index(np.argmax(mask), mask.shape))
    place = f"row {row}, column {', '.join(map(str, columns))}" if columns else f"row {row}"
    return array[row, *columns], place


def _per_sample(shape: tuple[int, ...]) -> str:
    return f"{counted(shape[0], 'feature')}" if len(shape) == 1 else f"samples of shape {shape}"
