"""A stack of linear layers that the persistent kernel can run, and the kernel's compile-time options for it."""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Any, NamedTuple

from gpunet.layers import Dropout, Linear
from gpunet.layers.stack import fuse
from gpunet.models import MLP, Sequential
from gpunet.ops.activations import FUNCTIONS

TILE = 32
"""Rows and columns of the tiles of a forward pass, and the depth of a k-slice."""

SPLIT_BLOCKS = 128
"""Maximum blocks of the split-K product: a constant, so that all GPUs sum in the same order."""


class Net(NamedTuple):
    """A stack of linear layers that the persistent kernel can run.

    Attributes:
        linears: the layers, fused with their activations.
        dropout: dropout probability after each layer.
        draws: number of the dropout draw after each layer; -1 for no dropout.
    """

    linears: list[Linear]
    dropout: list[float]
    draws: list[int]

    @classmethod
    def of(cls, model: Any) -> Net | None:
        """Return the net of a model; None if the kernel cannot run it."""
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
        """Number of features of the input and of each layer's output."""
        return self.linears[0].in_features, *(linear.out_features for linear in self.linears)

    def flops(self, rows: int) -> int:
        """Return the floating-point operations of a step: three products per layer, two in the first layer."""
        products = [2 * rows * n_in * n_out for n_in, n_out in pairwise(self.widths)]
        return 3 * sum(products) - products[0]

    def splits(self, rows: int) -> int:
        """Return the number of splits along k of the last hidden layer's product (split-K)."""
        slices = math.ceil(self.widths[-3] / TILE)
        tiles = math.ceil(rows / TILE) * math.ceil(self.widths[-2] / TILE)
        parts = max(1, min(SPLIT_BLOCKS // tiles, slices))
        return math.ceil(slices / math.ceil(slices / parts))  # no split is empty

    def most_blocks(self, rows: int) -> int:
        """Return the maximum number of blocks that have work in any phase of a step."""
        down = math.ceil(rows / TILE)
        across = [math.ceil(width / TILE) for width in self.widths]
        forward = [down * n for n in across[1:-1]]
        backward = [n_in * n_out + down * n_in for n_in, n_out in pairwise(across)]
        return max(rows, *forward, forward[-1] * self.splits(rows), *backward)

    def scratch_rows(self, rows: int, regression: bool) -> int:
        """Return the elements of scratch memory per row; see `kernels/mlp_net.cuh`."""
        n_in, *hidden, n_out = self.widths
        batches = 2 * n_in + (2 * n_out if regression else 0) + 2
        return batches + 3 * sum(hidden) + n_out + 2 + self.splits(rows) * hidden[-1]

    def options(self, segments: Any, size: int) -> dict[str, Any]:
        """Return the kernel's macros.

        Args:
            segments: the positions of the parameters in the flat buffers.
            size: number of elements of a flat buffer.
        """
        hidden = [linear.activation for linear in self.linears[:-1]]
        starts = {(id(s.layer.params[s.name])): s.start for s in segments.values()}

        def starts_of(name: str) -> str:
            own = (linear.params.get(name) for linear in self.linears)
            return ",".join(str(-1 if a is None else starts[id(a)]) for a in own)

        return {
            "SIZES": ",".join(map(str, self.widths)),
            "FLAT_SIZE": size,
            "WEIGHT_AT": starts_of("weight"),
            "BIAS_AT": starts_of("bias"),
            "ACTIVATIONS": ",".join(activation.name for activation in hidden),
            "PARAMETERS": ",".join(f"T({activation.parameter!r})" for activation in hidden),
            "SAVES_INPUT": ",".join(str(int(activation.saves == "input")) for activation in hidden),
            "DROPOUT": ",".join(f"{p!r}f" for p in self.dropout[:-1]),
            "DRAW_NUMBERS": ",".join(map(str, self.draws[:-1])),
        }
