"""Report a kernel fault on CUDA with the possible kernels and what to do.

Launches are asynchronous, so CuPy reports a fault in a later call that synchronizes, copies or launches. After that
every call fails until the process ends. (On the simulated GPU the launch itself raises, and the process can continue.)
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any

from gpunet.errors import KernelError

STATUSES = frozenset((700, 702, 710, 714, 715, 716, 717, 718, 719))
"""CUDA error codes of kernel faults, from cudaErrorIllegalAddress to cudaErrorLaunchFailure."""

TIMEOUT = 702
"""cudaErrorLaunchTimeout: the display watchdog killed a kernel."""

launch_numbers = itertools.count()


def raise_fault(error: Exception, device: str, launched: Mapping[str, int], launching: str | None = None) -> None:
    """Raise `KernelError` if CuPy's `error` reports a kernel fault; otherwise return.

    Args:
        device: the name of the GPU.
        launched: as `Device.launched`.
        launching: the kernel whose launch raised the error; it is the culprit only with CUDA_LAUNCH_BLOCKING=1.
    """
    if getattr(error, "status", None) not in STATUSES:
        return
    suspects = sorted(launched, key=lambda name: -launched[name])
    if launching and os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
        suspects = [launching]
    last, *before = suspects or ["that gpunet did not launch"]
    others = f", or one of those before it: {', '.join(before)}" if before else ""
    lost = "The CUDA context of this process is lost, with all data on the device: restart the process."
    if error.status == TIMEOUT:  # type: ignore[attr-defined]
        raise KernelError(
            f"{device}: the display watchdog killed the kernel {last}{others}, which ran too long ({error}). "
            f"{lost} Use a GPU without a display, or shorter launches: a smaller batch, gn.Trainer(executor='graph')."
        ) from error
    raise KernelError(
        f"{device}: a fault in the kernel {last}{others} ({error}). {lost} To find the fault, run it on the simulated "
        "GPU, with GPUNET_SIM_CHECK=1 and the device 'sim' (--device sim) or with `gpunet check`, or run it under "
        "compute-sanitizer; CUDA_LAUNCH_BLOCKING=1 shows which launch failed."
    ) from error


class Active:
    """The context manager of `Device.activate`; a class, because a generator has more overhead per step.

    `place` is CuPy's context manager of the GPU; other arguments as for `raise_fault`.
    """

    def __init__(self, place: AbstractContextManager[Any], device: str, launched: Mapping[str, int]):
        self.place, self.device, self.launched = place, device, launched

    def __enter__(self) -> None:
        self.place.__enter__()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.place.__exit__(kind, error, trace)
        if isinstance(error, RuntimeError):
            raise_fault(error, self.device, self.launched)
