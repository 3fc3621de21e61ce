"""`gpunet info`: print versions, the device and the compilers."""

from __future__ import annotations

import platform

import click
import numpy as np

import gpunet
from gpunet.bench import nvrtc
from gpunet.bench.environment import blas, blas_advice, blas_core, nvidia_smi
from gpunet.cli.options import described_device, device_option
from gpunet.device import kernels_path
from gpunet.errors import DeviceError


@click.command()
@device_option
def info(device: str) -> None:
    """Print the versions, the chosen device and the reason, and the kernel compilers of the CPU and of sim."""
    driver, gpus = _driver()
    cupy, nvrtc = _cupy()
    rows = {
        "gpunet": gpunet.__version__,
        "Python": f"{platform.python_version()} on {platform.platform()}",
        "NumPy": np.__version__,
        "BLAS": _blas(),
        "device": described_device(device),
        "driver": driver,
        "GPU": gpus,
        "CuPy": cupy,
        "NVRTC": nvrtc,
        "native": _native_kernels(),
        "sim": _simulated_gpu(),
        "kernels": str(kernels_path()),
    }
    for name, value in rows.items():
        click.echo(f"{name:<8} {value}")


def _native_kernels() -> str:
    """Describe the compiler of the native CPU kernels, or say why none is usable."""
    from gpunet.native import compiler

    if reason := compiler.why_unavailable():
        return f"not usable: {reason}"
    found = compiler.find_compiler()
    return f"usable for C++ kernels on the CPU, with {found.version} ({' '.join(found.command)})"


def _simulated_gpu() -> str:
    """Describe the compiler of the simulated GPU, or say why none is usable."""
    from gpunet.simulator.compiler import find_compiler

    try:
        compiler = find_compiler()
    except DeviceError as error:
        return f"not usable: {str(error).removeprefix('sim: ')}"
    return f"usable as a simulated GPU, with g++ {compiler.version} ({compiler.path})"


def _driver() -> tuple[str, str]:
    """Return the version of the NVIDIA driver, and the GPUs with their memory."""
    gpus = nvidia_smi("driver_version", "name", "memory.total")
    if isinstance(gpus, str):
        return gpus, "none found"
    return gpus[0][0], "; ".join(f"{number}: {', '.join(gpu)}" for number, (_, *gpu) in enumerate(gpus))


def _blas() -> str:
    core, advice = blas_core(), blas_advice()
    return blas() + (f", kernels for {core}" if core else "") + (f" ({advice})" if advice else "")


def _cupy() -> tuple[str, str]:
    """Return the versions of CuPy and NVRTC, or why they cannot be used."""
    try:
        import cupy
    except ImportError:
        return "not installed", _nvrtc_alone()
    except Exception as error:  # importing CuPy reads files and loads shared libraries, which can fail in many ways
        return f"cannot be imported: {error}", _nvrtc_alone()
    try:
        major, minor = cupy.cuda.nvrtc.getVersion()
    except Exception as error:  # NVRTC is loaded on first use; the loader raises various errors
        return cupy.__version__, f"cannot be loaded: {error}"
    return cupy.__version__, f"{major}.{minor}"


def _nvrtc_alone() -> str:
    """Say whether NVRTC, which `gpunet check` uses, is installed without CuPy."""
    return "installed, for `gpunet check`" if nvrtc.is_available() else "not installed; comes with CuPy"
