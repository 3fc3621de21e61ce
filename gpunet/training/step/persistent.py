"""The executor of a small MLP on a GPU: many whole steps in one cooperative launch (`kernels/mlp_train.cu`)."""

from __future__ import annotations

import math
from collections.abc import Callable, Hashable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np

from gpunet.cuda import CTYPES, Kernel
from gpunet.layers import Dropout, Linear
from gpunet.layers.stack import fuse
from gpunet.losses import CrossEntropyLoss, MSELoss
from gpunet.models import MLP, Sequential
from gpunet.ops._matmul_plan import chosen_kernel, multiprocessors
from gpunet.ops.activations import FUNCTIONS
from gpunet.optimizers import SGD, Adam, AdamW
from gpunet.recording import NotRecordableError
from gpunet.training.explain import Explanation, Node

KERNEL = Kernel("mlp_train.cu", "mlp_train")

THREADS = 256
TILE = 32
"""Rows and columns of the tiles that a forward pass is divided into, and the depth of a k-slice."""

LAYERS = range(2, 7)
MOST_OUTPUTS = 256
MOST_HIDDEN = 5_300
"""Features of the last hidden layer, two rows of which lie in shared memory."""

MOST_FLOPS = 4e9
"""FLOPs of a step beyond which its products fill a GPU and the graph, with larger tiles, is as fast."""

SPLIT_BLOCKS = 128
"""Blocks that share the product which is split along k: a constant, so that all GPUs add up in the same order."""

LONGEST_LAUNCH, SLOWEST_STEP, SLOWEST_FLOPS = 0.05, 20e-6, 1e12
"""Seconds of a launch; seconds and FLOP/s of a step on a slow GPU, by which the steps of a launch are limited."""

BARRIER_WORDS = 2
"""Of `kernels/grid_barrier.cuh`."""

FIELDS = {"Sgd": 4, "Adam": 6}
"""Numbers of a rule in `kernels/update_rules.cuh`."""


class Hidden(NamedTuple):
    """A hidden layer.

    Attributes:
        linear: the layer, its activation included.
        dropout: the probability of a zero after it.
        draw: the number of the dropout layer among those of the model; -1: there is none.
    """

    linear: Linear
    dropout: float
    draw: int


def refusal(step: Any) -> str | None:
    """Return why the persistent kernel cannot run a step; None: it can."""
    return next(_refusals(step), None)


def _refusals(step: Any) -> Iterator[str]:
    if step.store.params.dtype != np.float32:
        yield f"it computes in float32, and the model's dtype is {step.store.params.dtype}"
    if step.reduce is not None:
        yield "several ranks train together"
    if chosen_kernel() is not None or step.precision != "float32":
        yield "a kernel or a precision was chosen for the matrix products"
    if not step.device.xp.cuda.runtime.getDeviceProperties(step.device.index).get("cooperativeLaunch", 1):
        yield f"{step.device.name} has no cooperative launches"
    if type(step.optimizer) not in (SGD, Adam, AdamW):
        yield f"it runs SGD, Adam and AdamW, not {type(step.optimizer).__name__}"
    if step.optimizer.clip_norm is not None:
        yield "clip_norm needs the norm of all gradients before the first update"
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


