"""The training step as a plan: run as it is written once or twice, recorded on the way, and then replayed.

A step of a small net costs more in the Python around its calls than in its arithmetic. For a batch shape it is a fixed
list of calls over fixed buffers, so it needs to be written down once:

- on the CPU, the NumPy calls with their arrays (`gpunet.recording`), and then the optimizer's;
- on a GPU and on "sim", a captured graph of kernels, the optimizer's among them. What changes from step to step
  (learning rate, number of the step, place in the epoch) lies on the device and moves on there.

Where several ranks share the batch, the sum of their gradients comes between the recorded backward pass and the update;
on a GPU these are two graphs then.

The first step of a batch shape runs as it is written and finds out which buffers there are, the second one is recorded
over one piece of memory that holds them all, the third is the first replay.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Hashable, Sequence
from contextlib import AbstractContextManager, nullcontext, suppress
from functools import partial
from typing import Any, Literal, NoReturn

import numpy as np

from gpunet.cuda import traced_launches
from gpunet.device import Array, aligned, on_device, to_host
from gpunet.errors import OutOfMemoryError, StateError
from gpunet.layers import Layer
from gpunet.losses import Loss
from gpunet.models import Model
from gpunet.ops._matmul_plan import chosen_kernel, use_kernel
from gpunet.ops.activations import CustomActivation
from gpunet.optimizers import Optimizer
from gpunet.optimizers.step import DeviceStep, HostStep
from gpunet.recording import Call, NotRecordableError, RecordedArray, parts, recorded, recording
from gpunet.tape import Tape
from gpunet.training.distributed import Ranks
from gpunet.training.explain import Explanation, call_nodes, launch_node
from gpunet.training.rank_loss import RankLoss

Load = Callable[[Tape], Sequence[Array]]
"""Loads the batch of a step: features, targets and, if there are any, row weights."""

Add = Callable[[Array, Array, Array, Tape], None]
"""Takes note of a step's loss, outputs and targets on the device."""


LAST_CHANGE = operator.attrgetter("version")

MOST_RESIDENT = 16
"""Batches on a GPU that have a graph each; all others are copied to one place."""


