"""A whole training step."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import pairwise
from types import ModuleType

import numpy as np

from gpunet import ops
from gpunet.bench.case import Call, Case, DType, Operand, Size
from gpunet.bench.cases.matmul import PRODUCTS
from gpunet.default_device import use_device
from gpunet.device import CPU, Array, Device, device_of
from gpunet.models import MLP
from gpunet.training import Trainer

CALLS = 3


def step(size: Size, dtype: DType) -> Iterator[Case]:
    """Yield a training step of a ReLU MLP: forward, cross-entropy, backward, Adam; recorded and replayed.

    With "blas" it runs eagerly, since cuBLAS calls cannot be captured. The loss of the third step is checked, but not
    its gradients: rounding that moves a ReLU's input across zero changes them by more than rounding.
    """
    *widths, batch = size
    pairs = list(pairwise(widths))
    parameters = sum(i * o + o for i, o in pairs)

    def trainer(device: Device, kernel: str | None = None) -> Trainer:
        with use_device(device):
            return Trainer(MLP(widths).to(dtype=dtype), executor="eager" if kernel == "blas" else "auto")

    def gpunet(kernel: str | None, xp: ModuleType, x: Array, labels: Array) -> Call:
        training = trainer(device_of(x), kernel)

        def call() -> tuple[Array, ...]:
            with ops.use_kernel(kernel):
                return (training.step(x, labels),)

        return call

    def reference(x: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, ...]:
        training = trainer(CPU, "blas")  # eager: by NumPy
        training.model.to(dtype=np.float64)
        return ([training.step(x, labels) for _ in range(CALLS)][-1],)

    yield Case(
        op="step",
        variant="Adam",
        size=f"{'-'.join(map(str, widths))}/{batch}",
        dtype=dtype,
        operands={"x": Operand((batch, widths[0])), "labels": Operand((batch,), widths[-1])},
        reference=reference,
        kernels={name: partial(gpunet, name) for name in PRODUCTS},
        flops=sum(6 * batch * i * o for i, o in pairs) - 2 * batch * widths[0] * widths[1],
        nbytes=dtype.itemsize * (7 * parameters + batch * (widths[0] + 4 * sum(widths[1:]))),
        terms=max(size),
        unit="FLOP/s",
        eager=True,
        calls=CALLS,
    )