class Net(NamedTuple):
    """A stack of linear layers, as the kernel is compiled for it.

    Attributes:
        linears: the layers, with the activations that follow them.
        dropout: the probability of a zero after each hidden layer.
        draws: the number of its draws; -1: there is no dropout after it.
    """

    linears: list[Linear]
    dropout: list[float]
    draws: list[int]

    @classmethod
    def of(cls, model: Any) -> Net | None:
        """Return the net of a model; None: the model is no such stack."""
        if type(model) not in (Sequential, MLP):
            return None
        net = cls([], [], [])
        for layer in fuse(model.layers):
            if type(layer) is Linear and FUNCTIONS.get(layer.activation.name) is type(layer.activation):
                net.linears.append(layer)
                net.dropout.append(0.0)
                net.draws.append(-1)
            elif type(layer) is Dropout and net.linears and net.draws[-1] < 0:
                net.dropout[-1], net.draws[-1] = layer.p, max(net.draws, default=-1) + 1
            else:
                return None
        plain_end = bool(net.linears) and net.linears[-1].activation.name == "identity" and net.draws[-1] < 0
        return net if plain_end else None

    @property
    def layers(self) -> int:
        """The number of linear layers."""
        return len(self.linears)

    @property
    def widths(self) -> tuple[int, ...]:
        """Features of the input and of the output of each layer."""
        return self.linears[0].in_features, *(linear.out_features for linear in self.linears)

    def flops(self, rows: int) -> int:
        """Return the floating-point operations of a step: three products a layer, two in the first one."""
        products = [2 * rows * n_in * n_out for n_in, n_out in pairwise(self.widths)]
        return 3 * sum(products) - products[0]

    def splits(self, rows: int) -> int:
        """Return into how many parts the last hidden product is split along k."""
        slices = math.ceil(self.widths[-3] / TILE)
        tiles = math.ceil(rows / TILE) * math.ceil(self.widths[-2] / TILE)
        parts = max(1, min(SPLIT_BLOCKS // tiles, slices))
        return math.ceil(slices / math.ceil(slices / parts))  # none without a slice

    def most_blocks(self, rows: int) -> int:
        """Return how many blocks have work in the part of a step that has the most."""
        down = math.ceil(rows / TILE)
        across = [math.ceil(width / TILE) for width in self.widths]
        forward = [down * n for n in across[1:-1]]
        backward = [n_in * n_out + down * n_in for n_in, n_out in pairwise(across)]
        return max(rows, *forward, forward[-1] * self.splits(rows), *backward)

    def scratch_rows(self, rows: int, regression: bool) -> int:
        """Return the elements of scratch memory for each row; see `kernels/mlp_train.cu`."""
        n_in, *hidden, n_out = self.widths
        batches = 2 * n_in + (2 * n_out if regression else 0) + 2
        return batches + 3 * sum(hidden) + n_out + 2 + self.splits(rows) * hidden[-1]

    def options(self, segments: Any, size: int) -> dict[str, Any]:
        """Return the macros of the kernel; `segments` says where parameters begin in flat buffers of that size."""
        hidden = [linear.activation for linear in self.linears[:-1]]
        starts = {(id(s.layer.params[s.name])): s.start for s in segments.values()}

        def begin(name: str) -> str:
            own = (linear.params.get(name) for linear in self.linears)
            return ",".join(str(-1 if a is None else starts[id(a)]) for a in own)

        return {
            "SIZES": ",".join(map(str, self.widths)),
            "FLAT_SIZE": size,
            "WEIGHT_AT": begin("weight"),
            "BIAS_AT": begin("bias"),
            "ACTIVATIONS": ",".join(activation.name for activation in hidden),
            "PARAMETERS": ",".join(f"T({activation.parameter!r})" for activation in hidden),
            "SAVES_INPUT": ",".join(str(int(activation.saves == "input")) for activation in hidden),
            "DROPOUT": ",".join(f"{p!r}f" for p in self.dropout[:-1]),
            "DRAW_NUMBERS": ",".join(map(str, self.draws[:-1])),
        }


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
        rule = "Sgd" if type(step.optimizer) is SGD else "Adam"
        self._options = net.options(step.store.segments, params.size) | {
            "RULE": rule,
            "SLOTS": len(slots),
            "REGRESSION": int(regression),
        }
        with step.device.activate():
            settings = step.device.asarray(np.array(step.optimizer.kernel_settings()), params.dtype)
            scratch = xp.empty(-(-rows // 4) * 4 * net.scratch_rows(rows, regression), params.dtype)
            rules = xp.empty(FIELDS[rule] * self._most_steps, params.dtype)
            self.memory = {
                "settings": settings,
                "other": xp.zeros((1 + len(slots)) * params.size, params.dtype),  # in the gaps between parameters, too
                "scratch": scratch,
                "integers": xp.empty(3 * rows, np.int32),
                "rules": rules,
                "arrived": xp.zeros(BARRIER_WORDS, np.uint64),
            }
            step.value, step.prediction = xp.empty((), params.dtype), xp.empty((rows, net.widths[-1]), params.dtype)
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
            *(progress.rates, progress.words, memory["settings"], params, *slots, memory["other"], step.store.grads),
            *(memory["scratch"], memory["integers"], memory["rules"], totals),
            *(step.value, step.prediction, memory["arrived"]),
            *(len(x), total, widths[0], widths[-1], params.size, 1 + len(step.store.slots), len(progress.rates)),
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
