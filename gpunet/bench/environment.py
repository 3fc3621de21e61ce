"""Describe the environment of a measurement: machine, GPU, driver, clocks, libraries, settings, commit."""

from __future__ import annotations

import ctypes
import os
import platform
import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

import gpunet
from gpunet.device import Device

THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "VECLIB_MAXIMUM_THREADS")

CPUINFO = Path("/proc/cpuinfo")

SMI = {
    "driver": "driver_version",
    "clock_sm": "clocks.sm",
    "clock_memory": "clocks.mem",
    "clock_sm_max": "clocks.max.sm",
    "clock_memory_max": "clocks.max.mem",
    "power_limit": "power.limit",
    "temperature": "temperature.gpu",
}
"""Fields of nvidia-smi for a GPU, by their names in the results."""


def environment(device: Device) -> dict[str, Any]:
    """Return the properties of machine and software as JSON; unknown ones are missing or None."""
    commit, dirty = _commit()
    found = {
        "gpunet": gpunet.__version__,
        "commit": commit,
        "dirty": dirty,
        "date": datetime.now(UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _cpu(),
        "cores": os.cpu_count(),
        "threads": {name: os.environ.get(name) for name in THREADS},
        "numpy": np.__version__,
        "blas": blas(),
        "blas_core": blas_core(),
        "device": device.name,
    }
    return found | _gpu(device) if device.name.startswith("cuda") else found


def blas() -> str:
    """Return name and version of NumPy's BLAS."""
    built = np.show_config(mode="dicts").get("Build Dependencies", {}).get("blas", {})
    return f"{built.get('name', 'unknown')} {built.get('version', '')}".strip()


def blas_core() -> str | None:
    """Return the CPU type whose kernels OpenBLAS has chosen; None if NumPy does not bundle OpenBLAS."""
    package = Path(np.__file__).parent
    for library in (*package.parent.glob("numpy.libs/*openblas*"), *package.glob(".dylibs/*openblas*")):
        corename = getattr(ctypes.CDLL(str(library)), "scipy_openblas_get_corename64_", None)
        if corename is not None:
            corename.restype = ctypes.c_char_p
            return str(corename().decode())
    return None


def blas_advice() -> str | None:
    """Return a setting to try if OpenBLAS does not know the CPU and uses kernels for an older one."""
    if blas_core() in ("Haswell", "Zen") and CPUINFO.is_file() and "avx512f" in CPUINFO.read_text(encoding="utf-8"):
        return "without AVX-512, which this CPU has: the environment variable OPENBLAS_CORETYPE=SkylakeX may be faster"
    return None


def nvidia_smi(*fields: str) -> list[list[str]] | str:
    """Return these fields for each GPU, or why nvidia-smi cannot report them."""
    if shutil.which("nvidia-smi") is None:
        return "none found (no nvidia-smi)"
    query = ["nvidia-smi", f"--query-gpu={','.join(fields)}", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False)
    if answer.returncode or not answer.stdout.strip():
        return f"not working {' '.join(answer.stdout.split())}".strip()
    return [line.split(", ") for line in answer.stdout.splitlines()]


def _gpu(device: Device) -> dict[str, Any]:
    cupy = device.xp
    cuda = cupy.cuda
    properties = cuda.runtime.getDeviceProperties(device.index)
    reported = nvidia_smi(*SMI.values())
    smi = reported[device.index] if isinstance(reported, list) and device.index < len(reported) else [None] * len(SMI)
    return {
        "gpu": properties["name"].decode(),
        "multiprocessors": properties["multiProcessorCount"],
        "l2_bytes": properties["l2CacheSize"],
        "memory_bytes": properties["totalGlobalMem"],
        **dict(zip(SMI, smi, strict=True)),
        "cupy": cupy.__version__,
        "cuda_runtime": cuda.runtime.runtimeGetVersion(),
        "cuda_driver": cuda.runtime.driverGetVersion(),
        "nvrtc": ".".join(map(str, cuda.nvrtc.getVersion())),
        "tf32": os.environ.get("CUPY_TF32") == "1",
    }


def _cpu() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    models = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(models, platform.processor() or platform.machine())


def _commit() -> tuple[str | None, bool | None]:
    """Return the commit of gpunet's checkout, and whether files differ from it."""
    checkout = Path(gpunet.__file__).parents[1]
    if not (checkout / ".git").exists() or shutil.which("git") is None:
        return None, None
    git = ["git", "-C", str(checkout)]
    head, status = (
        subprocess.run([*git, *words], capture_output=True, text=True, check=False)
        for words in (["rev-parse", "HEAD"], ["status", "--porcelain"])
    )
    return (None, None) if head.returncode else (head.stdout.strip(), bool(status.stdout.strip()))
