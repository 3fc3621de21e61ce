"""Run a benchmark: draw inputs, check the results, and time the kernels in turns (on the simulated GPU, count)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, replace
from functools import partial

import numpy as np

from gpunet import simulator
from gpunet.bench import gate
from gpunet.bench.case import Call, Case, Prepare
from gpunet.bench.cases import OPS
from gpunet.bench.ceilings import Ceilings, measure_ceilings
from gpunet.bench.child import call_with_limit
from gpunet.bench.environment import environment
from gpunet.bench.memory import check_memory
from gpunet.bench.own import OwnKernel
from gpunet.bench.results import Report, Row
from gpunet.bench.timing import Clock, EventClock, Spread, WallClock, interleave, l2_bytes, ratios, rotate
from gpunet.device import Device, get_device
from gpunet.errors import ArgumentError, KernelError
from gpunet.ops._matmul_plan import KERNEL_NAMES, matmul_plan

DTYPES = ("float32", "float64")
MOST_COPIES = 4096


@dataclass(frozen=True)
class Request:
    """The settings of a benchmark.

    Attributes:
        op: a name in `OPS`.
        sizes: in its `form`; empty for the default sizes.
        kernels: names; empty for all that run on the device.
        own: a user's own kernel, "my.cu:my_kernel", which runs in a child process.
        limit: time limit of the child process for each size, in seconds.
    """

    op: str
    sizes: tuple[str, ...] = ()
    dtype: str = "float32"
    device: str = "auto"
    kernels: tuple[str, ...] = ()
    own: str | None = None
    seconds: float = 1.0
    limit: float = 120.0

    def by_size(self) -> dict[str, list[Case]]:
        """Return the cases of each size.

        An unknown name, or a user's own kernel that serves no case, raises `ArgumentError`.
        """
        if self.op not in OPS:
            raise ArgumentError(f"unknown operation {self.op!r}; use one of {', '.join(OPS)}.")
        if self.dtype not in DTYPES:
            raise ArgumentError(f"unknown dtype {self.dtype!r}; use one of {', '.join(DTYPES)}.")
        device, op = get_device(self.device), OPS[self.op]
        sizes = self.sizes or tuple((op.small if device.name == "sim" else op.sizes).split(","))
        cases = {size: list(op.cases(op.parse(size), np.dtype(self.dtype))) for size in sizes}
        own = self.own_kernel()
        if own and device.name == "cpu":
            raise ArgumentError(f"{self.own}: a kernel runs on --device cuda or sim, not on the CPU.")
        for size, of_size in cases.items():
            names = list(of_size[0].kernels_on(device))
            if unknown := [name for name in self.kernels if name not in names]:
                raise ArgumentError(
                    f"unknown kernel {unknown[0]!r}; {self.op} has {', '.join(names)} on {device.name} in {self.dtype}."
                )
            if own:
                cases[size] = of_size = [case for case in of_size if own.serves(case)]
                if not of_size:
                    raise ArgumentError(
                        f"{self.op} does not support a kernel of your own; use matmul or bias-activation."
                    )
            for case in of_size:
                check_memory(case, device, len(self.kernels or names) + bool(own))
        return cases

    def own_kernel(self) -> OwnKernel | None:
        """Return the user's own kernel; errors as for `OwnKernel`."""
        return OwnKernel(self.own) if self.own else None


def run(request: Request, report_rows: Callable[[list[Row]], None]) -> Report:
    """Measure all cases of a request; errors as for `Request.by_size` before anything is measured.

    Args:
        report_rows: called with the rows of each size as soon as they are measured.
    """
    sizes = request.by_size()
    device = get_device(request.device)
    ceilings = None if device.name == "sim" else measure_ceilings(device, np.dtype(request.dtype), clock_of(device))
    rows: list[Row] = []
    for size in sizes:
        measured = measure(request, size, ceilings) if request.own is None else _in_child(request, size, ceilings)
        report_rows(measured)
        rows += measured
    return Report(environment(device), ceilings, rows)


def _in_child(request: Request, size: str, ceilings: Ceilings | None) -> list[Row]:
    """Measure one size in a separate process, as the user's kernel may crash or hang."""
    try:
        return call_with_limit(request.limit, measure, request, size, ceilings)
    except KernelError as error:
        case, own = request.by_size()[size][0], request.own_kernel()
        assert own is not None
        return [_row(case, own.name, get_device(request.device), fault=str(error))]


def measure(request: Request, size: str, ceilings: Ceilings | None) -> list[Row]:
    """Return the rows of one size of a request."""
    device, own = get_device(request.device), request.own_kernel()
    rows = []
    for case in request.by_size()[size]:
        there = case.kernels_on(device)
        kernels = {name: there[name] for name in there if name in (request.kernels or there)}
        if own:
            kernels[own.name] = partial(own.prepare, case)
        rows += measure_case(case, kernels, device, ceilings, request.seconds)
    return rows


