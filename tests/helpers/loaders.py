"""Stand-ins for a PyTorch DataLoader and its tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Tensor:
    """The part of a PyTorch tensor that NumPy and gpunet use; it converts to an array only on the CPU."""

    def __init__(self, a: np.ndarray, device: str = "cpu"):
        self._a, self.device, self.shape, self.dtype = a, device, a.shape, f"torch.{a.dtype}"

    def numpy(self) -> np.ndarray:
        if self.device != "cpu":
            raise TypeError(
                f"can't convert {self.device} device type tensor to numpy. Use Tensor.cpu() to copy the ..."
            )
        return self._a

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        return np.asarray(self.numpy(), dtype)

    def __len__(self) -> int:
        return len(self._a)

    @property
    def __cuda_array_interface__(self) -> dict:
        if not self.device.startswith("cuda"):
            raise AttributeError("not on a GPU")
        return {"shape": self.shape, "typestr": self._a.dtype.str, "data": (0, False), "version": 3}


class Loader:
    """Yields batches of arrays in order, as lists of tensors; `epochs` counts the batches of each epoch."""

    def __init__(self, *arrays: np.ndarray, batch_size: int = 32, device: str = "cpu"):
        self.arrays, self.batch_size, self.device = arrays, batch_size, device
        self.epochs: list[int] = []

    def __len__(self) -> int:
        return -(-len(self.arrays[0]) // self.batch_size)

    def __iter__(self) -> Iterator[list[Tensor]]:
        self.epochs.append(0)
        for batch in range(len(self)):
            rows = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
            self.epochs[-1] += 1
            yield [Tensor(a[rows], self.device) for a in self.arrays]


class WithoutLength:
    """The batches of a loader without `__len__`."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def __iter__(self) -> Iterator[list[Tensor]]:
        return iter(self.loader)