class Plan:
    """The training step for one batch shape.

    Args:
        model: what is trained.
        loss: what is minimised.
        optimizer: the update rule, attached to the model.
        seed: of the dropout masks.
        record: True, False, or "auto": recorded unless the step cannot be.
        precision: "float32" or "tf32", as for `Trainer`.
        tell: is told why where the step is not recorded.
        count: rows of the batch, of all ranks together.
        ranks: who shares it.

    Attributes:
        device: where it takes place.
        count: rows of the batch, of all ranks together.
        share: the loss over this rank's rows; None where it has all rows.
        rows: how many it has.
        value: the loss of the last step, (), on the device; the next step overwrites it.
        prediction: its outputs, likewise.
        explanation: what the recorded step consists of; None before it is recorded.
    """

    value: Array
    prediction: Array
    _reduce: Call

    def __init__(
        self,
        model: Model,
        loss: Loss,
        optimizer: Optimizer,
        *,
        seed: int,
        record: bool | Literal["auto"],
        precision: Literal["float32", "tf32"],
        tell: Callable[[str], None],
        count: int,
        ranks: Ranks,
    ):
        self.model, self.loss, self.optimizer, self.record = model, loss, optimizer, record
        self._tell, self.count = tell, count
        self.explanation: Explanation | None = None
        self._store, self.device = model.store, model.device
        self._params = self._store.params
        self._takes_indices = model.index_range is not None
        self.share: RankLoss | None = None
        self.rows, self._first_row = count, 0
        self._update: Call = optimizer.step
        if ranks.size > 1:
            self.loss = self.share = RankLoss(loss, count, ranks.rows(count), self._params)
            self.rows, self._first_row = self.share.rows, self.share.own.start
            self._reduce = ranks.reducer(self._store.grads)
            self._update = self._reduce_and_update
        self._chosen = chosen_kernel()
        self._kernel: str | None = None
        if self._params.dtype == np.float32:
            self._kernel = "mma" if precision == "tf32" else None
        elif record and self._chosen is None:
            self._kernel = "tiled"  # the library serves float64 else, and its calls cannot be captured
        self._step = optimizer.prepare()
        self._launches = self._step.launches if isinstance(self._step, DeviceStep) else None
        self._parts = [*parts(model), *parts(self.loss)]
        self._changes = list(map(LAST_CHANGE, self._parts))
        self.tape = Tape(seed, self._step.progress if isinstance(self._step, DeviceStep) else None)
        self._replays: dict[Hashable, Call] = {}  # by the place of the batch; () for those that are loaded
        self._place: tuple[Hashable, ...] = ()
        self._kept: dict[Hashable, Sequence[Array]] = {}
        self._ran = False
        self._inputs: list[Array] = []

    @property
    def stale(self) -> bool:
        """Whether the model, the loss or the optimizer was changed or moved since."""
        step = self.optimizer.prepare()
        return (
            self._params is not self._store.params
            or self._chosen != chosen_kernel()
            or self._step is not step
            or (isinstance(step, DeviceStep) and self._launches is not step.launches)
            or self._changes != list(map(LAST_CHANGE, self._parts))
        )

    def inputs(self, given: Sequence[Array]) -> Load:
        """Return what loads a batch that is given: as it is, or copied into arrays that are always the same.

        A graph names its arrays, and launching it costs less than a copy. So batches that are on the GPU already, and
        C-contiguous, have a graph each, up to a few, which keeps them there.

        Args:
            given: features, targets and, if there are any, row weights; arrays of any device, alike in every step.
        """
        if self._takes_indices:
            self.model.check_given(given[0])
        if self._ran and self._inputs:
            self.loss.check_given(self.prediction, given[1])  # as the code does in the first step, and not any more
        self._place = ()
        if self._inputs and self.device.xp is np:
            for fixed, a in zip(self._inputs, given, strict=True):
                fixed[...] = a if type(a) is np.ndarray else to_host(a)
            return self._fixed_inputs
        ready = self._ready(given)
        if not self.record:
            return lambda tape: ready
        if on_device(given[0]) and all(a is own and a.flags.c_contiguous for a, own in zip(ready, given, strict=True)):
            place = tuple(a.data.ptr for a in given)  # others take other buffers of the tape
            if place in self._kept or len(self._kept) < MOST_RESIDENT:
                self._kept[place], self._place = given, place
                return lambda tape: given
        if not self._inputs:
            self._inputs = [aligned(a.shape, a.dtype, self.device.xp) for a in ready]
        for fixed, a in zip(self._inputs, ready, strict=True):
            fixed[...] = a
        return self._fixed_inputs

    def _ready(self, given: Sequence[Array]) -> list[Array]:
        """Return a batch that is given as the step takes it: on its device, floats in its dtype."""
        x, target, *weights = given
        dtype, target = self._params.dtype, self.device.asarray(target)
        if target.dtype.kind == "f":
            target = self.device.asarray(target, dtype)
        x = self.device.asarray(x, None if self._takes_indices else dtype)
        return [x, target, *(self.device.asarray(weight, dtype) for weight in weights)]

    def _fixed_inputs(self, tape: Tape) -> Sequence[Array]:
        return [recorded(a) for a in self._inputs]

    def __call__(self, load: Load, add: Add | None = None) -> None:
        """Do a step; `load` and `add` must make the same calls every time.

        Raises:
            OutOfMemoryError: the buffers of the step do not fit; the parameters are what they were.
            StateError: the step was to be recorded and cannot be.
        """
        try:
            if (replay := self._replays.get(self._place)) is not None:
                replay()
            elif self.record and self._ran:
                self._try_to_record(load, add)
            else:
                self._run(load, add)
        except MemoryError as error:
            self._raise_out_of_memory(error)
        except BaseException:
            self._forget()
            raise

    def _forget(self) -> None:
        """Begin anew, with other buffers: those of a step that broke off are not what the next step takes them for."""
        self.tape = Tape(self.tape.seed, self.tape.shared_step)
        self._replays.clear()
        self._kept.clear()
        self._ran, self.explanation = False, None

    def _gradients(self, tape: Tape, load: Load) -> Array:
        """Do the step up to its gradients; return the targets."""
        x, target, *weight = load(tape)
        self.prediction = self.model.forward(x, tape)
        self.value, gradient = self.loss.value_and_grad(self.prediction, target, weight[0] if weight else None, tape)
        self.model.backward(gradient, tape, input_gradient=False)
        return target

    def _work(self, tape: Tape, load: Load, add: Add | None) -> None:
        """Do the step but for its update."""
        target = self._gradients(tape, load)
        if add is not None:
            add(self.value, self.prediction, target, tape)

    def _reduce_and_update(self) -> None:
        """Sum the gradients over the ranks, and update."""
        self._reduce()
        self.optimizer.step()

    def _run(self, load: Load, add: Add | None) -> None:
        """Do the step as it is written."""
        self.tape.reset(self.optimizer.steps, self._first_row)
        if isinstance(self._step, DeviceStep):
            self._step.expect(self.optimizer.steps, self.optimizer.lr)  # dropout looks at the number of the step
        with self._products():
            self._work(self.tape, load, add)
        self._update()
        self._ran = True

    def _try_to_record(self, load: Load, add: Add | None) -> None:
        buffers = self._store.buffers.copy()
        try:
            self._refuse_layers_that_opt_out()
            if isinstance(self._step, DeviceStep):
                self._capture(self._step, load, add)
            else:
                self._record(self._step, load, add)
        except MemoryError:
            raise
        except Exception as error:  # CuPy's, the driver's, and those of a user's layer
            if self.record is True:
                raise StateError(f"the training step cannot be recorded: {error}") from error
            self._give_up(str(error))
            self._store.buffers[...] = buffers  # those that follow the batches have followed this one already
            self._run(load, add)

    def _give_up(self, why: str) -> None:
        self.record = False
        self._forget()
        self._tell(why)

    def _record(self, step: HostStep, load: Load, add: Add | None) -> None:
        """Do the step on the CPU and keep its calls."""
        tape, optimizer, update = self.tape, self.optimizer, self._update
        tape.reset(optimizer.steps, self._first_row)
        arena_bytes = tape.pack(RecordedArray.of)
        with self._store.recorded(), recording() as calls:
            target = self._gradients(tape, load)
            gradient_calls = calls.copy()
            if add is not None:
                add(self.value, self.prediction, target, tape)
        self.value, self.prediction = np.asarray(self.value), np.asarray(self.prediction)
        update()
        self.explanation = Explanation([*call_nodes(calls), *call_nodes(step.calls or [])], arena_bytes)

        def replay() -> None:
            tape.step = optimizer.steps
            for call in calls:
                call()
            update()

        def first_replay() -> None:
            tape.step = optimizer.steps
            grads, buffers = self._store.grads, self._store.buffers
            before = buffers.copy()
            for call in gradient_calls:
                call()
            replayed = self.value, self.prediction, grads.copy(), buffers.copy()
            buffers[...] = before  # to follow this batch once
            again = Tape(tape.seed)
            again.reset(tape.step, self._first_row)
            target = self._gradients(again, load)
            written = self.value, self.prediction, grads, buffers
            if all(np.array_equal(a, b, equal_nan=True) for a, b in zip(replayed, written, strict=True)):
                self.value, self.prediction, *_ = replayed
                self._replays[()] = replay
                for call in calls[len(gradient_calls) :]:
                    call()
            else:
                self._give_up("it gave other numbers when its calls were made again.")
                if add is not None:
                    add(self.value, self.prediction, target, again)
            update()

        # code that is not gpunet's may escape the recording: its first replay is compared with the code
        self._replays[()] = replay if all(map(_is_own, self._parts)) else first_replay

    def _capture(self, step: DeviceStep, load: Load, add: Add | None) -> None:
        """Capture the step on a GPU as a graph, or as one up to the gradients and one of the update; launch that."""
        tape, optimizer, cuda = self.tape, self.optimizer, self.device.xp.cuda
        tape.reset(optimizer.steps, self._first_row)
        # the first graph has its buffers in one piece, all others use them
        arena_bytes = tape.pack() if self.explanation is None else self.explanation.arena_bytes
        stream = cuda.Stream(non_blocking=True)
        work = partial(self._work, tape, load, add)
        with stream, cuda.using_allocator(_refuse), self._products(), traced_launches() as launches:
            if self.share is None:
                calls = [_captured(stream, [work, *step.launches])]
            else:
                calls = [_captured(stream, [work]), self._reduce, _captured(stream, step.launches)]
        self.explanation = Explanation(list(map(launch_node, launches)), arena_bytes)

        def replay() -> None:
            step.expect(optimizer.steps, optimizer.lr)
            for call in calls:
                call()
            step.done += 1
            optimizer.steps += 1

        self._replays[self._place] = replay
        replay()

    def _products(self) -> AbstractContextManager[Any]:
        return nullcontext() if self._kernel is None else use_kernel(self._kernel)

    def _refuse_layers_that_opt_out(self) -> None:
        for part in self._parts:
            if isinstance(part, Layer) and not part.recordable:
                raise NotRecordableError(f"{part!r} says that it is not recordable.")

    def _raise_out_of_memory(self, error: MemoryError) -> NoReturn:
        needed, free = self.tape.nbytes, self.device.free_bytes()
        self._forget()
        raise OutOfMemoryError(
            f"{self.device.name}: the buffers of a training step do not fit: {needed / 2**20:,.1f} MiB were needed so "
            f"far, {free / 2**20:,.1f} MiB are free ({error}). Use a smaller batch_size."
        ) from error


def _is_own(part: object) -> bool:
    """Return whether all code of a layer, loss or activation is gpunet's."""
    return type(part).__module__.startswith("gpunet.") and not isinstance(part, CustomActivation)


def _refuse(nbytes: int) -> NoReturn:
    """Stand for an allocator during a capture: the pool may hand the memory out again before the replay."""
    raise NotRecordableError(f"{nbytes} bytes of memory are taken inside of the step; take them from the tape.")


def _captured(stream: Any, calls: Sequence[Call]) -> Call:
    """Return what launches the graph of some calls, which are captured on the current stream."""
    stream.begin_capture()
    try:
        for call in calls:
            call()
    except BaseException:
        with suppress(RuntimeError):  # ending a capture that failed raises once more
            stream.end_capture()
        raise
    return stream.end_capture().launch  # type: ignore[no-any-return]
