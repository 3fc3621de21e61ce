"""Find the fastest tile and number of splits on a GPU for each matrix product of a model's training step."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from types import ModuleType
from typing import NamedTuple

from gpunet.arguments import counted
from gpunet.bench import gate
from gpunet.bench.case import Call, Case, DType, Prepare, blank
from gpunet.bench.cases.matmul import matmul_case
from gpunet.bench.measure import check, place
from gpunet.bench.memory import check_memory
from gpunet.bench.timing import Clock, interleave
from gpunet.device import Array, Device
from gpunet.layers import Layer, Linear
from gpunet.ops._matmul_plan import PRECISIONS, TENSOR_CORE_KERNELS, MatmulPlan, default_plan, multiprocessors
from gpunet.ops.matmul_launch import check_tensor_cores, run_plan
from gpunet.ops.tiles import CANDIDATES, Tile
from gpunet.ops.tuned import Product, Winner, most_splits
from gpunet.tape import Tape

SECONDS = 0.25
"""Approximate duration of the rounds of a product."""


class Choice(NamedTuple):
    """A tile and a number of splits for a product."""

    tile: Tile
    splits: int

    def __str__(self) -> str:
        return f"{self.tile}, {counted(self.splits, 'split')}"


@dataclass(frozen=True)
class Result:
    """The measurements of a product.

    Attributes:
        choices: by name; the first is the default without tuning.
        faults: by name, what is wrong with a choice or the library; these are not timed.
        times: seconds per call of each choice and of "blas", round by round; empty without a clock.
    """

    kernel: str
    product: Product
    choices: Mapping[str, Choice]
    faults: Mapping[str, str]
    times: Mapping[str, Sequence[float]]

    @property
    def best(self) -> str | None:
        """The name of the fastest choice."""
        timed = [name for name in self.choices if name in self.times]
        return min(timed, key=lambda name: statistics.median(self.times[name]), default=None)

    @property
    def winner(self) -> Winner | None:
        """The fastest choice, with today's date."""
        return Winner(*self.choices[self.best], datetime.now(UTC).date().isoformat()) if self.best else None


def linear_sizes(model: Layer) -> list[tuple[int, int]]:
    """Return the inputs and outputs of a model's linear layers, in order."""
    leaves = model.leaves().values()
    return [(leaf.in_features, leaf.out_features) for leaf in leaves if isinstance(leaf, Linear)]


def step_products(sizes: Iterable[tuple[int, int]], batch: int, dtype: DType) -> list[Product]:
    """Return the distinct products of a training step: x·W, dz·Wᵀ (not for the first layer) and xᵀ·dz.

    Args:
        sizes: from `linear_sizes`.
        batch: rows of x.
    """
    found = []
    for position, (n_in, n_out) in enumerate(sizes):
        found.append(Product.of(batch, n_out, n_in, "NN", dtype))
        if position:
            found.append(Product.of(batch, n_in, n_out, "NT", dtype))
        found.append(Product.of(n_in, n_out, batch, "TN", dtype))
    return list(dict.fromkeys(found))


def choices(product: Product, processors: int, kernel: str = "tiled") -> list[Choice]:
    """Return the choices to try on a GPU with `processors` SMs, the default first.

    Excluded are tiles that lie at least half outside the product, and splits beyond two blocks per SM.
    """
    default = default_plan(kernel, product, 1, processors)
    assert default.tile is not None
    found = [Choice(default.tile, default.splits)]
    for tile in CANDIDATES[kernel, product.dtype]:
        if tile.bm >= 2 * max(product.m, 16) or tile.bn >= 2 * max(product.n, 16):
            continue
        blocks = tile.blocks(product.m, product.n)
        most = min(most_splits(tile, product.k), max(1, 2 * processors // blocks))
        numbers = [2**power for power in range(most.bit_length())]
        found += [Choice(tile, splits) for splits in (*numbers, processors // blocks) if 1 <= splits <= most]
    return list(dict.fromkeys(found))


def tune(
    products: Sequence[Product],
    device: Device,
    clock: Clock | None,
    seconds: float = SECONDS,
    precision: str = "float32",
) -> Iterator[Result]:
    """Yield the result of each product. Choices that pass the gate are timed in turns, with a warm L2 cache.

    Args:
        clock: None for a device without meaningful times.
        precision: one of `PRECISIONS`, for float32 products; float64 products have only "float32".

    Raises:
        ArgumentError: the products exceed the memory; raised before anything is run, like `DeviceError`.
        DeviceError: the GPU lacks the tensor cores of this precision.
        KernelError: a fault after which the GPU cannot be used.
    """
    kernel, processors = PRECISIONS[precision], multiprocessors(device)
    if kernel in TENSOR_CORE_KERNELS:
        check_tensor_cores(device, kernel)
    tried = {product: {str(c): c for c in choices(product, processors, kernel)} for product in products}
    cases = {product: matmul_case(product.layout, product[:3], product.dtype) for product in products}
    for product, case in cases.items():
        check_memory(case, device, len(tried[product]) + 1)
    return (
        Result(
            kernel, product, tried[product], *_measure(case, kernel, product, tried[product], device, clock, seconds)
        )
        for product, case in cases.items()
    )


def _measure(
    case: Case,
    kernel: str,
    product: Product,
    tried: Mapping[str, Choice],
    device: Device,
    clock: Clock | None,
    seconds: float,
) -> tuple[dict[str, str], dict[str, list[float]]]:
    """Return the faults of choices and library, and the times of the correct ones."""
    kernels: dict[str, Prepare] = {"blas": case.kernels["blas"]}
    kernels |= {name: partial(prepare, kernel, product, choice) for name, choice in tried.items()}
    inputs = case.draw()
    case.check(inputs)
    expected = gate.reference(case, inputs)
    faults = {
        name: check(case, name, call, device, inputs, expected, kernel if name in tried else name).fault
        for name, call in kernels.items()
    }
    times = {}
    if clock is not None:
        calls = {name: place(prepare, device, inputs) for name, prepare in kernels.items() if not faults[name]}
        with device.activate():
            times = interleave(calls, clock, seconds)
    return {name: fault for name, fault in faults.items() if fault}, times


def prepare(kernel: str, product: Product, choice: Choice, xp: ModuleType, a: Array, b: Array) -> Call:
    """Bind a choice to the operands; scratch memory is allocated once, as in a training step."""
    left, right = (x.T if letter == "T" else x for x, letter in zip((a, b), product.layout, strict=True))
    c, tape = blank(xp, (product.m, product.n), product.dtype), Tape()
    plan = MatmulPlan(kernel, *choice, "tried")

    def call() -> tuple[Array, ...]:
        tape.reset()
        run_plan(plan, left, right, c, tape=tape, xp=xp)
        return (c,)

    return call
