"""Stand-ins for a PyTorch DataLoader and for its tensors."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np


class Tensor:
    """What NumPy and gpunet see of a tensor: it becomes an array on the CPU alone."""

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
    """Batches of arrays in their order, as lists of tensors, and of each epoch what it yielded."""

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
    """The batches of a loader that does not say how many they are."""

    def __init__(self, loader: Loader):
        self.loader = loader

    def __iter__(self) -> Iterator[list[Tensor]]:
        return iter(self.loader)
