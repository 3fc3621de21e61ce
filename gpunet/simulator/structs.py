"""Mirror the structs of `runtime/launch.h` in ctypes."""

from __future__ import annotations

import ctypes


class KernelEntry(ctypes.Structure):
    """A kernel in the table of a library."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("types", ctypes.c_char_p),
        ("names", ctypes.c_char_p),
        ("max_threads", ctypes.c_uint),
        ("call", ctypes.c_void_p),
    )


class BufferArgument(ctypes.Structure):
    """An array that a launch may access."""

    _fields_ = (
        ("name", ctypes.c_char_p),
        ("begin", ctypes.c_void_p),
        ("bytes", ctypes.c_uint64),
        ("initialized", ctypes.c_void_p),
        ("writable", ctypes.c_int),
    )


class Launch(ctypes.Structure):
    """A launch."""

    _fields_ = (
        ("kernel", ctypes.c_void_p),
        ("arguments", ctypes.c_void_p),
        ("grid", ctypes.c_uint * 3),
        ("block", ctypes.c_uint * 3),
        ("static_shared_offset", ctypes.c_uint64),
        ("static_shared_bytes", ctypes.c_uint64),
        ("dynamic_shared_bytes", ctypes.c_uint64),
        ("buffers", ctypes.c_void_p),
        ("buffer_count", ctypes.c_uint64),
        ("cooperative", ctypes.c_int),
        ("shuffled", ctypes.c_int),
        ("seed", ctypes.c_uint64),
    )


class LaunchCounts(ctypes.Structure):
    """The counts of a launch."""

    _fields_ = tuple(
        (name, ctypes.c_uint64)
        for name in ("global_read", "global_written", "shared_read", "shared_written", "barriers", "rounding_atomics")
    )
