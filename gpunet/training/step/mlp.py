"""A stack of linear layers, as the persistent kernel is compiled for it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

from gpunet.layers import Dropout, Linear
from gpunet.layers.stack import fuse
from gpunet.models import MLP, Sequential
from gpunet.ops.activations import FUNCTIONS

TILE = 32
"""Rows and columns of the tiles that a forward pass is divided into, and the depth of a k-slice."""

SPLIT_BLOCKS = 128
"""Blocks that share the product which is split along k: a constant, so that all GPUs add up in the same order."""


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
