"""The GPU executor for small MLPs: many complete steps in one cooperative launch (`kernels/mlp_train.cu`)."""

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
"""Maximum features of the last hidden layer: two rows of it must fit in shared memory."""

MOST_FLOPS = 4e9
"""Maximum FLOPs of a step. Larger products fill a GPU by themselves, and the graph, with larger tiles, is as fast."""

LONGEST_LAUNCH, SLOWEST_STEP, SLOWEST_FLOPS = 0.05, 20e-6, 1e12
"""Maximum seconds of a launch; overhead in seconds and FLOP/s of a step on a slow GPU, to estimate its duration."""

BARRIER_WORDS = 2
"""Words of the barrier in `kernels/grid_barrier.cuh`."""

RULE_SIZE = 8
"""Maximum numbers per step of a rule in `kernels/update_rules.cuh`; the kernel asserts it."""


def refusal(step: Any) -> str | None:
    """Return why the persistent kernel cannot run a step; None if it can."""
    return next(_refusals(step), None)


def _refusals(step: Any) -> Iterator[str]:
    if step.store.params.dtype != np.float32:
        yield f"it computes in float32, but the model's dtype is {step.store.params.dtype}"
    if step.reduce is not None:
        yield "several ranks train together"
    if len(step.source.parts) > 1:
        yield "accumulate sums the gradients of several batches"
    if step.store.decay is not None:
        yield "ema computes a moving average of the weights"
    if chosen_kernel() is not None or step.precision != "float32":
        yield "a kernel or a precision was set for the matrix products"
    if not step.device.xp.cuda.runtime.getDeviceProperties(step.device.index).get("cooperativeLaunch", 1):
        yield f"{step.device.name} does not support cooperative launches"
    if type(step.optimizer) not in (SGD, Adam, AdamW):
        yield f"it supports SGD, Adam and AdamW, not {type(step.optimizer).__name__}"
    if step.optimizer.clip_norm is not None:
        yield "clip_norm needs the norm of all gradients before the update"
    if step.optimizer.groups:
        yield "the optimizer has parameter groups"
    if any(not layer.trainable for layer in step.model.leaves().values()):
        yield "some layers are frozen"
    if (net := Net.of(step.model)) is None:
        yield "the model is not a stack of Linear layers with gpunet's activations and optional Dropout"
        return
    if net.layers not in LAYERS:
        yield f"it supports {LAYERS[0]} to {LAYERS[-1]} layers, but the model has {net.layers}"
    if net.widths[-1] > MOST_OUTPUTS or net.widths[-2] > MOST_HIDDEN:
        yield f"it supports at most {MOST_OUTPUTS} outputs and {MOST_HIDDEN:,} features of the last hidden layer"
    if net.flops(step.count) > MOST_FLOPS:
        yield "the net is large: separate kernels for its products fill the GPU"
    yield from _refusals_of_data(step, net)


def _refusals_of_data(step: Any, net: Net) -> Iterator[str]:
    (row, _), (target, dtype), *_ = step.source.kinds
    if row != net.widths[:1]:
        yield f"a row of features has the shape {row}"
    if type(step.loss) is CrossEntropyLoss and (target != () or dtype.kind not in "iu"):
        yield "it supports cross-entropy of class labels only"
    elif type(step.loss) is MSELoss and target != net.widths[-1:]:
        yield f"a row of targets has the shape {target}"
    elif type(step.loss) not in (CrossEntropyLoss, MSELoss):
        yield f"it supports CrossEntropyLoss and MSELoss, not {type(step.loss).__name__}"


class PersistentExecutor:
    """Run many steps in one launch of a kernel that gathers rows, multiplies, and updates the parameters.

    Attributes:
        place: key of the batch that the next run reads, as for a `GraphExecutor`.
        blocks: blocks of a launch; all are resident at once.
        memory: the arrays that a launch needs in addition to the model, by the names of the kernel's parameters.
    """

    name = "persistent"

    def __init__(self, step: Any):
        self.step = step
        self.place: Hashable = ()
        self._launches: dict[tuple[Hashable, int], Callable[[], None]] = {}

    def record(self) -> None:
        """Compile the kernel and launch it for zero steps, to check that all blocks can be resident."""
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
            self.memory = {  # not in local variables, which an exception's traceback would keep alive
                "settings": step.device.asarray(np.array(step.optimizer.kernel_settings()), params.dtype),
                "other": xp.zeros((1 + len(slots)) * params.size, params.dtype),  # also in the gaps between parameters
                "scratch": xp.empty(-(-rows // 4) * 4 * net.scratch_rows(rows, regression), params.dtype),
                "integers": xp.empty(3 * rows, np.int32),
                "rules": xp.empty(RULE_SIZE * self._most_steps, params.dtype),
                "arrived": xp.zeros(BARRIER_WORDS, np.uint64),
            }
        self._launch(0)()

    def run(self, steps: int) -> None:
        """Run the steps in launches of at most about 50 ms."""
        optimizer = self.step.optimizer
        while steps:
            size = min(steps, self._most_steps)
            optimizer.prepare().progress.look_ahead(size)
            self._launch(size)()
            optimizer.counter.advance(size)
            steps -= size

    def _launch(self, steps: int) -> Callable[[], None]:
        """Return the launch that runs `steps` steps on the batches at `place`."""
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
        """Return the description; there is one node."""
        step, net = self.step, self.net
        parameters = (1 + len(step.store.slots)) * step.store.params.nbytes
        batch = step.count * net.widths[0] * step.store.params.itemsize
        choice = f"grid {self.blocks}, block {THREADS}, {net.splits(step.count)} splits"
        shapes = tuple(linear.params["weight"].shape for linear in net.linears)
        node = Node(KERNEL.name, shapes, choice, 2 * parameters + 2 * batch, net.flops(step.count))
        nbytes = sum(a.nbytes for a in self.memory.values())
        summary = f"persistent: one kernel that runs up to {self._most_steps} steps per launch"
        return Explanation([node], nbytes, summary)
