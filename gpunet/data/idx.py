"""Read MNIST-style folders of IDX files (format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", 1998)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from gpunet.errors import DataError

_UNSIGNED_BYTE = 8  # the type code in the third byte of the magic number
_MAX_EXPANSION = 1032  # maximum compression ratio of DEFLATE (https://zlib.net/zlib_tech.html)


def read_idx_folder(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return images uint8 (n, rows, columns) and labels uint8 (n,), or None if the folder has neither file.

    The files, raw or .gz, are `PART-images-idx3-ubyte` and `PART-labels-idx1-ubyte` (or `PART-images.idx3-ubyte`, ...);
    `part` is "train" or "t10k".
    """
    images, labels = _find(folder, f"{part}-images", 3), _find(folder, f"{part}-labels", 1)
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        missing = f"{part}-labels-idx1-ubyte" if labels is None else f"{part}-images-idx3-ubyte"
        raise DataError(f"{folder}: {missing} (or {missing}.gz) is missing; a part needs both images and labels.")
    X, y = _read(images, 3), _read(labels, 1)
    if len(X) != len(y):
        raise DataError(f"{images} has {len(X)} images but {labels} has {len(y)} labels; they don't belong together.")
    return X, y


def _find(folder: Path, stem: str, ndim: int) -> Path | None:
    names = [f"{stem}{mark}idx{ndim}-ubyte{suffix}" for suffix in ("", ".gz") for mark in "-."]
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _read(path: Path, ndim: int) -> np.ndarray:
    """Return the unsigned bytes of an IDX file as an array with `ndim` dimensions."""
    start = 4 + 4 * ndim
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            header = file.read(start)
            if len(header) < start or header[:4] != bytes((0, 0, _UNSIGNED_BYTE, ndim)):
                raise DataError(
                    f"{path}: not an IDX file of unsigned bytes with {ndim} dimension(s); get the file again."
                )
            shape = struct.unpack(f">{ndim}I", header[4:])
            size = math.prod(shape)
            _check_size(path, shape, size)
            content = file.read(size + 1)  # one byte more, to detect a file that is too long
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, it may be truncated ({error}).") from error
    if len(content) != size:
        found = "more" if len(content) > size else str(len(content))
        raise DataError(
            f"{path}: the header specifies {size} values of shape {shape}, the file holds {found}; it is truncated or "
            "corrupt, get the file again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _check_size(path: Path, shape: tuple[int, ...], size: int) -> None:
    """Reject a header with no values, or with more than the file can hold, before memory is allocated."""
    if not size:
        raise DataError(f"{path}: the file holds no values, its shape is {shape}.")
    if size > path.stat().st_size * _MAX_EXPANSION:
        raise DataError(
            f"{path}: the header specifies {size} values of shape {shape}, more than the file's {path.stat().st_size} "
            "bytes can hold; it is corrupt, get the file again."
        )
