"""Read arrays from npz files, only if their sizes match their headers."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gpunet.errors import DataError
from gpunet.files import check_regular


def read_npz(path: Path, names: Iterable[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return those of the named arrays that a file has, and the sorted names of all its arrays.

    Raises:
        DataError: not an npz file of plain arrays, truncated, or an array's size contradicts its header.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as file:
            present = [name.removesuffix(".npy") for name in file.namelist()]
            return {name: _read(file, f"{name}.npy") for name in names if name in present}, sorted(present)
    except Exception as error:  # corrupt files can raise almost anything
        raise DataError(f"{path}: not a readable npz file of plain arrays; it may be truncated ({error}).") from error


def _read(file: zipfile.ZipFile, member: str) -> np.ndarray:
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header[version](stream)
        expected, found = math.prod(shape) * dtype.itemsize, file.getinfo(member).file_size - stream.tell()
    if expected != found and not dtype.hasobject:
        raise ValueError(f"the header of {member} specifies {expected} bytes, the file holds {found}")
    with file.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array
