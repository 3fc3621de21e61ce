"""The executor of a small MLP on a GPU: many whole steps in one cooperative launch (`kernels/mlp_train.cu`)."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np

from gpunet.cuda import CTYPES, Kernel
from gpunet.losses import CrossEntropyLoss, MSELoss
from gpunet.ops._matmul_plan import chosen_kernel, multiprocessors
from gpunet.optimizers import SGD, Adam, AdamW
from gpunet.recording import NotRecordableError
from gpunet.training.explain import Explanation, Node
from gpunet.training.step.mlp import Net

KERNEL = Kernel("mlp_train.cu", "mlp_train")

THREADS = 256
LAYERS = range(2, 7)
MOST_OUTPUTS = 256
MOST_HIDDEN = 5_300
"""Features of the last hidden layer, two rows of which lie in shared memory."""

MOST_FLOPS = 4e9
"""FLOPs of a step beyond which its products fill a GPU and the graph, with larger tiles, is as fast."""

LONGEST_LAUNCH, SLOWEST_STEP, SLOWEST_FLOPS = 0.05, 20e-6, 1e12
"""Seconds of a launch; seconds and FLOP/s of a step on a slow GPU, by which the steps of a launch are limited."""

BARRIER_WORDS = 2
"""Of `kernels/grid_barrier.cuh`."""

RULE_SIZE = 8
"""Numbers that a rule of `kernels/update_rules.cuh` has at most, as the kernel asserts."""


def refusal(step: Any) -> str | None:
    """Return why the persistent kernel cannot run a step; None: it can."""
    return next(_refusals(step), None)


def _refusals(step: Any) -> Iterator[str]:
    if step.store.params.dtype != np.float32:
        yield f"it computes in float32, and the model's dtype is {step.store.params.dtype}"
    if step.reduce is not None:
        yield "several ranks train together"
    if len(step.source.parts) > 1:
        yield "the gradients of several batches are summed for an update"
    if step.store.decay is not None:
        yield "a moving average of the weights is kept"
    if chosen_kernel() is not None or step.precision != "float32":
        yield "a kernel or a precision was chosen for the matrix products"
    if not step.device.xp.cuda.runtime.getDeviceProperties(step.device.index).get("cooperativeLaunch", 1):
        yield f"{step.device.name} has no cooperative launches"
    if type(step.optimizer) not in (SGD, Adam, AdamW):
        yield f"it runs SGD, Adam and AdamW, not {type(step.optimizer).__name__}"
    if step.optimizer.clip_norm is not None:
        yield "clip_norm needs the norm of all gradients before the first update"
    if step.optimizer.groups:
        yield "parameter groups have settings of their own"
    if any(not layer.trainable for layer in step.model.leaves().values()):
        yield "some layers are frozen"
    if (net := Net.of(step.model)) is None:
        yield "the model is no stack of Linear layers with gpunet's activations, with Dropout between them or not"
        return
    if net.layers not in LAYERS:
        yield f"it runs {LAYERS[0]} to {LAYERS[-1]} layers, and the model has {net.layers}"
    if net.widths[-1] > MOST_OUTPUTS or net.widths[-2] > MOST_HIDDEN:
        yield f"it holds {MOST_OUTPUTS} outputs and {MOST_HIDDEN:,} features of the last hidden layer at most"
    if net.flops(step.count) > MOST_FLOPS:
        yield "the net is large: its products fill the GPU as kernels of their own"
    yield from _refusals_of_data(step, net)


def _refusals_of_data(step: Any, net: Net) -> Iterator[str]:
    (row, _), (target, dtype), *_ = step.source.kinds
    if row != net.widths[:1]:
        yield f"a row of features has the shape {row}"
    if type(step.loss) is CrossEntropyLoss and (target != () or dtype.kind not in "iu"):
        yield "it computes cross-entropy of class labels alone"
    elif type(step.loss) is MSELoss and target != net.widths[-1:]:
        yield f"a row of targets has the shape {target}"
    elif type(step.loss) not in (CrossEntropyLoss, MSELoss):
        yield f"it computes CrossEntropyLoss and MSELoss, not {type(step.loss).__name__}"


class PersistentExecutor:
    """Runs many steps in one launch of a kernel that gathers, multiplies, and updates the parameters itself.

    Args:
        step: the step.

    Attributes:
        place: which batch the next run reads, as for a `GraphExecutor`.
        blocks: of a launch; all of them are resident.
        memory: what a launch needs in addition to the model, by the kernel's parameters.
    """

    name = "persistent"

    def __init__(self, step: Any):
        self.step = step
        self.place: Hashable = ()
        self._launches: dict[tuple[Hashable, int], Callable[[], None]] = {}

    def record(self) -> None:
        """Compile the kernel and launch it for no step, which shows that all of its blocks can be resident."""
        step, xp, rows = self.step, self.step.device.xp, self.step.count
        if reason := refusal(step):
            raise NotRecordableError(reason)
        net = Net.of(step.model)
        assert net is not None
        self.net = net
        self.blocks = min(multiprocessors(step.device), net.most_blocks(rows))
        self._most_steps = max(1, int(LONGEST_LAUNCH / (SLOWEST_STEP + net.flops(rows) / SLOWEST_FLOPS)))
        params, slots = step.store.params, list(step.store.slots.values())
        regression = type(step.loss) is MSELoss
        self._options = net.options(step.store.segments, params.size) | {
            "RULE": "Sgd" if type(step.optimizer) is SGD else "Adam",
            "SLOTS": len(slots),
            "REGRESSION": int(regression),
        }
        with step.device.activate():
            step.value, step.prediction = xp.empty((), params.dtype), xp.empty((rows, net.widths[-1]), params.dtype)
            self.memory = {  # no variable holds a part of it, which an exception would keep alive
                "settings": step.device.asarray(np.array(step.optimizer.kernel_settings()), params.dtype),
                "other": xp.zeros((1 + len(slots)) * params.size, params.dtype),  # in the gaps between parameters, too
                "scratch": xp.empty(-(-rows // 4) * 4 * net.scratch_rows(rows, regression), params.dtype),
                "integers": xp.empty(3 * rows, np.int32),
                "rules": xp.empty(RULE_SIZE * self._most_steps, params.dtype),
                "arrived": xp.zeros(BARRIER_WORDS, np.uint64),
            }
        self._launch(0)()

    def run(self, steps: int) -> None:
        """Launch the kernel, for so many steps at a time that a launch takes some 50 ms at most."""
        optimizer = self.step.optimizer
        while steps:
            size = min(steps, self._most_steps)
            optimizer.prepare().progress.look_ahead(size)
            self._launch(size)()
            optimizer.counter.advance(size)
            steps -= size

    def _launch(self, steps: int) -> Callable[[], None]:
        """Return the launch that runs so many steps on the batches at `place`."""
        key = self.place, steps
        if key not in self._launches:
            self._launches[key] = self._prepare(steps)
        return self._launches[key]

    def _prepare(self, steps: int) -> Callable[[], None]:
        step, net, memory = self.step, self.net, self.memory
        (x, target, *weights), scaling, order, place, totals = step.source.rows()
        loss, params, progress = step.loss, step.store.params, step.optimizer.prepare().progress
        slots = [*step.store.slots.values(), None, None][:2]
        labels, targets = (None, target) if type(loss) is MSELoss else (target, None)
        class_weight = loss.device_weight(params) if targets is None else None
        smoothing = loss.label_smoothing if targets is None else 0.0
        total = len(x) if order is None else len(order)
        widths, flops = net.widths, net.flops(step.count)
        return KERNEL.prepare(
            (self.blocks,),
            (THREADS,),
            *(x, *scaling, labels, targets, weights[0] if weights else None, class_weight, order, place),
            *(progress.rates[0], progress.words, memory["settings"], params, *slots, memory["other"], step.store.grads),
            *(memory["scratch"], memory["integers"], memory["rules"], totals),
            *(step.value, step.prediction, memory["arrived"]),
            *(len(x), total, widths[0], widths[-1], params.size, 1 + len(step.store.slots), progress.rates.shape[1]),
            *(memory["scratch"].size, memory["rules"].size, step.count, net.splits(step.count), steps, step.seed),
            *(smoothing, step.optimizer.clip_value or 0.0, flops),
            options={**self._options, "SOURCE": CTYPES[x.dtype]},
            cooperative=True,
        )

    def describe(self) -> Explanation:
        """Return the one node that there is."""
        step, net = self.step, self.net
        parameters = (1 + len(step.store.slots)) * step.store.params.nbytes
        batch = step.count * net.widths[0] * step.store.params.itemsize
        choice = f"grid {self.blocks}, block {THREADS}, {net.splits(step.count)} splits"
        shapes = tuple(linear.params["weight"].shape for linear in net.linears)
        node = Node(KERNEL.name, shapes, choice, 2 * parameters + 2 * batch, net.flops(step.count))
        nbytes = sum(a.nbytes for a in self.memory.values())
        summary = f"persistent: a kernel that runs up to {self._most_steps} steps in a launch"
        return Explanation([node], nbytes, summary)
