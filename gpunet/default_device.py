"""The device of new arrays and parameters, and its selection."""

from __future__ import annotations

import os
from contextvars import ContextVar, Token
from types import TracebackType

from gpunet.device import Device, get_device

_block_device: ContextVar[Device] = ContextVar("gpunet_device")
_defaults: list[use_device] = []  # calls outside a `with`, oldest first; the last one is the process's default


class use_device:
    """Select the device of new arrays and parameters; `spec` and errors as for `get_device`.

    `gn.use_device("cuda")` sets the default of the process; `with gn.use_device("cuda"):` sets it inside the block, for
    this thread or task only. If unset, it is the environment variable `GPUNET_DEVICE`, else "auto".

    Example:
        >>> with gn.use_device("cpu"):
        ...     model = gn.MLP([4, 8, 3])
        >>> model.device.name
        'cpu'
    """

    def __init__(self, spec: str | Device):
        self.device = get_device(spec)
        self._tokens: list[Token[Device]] = []
        _defaults.append(self)

    def __enter__(self) -> Device:
        if self in _defaults:  # used as a `with` block, not as a plain call
            _defaults.remove(self)
        self._tokens.append(_block_device.set(self.device))
        return self.device

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        _block_device.reset(self._tokens.pop())


def current_device() -> Device:
    """Return the device of new arrays and parameters.

    Example:
        >>> with gn.use_device("cpu"):
        ...     gn.current_device().name
        'cpu'
    """
    device = _block_device.get(None)
    if device is not None:
        return device
    if _defaults:
        return _defaults[-1].device
    return get_device(os.environ.get("GPUNET_DEVICE", "auto"))
