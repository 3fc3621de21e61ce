"""Files of named arrays: safetensors with a JSON description and a checksum of both.

A file is written to a temporary file in the same folder and then renamed, so a crash, a kill or a full disk (an
`OSError`) leaves the old file intact.
"""

from __future__ import annotations

import errno
import glob
import hashlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import safetensors.numpy
from safetensors import SafetensorError

from gpunet.arguments import shown
from gpunet.errors import ArgumentError, ModelFileError
from gpunet.formats import parse_json, read_as
from gpunet.locks import try_lock

VERSION = 1
YOUNG = 5.0
"""Seconds: a temporary file younger than this may not be locked by its writer yet."""


def write_arrays(path: str | Path, arrays: Mapping[str, np.ndarray], description: Mapping[str, Any]) -> None:
    """Write host arrays and a JSON description to a safetensors file; equal input gives equal bytes.

    Raises:
        ArgumentError: JSON cannot represent a value of the description.
    """
    plain = {name: np.asarray(a, order="C") for name, a in arrays.items()}
    text = encoded(description)
    metadata = {"gpunet": text, "sha256": _checksum(plain, text)}
    write_bytes(path, _in_order(safetensors.numpy.save(plain, metadata)))


def encoded(description: Mapping[str, Any]) -> str:
    """Return the description of a file as JSON; raise `ArgumentError` for a value that JSON cannot represent."""
    return json.dumps({"version": VERSION, **description}, default=_plain)


def read_arrays(path: str | Path, kind: str) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Return the arrays and the description of a file that `write_arrays` wrote.

    Args:
        kind: the expected "kind" of the description.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: the file is truncated, altered, or of another program, version or kind.
    """
    try:
        check_regular(path)
    except OSError as error:
        raise ModelFileError(f"{path}: {error.strerror}; name the file of a {kind}.") from None
    data = Path(path).read_bytes()
    try:
        arrays = safetensors.numpy.load(data)
        header = parse_json(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = read_as(dict[str, str], header.get("__metadata__", {}), "metadata")
    except (SafetensorError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ModelFileError(
            f"{path}: not a valid safetensors file ({error}). It is truncated, altered or of another format; gpunet "
            "never opens pickled models."
        ) from None
    text = metadata.get("gpunet")
    if text is None:
        raise ModelFileError(f"{path}: a safetensors file, but not written by gpunet.")
    if metadata.get("sha256") != _checksum(arrays, text):
        raise ModelFileError(f"{path}: wrong checksum: the file was altered after it was written; use another copy.")
    try:
        description = read_as(dict[str, Any], parse_json(text), "description")
    except ValueError as error:
        raise ModelFileError(f"{path}: {error}.") from None
    version, found = description.get("version"), description.get("kind")
    if version != VERSION:
        raise ModelFileError(f"{path}: format version {shown(version)}; this version of gpunet reads {VERSION}.")
    if found != kind:
        raise ModelFileError(f"{path}: contains a {shown(found)}, not a {kind!r}.")
    return arrays, description


def check_regular(path: str | Path) -> None:
    """Raise `OSError` for a path that exists and is not a regular file: a folder, a pipe, a device."""
    if os.path.exists(path) and not os.path.isfile(path):
        raise OSError(errno.EINVAL, "not a regular file", str(path))


def cache_folder() -> Path:
    """Return gpunet's cache folder, which may not exist yet: `$GPUNET_CACHE`, else `gpunet` in the user's cache."""
    user_cache = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(os.environ.get("GPUNET_CACHE") or Path(user_cache) / "gpunet")


def write_bytes(path: str | Path, data: bytes) -> None:
    """Write a file atomically; follow a symbolic link, and write directly into a pipe or a device."""
    if os.path.exists(path) and not os.path.isfile(path):
        Path(path).write_bytes(data)
        return
    try:
        _replace(Path(os.path.realpath(path)), data)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error  # not the temporary file's name


def _replace(path: Path, data: bytes) -> None:
    """Write a temporary file next to `path` and rename it; remove temporary files that killed processes left."""
    for left in path.parent.glob(f".{glob.escape(path.name)}.*.tmp"):
        with suppress(OSError):  # Windows refuses to remove a file that is open
            if time.time() - left.stat().st_mtime > YOUNG and _is_unlocked(left):
                left.unlink()
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.tmp")
    try:
        with open(temporary, "xb") as file:
            try_lock(file.fileno())
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    if os.name == "posix":  # the rename is durable once the folder is synced; Windows cannot sync a folder
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _is_unlocked(path: Path) -> bool:
    """Return whether no process is writing a temporary file."""
    with open(path, "rb") as file:
        return try_lock(file.fileno())


def _in_order(data: bytes) -> bytes:
    """Return a safetensors file with a sorted header; safetensors writes the metadata in random order."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.dumps(json.loads(data[8:end]), sort_keys=True, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # so that the arrays stay aligned
    return b"".join((len(header).to_bytes(8, "little"), header, memoryview(data)[end:]))


def _plain(value: Any) -> Any:
    """Return a NumPy scalar as a Python number, for JSON."""
    if isinstance(value, np.generic):
        return value.item()
    raise ArgumentError(f"{type(value).__name__} {value!r} cannot be written to a file; give numbers, text and lists.")


def _checksum(arrays: Mapping[str, np.ndarray], text: str) -> str:
    digest = hashlib.sha256(text.encode())
    for name in sorted(arrays):
        a = arrays[name]
        digest.update(f"{name} {a.dtype.str} {a.shape}".encode())
        digest.update(a.data)  # C-contiguous, both when read and when written
    return digest.hexdigest()
