"""MNIST-style folders of IDX files (format: Y. LeCun, C. Cortes, C. Burges, "The MNIST database", 1998)."""

from __future__ import annotations

import gzip
import math
import struct
import zlib
from pathlib import Path

import numpy as np

from gpunet.errors import DataError

_UNSIGNED_BYTE = 8  # the type code in the third byte of the magic number
_MOST_UNPACKED = 1032  # bytes that DEFLATE makes of one at most (https://zlib.net/zlib_tech.html)


def read_idx_folder(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the images and the labels of `part` ("train" or "t10k"), or None where the folder has neither file.

    Files are `PART-images-idx3-ubyte` and `PART-labels-idx1-ubyte`, or `PART-images.idx3-ubyte` and so on, raw or
    with `.gz` added.

    Returns:
        Images uint8 (n, rows, columns) and labels uint8 (n,).

    Raises:
        DataError: one of the two files is missing, is no such IDX file, is empty or cut off, or their lengths differ.
    """
    images, labels = _find(folder, f"{part}-images", 3), _find(folder, f"{part}-labels", 1)
    if images is None and labels is None:
        return None
    if images is None or labels is None:
        missing = f"{part}-labels-idx1-ubyte" if labels is None else f"{part}-images-idx3-ubyte"
        raise DataError(f"{folder}: {missing} (or {missing}.gz) is missing; images and labels come together.")
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
            promised = math.prod(shape)
            _check_promise(path, shape, promised)
            content = file.read(promised + 1)  # one byte more tells whether there is more
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: cannot be read, it may be cut off ({error}).") from error
    if len(content) != promised:
        found = "more" if len(content) > promised else str(len(content))
        raise DataError(
            f"{path}: its header promises {promised} values of shape {shape}, it holds {found}; it is cut off or "
            "altered, get the file again."
        )
    return np.frombuffer(content, np.uint8).reshape(shape)


def _check_promise(path: Path, shape: tuple[int, ...], promised: int) -> None:
    """Refuse a shape without values, or with more than a file of that length can hold."""
    if not promised:
        raise DataError(f"{path}: it holds no values, its shape is {shape}.")
    if promised > path.stat().st_size * _MOST_UNPACKED:
        raise DataError(
            f"{path}: its header promises {promised} values of shape {shape}, more than its {path.stat().st_size} "
            "bytes can hold; it is altered, get the file again."
        )
