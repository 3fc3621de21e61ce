"""A kernel's fault on CUDA: told with the kernels that it may be, and with what to do.

A GPU works through its launches later than they are made, so CuPy learns of a fault, such as an access to an illegal
address, in whatever call comes next that waits, copies or launches. From then on every call fails, until the process
ends. (On the simulated GPU a fault is raised by the launch itself, and nothing is lost.)
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Mapping

from gpunet.errors import KernelError

STATUSES = frozenset((700, 702, 710, 714, 715, 716, 717, 718, 719))
"""CUDA's numbers for what a kernel does wrong, from cudaErrorIllegalAddress to cudaErrorLaunchFailure."""

TIMEOUT = 702
"""CUDA's number where the watchdog of a display ended a kernel."""

launch_numbers = itertools.count()


def raise_fault(error: Exception, device: str, launched: Mapping[str, int], launching: str | None = None) -> None:
    """Raise `KernelError` where `error` is CuPy's for a kernel's fault.

    Args:
        error: what CuPy raised, in whatever call.
        device: the name of the GPU.
        launched: what was launched since it was last waited for, with the number of the last launch of each.
        launching: the name of the launch that raised it; that is at fault only where CUDA waits for every launch.
    """
    if getattr(error, "status", None) not in STATUSES:
        return
    suspects = sorted(launched, key=lambda name: -launched[name])
    if launching and os.environ.get("CUDA_LAUNCH_BLOCKING") == "1":
        suspects = [launching]
    last, *before = suspects or ["that gpunet did not launch"]
    others = f", or one of those before it: {', '.join(before)}" if before else ""
    lost = "The CUDA context of this process is lost: save nothing from the device, start the process anew."
    if error.status == TIMEOUT:  # type: ignore[attr-defined]
        raise KernelError(
            f"{device}: the watchdog of the display ended the kernel {last}{others}, which ran too long ({error}). "
            f"{lost} Use a GPU without a display, or make launches shorter: a smaller batch, or gn.Trainer(executor='graph')."
        ) from error
    raise KernelError(
        f"{device}: a fault in the kernel {last}{others} ({error}). {lost} To find the fault, run it on the simulated "
        "GPU, by GPUNET_SIM_CHECK=1 with the device 'sim' (--device sim) or by `gpunet check`, or run it under "
        "compute-sanitizer; CUDA_LAUNCH_BLOCKING=1 shows which launch it is."
    ) from error
