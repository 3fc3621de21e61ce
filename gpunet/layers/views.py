"""Named views of a layer into the flat arrays of its store."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gpunet.attributes import Strict
from gpunet.device import Array, device_of
from gpunet.errors import ShapeError


class Views(Strict, Mapping[str, Array]):
    """Parameters, gradients or buffers by name, as views into a flat store; assigning to a name copies the values."""

    def __init__(self, arrays: Mapping[str, Array]):
        self._arrays = dict(arrays)

    def __getitem__(self, name: str) -> Array:
        return self._arrays[name]

    def __setitem__(self, name: str, value: Any) -> None:
        view = self[name]
        if np.shape(value) != view.shape:
            raise ShapeError(f"{name}: cannot assign shape {np.shape(value)} to an array of shape {view.shape}.")
        device_of(view).assign(view, value)

    def __iter__(self) -> Iterator[str]:
        return iter(self._arrays)

    def __len__(self) -> int:
        return len(self._arrays)

    def __repr__(self) -> str:
        return repr(self._arrays)

    def rebind(self, arrays: Mapping[str, Array]) -> None:
        """Replace the arrays without copying values; called by the flat store."""
        self._arrays = dict(arrays)
