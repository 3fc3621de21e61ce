"""CuPy's device object for the single simulated GPU."""

from __future__ import annotations

from gpunet.simulator.stream import CUDARuntimeError, synchronize


class Device:
    """The simulated GPU, device 0."""

    compute_capability = "90"

    def __init__(self, device: int | Device | None = None):
        self.id = int(device or 0)

    def __int__(self) -> int:
        return self.id

    def __enter__(self) -> Device:
        self.use()
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Device) and self.id == other.id

    def __hash__(self) -> int:
        return self.id

    def __repr__(self) -> str:
        return f"<CUDA Device {self.id}>"

    def use(self) -> None:
        """Make this the current device."""
        if self.id != 0:
            raise CUDARuntimeError(101)

    def synchronize(self) -> None:
        """Wait for all work on the device."""
        synchronize()