def measure_case(
    case: Case, kernels: Mapping[str, Prepare], device: Device, ceilings: Ceilings | None, seconds: float
) -> list[Row]:
    """Return the rows of one case. Kernels that pass the gate are timed, or counted on the simulated GPU."""
    inputs = case.draw()
    case.check(inputs)
    expected = gate.reference(case, inputs)
    rows, right, errors = [], {}, {}
    for name, prepare in kernels.items():
        row = check(case, name, prepare, device, inputs, expected)
        if row.fault or device.name == "sim":
            rows.append(row)
        else:
            right[name], errors[name] = prepare, row.error
    if right:
        assert ceilings is not None
        measured = timed(case, right, device, inputs, ceilings, seconds)
        rows += (replace(row, error=errors[row.kernel]) for row in measured)
    return rows


def check(
    case: Case,
    name: str,
    prepare: Prepare,
    device: Device,
    inputs: Mapping[str, np.ndarray],
    expected: tuple[np.ndarray, ...],
    arithmetic: str | None = None,
) -> Row:
    """Check the results of one kernel; on the simulated GPU in check mode, and the row holds the counts.

    `arithmetic` names a kernel with the same arithmetic, which sets the tolerance; by default `name`.
    """
    simulated = device.name == "sim"
    with device.activate(), simulator.check_mode() if simulated else nullcontext(), simulator.counting() as launches:
        try:
            call = place(prepare, device, inputs)
            for _ in range(case.calls - 1):
                call()
            launches.clear()
            results = [device.to_host(a) for a in call()]
        except KernelError as error:
            if not simulated:  # after a fault this process can no longer use the GPU
                raise
            return _row(case, name, device, fault=str(error))
    eps = gate.eps_of(case, arithmetic or name)
    fault = gate.fault(results, expected, terms=case.terms, eps=eps)
    counts = sum(launches, simulator.Counts()) if launches else None
    if fault:
        return _row(case, name, device, fault=fault)
    return _row(case, name, device, error=gate.relative_error(results, expected), counts=counts)


def place(prepare: Prepare, device: Device, inputs: Mapping[str, np.ndarray]) -> Call:
    """Return a call of a kernel on its own copy of the inputs on a device."""
    with device.activate():
        return prepare(device.xp, **{name: device.asarray(a) for name, a in inputs.items()})


def timed(
    case: Case,
    kernels: Mapping[str, Prepare],
    device: Device,
    inputs: Mapping[str, np.ndarray],
    ceilings: Ceilings,
    seconds: float,
) -> Iterator[Row]:
    """Yield the rows of correct kernels, timed in turns; on a GPU with a warm and with a cold L2 cache."""
    clock = WallClock(device) if case.eager else clock_of(device)
    for cache, copies in _caches(case, device):
        calls = {
            name: rotate([place(prepare, device, inputs) for _ in range(copies)]) for name, prepare in kernels.items()
        }
        with device.activate():
            times = interleave(calls, clock, seconds)
        library = next(iter(case.kernels))
        for name, of_kernel in times.items():
            spread = Spread.of(of_kernel)
            yield _row(
                case,
                name,
                device,
                cache=cache,
                seconds=spread,
                speedup=ratios(of_kernel, times[library]) if library in times and name != library else None,
                of_ceiling=ceilings.seconds(case.flops, case.nbytes) / spread.median,
            )


def _caches(case: Case, device: Device) -> Iterator[tuple[str, int]]:
    """Yield the states of the L2 cache to measure, each with the number of copies of the operands that produces it."""
    if not device.name.startswith("cuda"):
        yield "", 1
        return
    yield "warm", 1
    copies = max(2, math.ceil(2 * l2_bytes(device) / case.nbytes))
    if not case.eager and copies <= MOST_COPIES:
        yield "cold", copies


def clock_of(device: Device) -> Clock:
    """Return the clock for a device."""
    return EventClock(device) if device.name.startswith("cuda") else WallClock(device)


def _row(case: Case, kernel: str, device: Device, **found: object) -> Row:
    shared = {name: getattr(case, name) for name in ("op", "variant", "size", "flops", "nbytes", "unit")}
    tiles = _tiles(case, kernel, device)
    return Row(**shared, dtype=str(case.dtype), kernel=kernel, tiles=tiles, **found)  # type: ignore[arg-type]


def _tiles(case: Case, kernel: str, device: Device) -> str:
    """Return the tiles and splits with which a matrix product kernel computes a case."""
    products = case.products if kernel in KERNEL_NAMES else ()
    plans = (matmul_plan(*p[:3], layout=p.layout, dtype=p.dtype, kernel=kernel, device=device) for p in products)
    return ", ".join(f"{plan.tile}/{plan.splits}" for plan in plans if plan.tile)
