"""Arrays from npz files: those that are asked for, and no more bytes than their headers promise."""

from __future__ import annotations

import math
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from gpunet.errors import DataError
from gpunet.files import check_regular


def read_npz(path: Path, names: Iterable[str]) -> tuple[dict[str, np.ndarray], list[str]]:
    """Return those of the named arrays that an npz file has, and the names of all that it has.

    Raises:
        DataError: the file is no npz file of plain arrays, is cut off, or an array has another size than it promises.
    """
    try:
        check_regular(path)
        with zipfile.ZipFile(path) as file:
            there = [name.removesuffix(".npy") for name in file.namelist()]
            return {name: _read(file, f"{name}.npy") for name in names if name in there}, sorted(there)
    except Exception as error:  # foreign, cut off and altered files raise almost anything
        raise DataError(f"{path}: no readable npz file of plain arrays; it may be cut off ({error}).") from error


def _read(file: zipfile.ZipFile, member: str) -> np.ndarray:
    with file.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        read_header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
        shape, _, dtype = read_header[version](stream)
        promised, found = math.prod(shape) * dtype.itemsize, file.getinfo(member).file_size - stream.tell()
    if promised != found and not dtype.hasobject:
        raise ValueError(f"{member} promises {promised} bytes, {found} are there")
    with file.open(member) as stream:
        array: np.ndarray = np.lib.format.read_array(stream, allow_pickle=False)
    return array
