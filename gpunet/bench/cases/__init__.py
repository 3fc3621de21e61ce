"""The operations of the benchmark, one file each.

To add one, write a function that yields its cases, and list it in `OPS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NamedTuple

from gpunet.bench.case import Case, DType, Size
from gpunet.bench.cases.bias_activation import bias_activation
from gpunet.bench.cases.linear import linear
from gpunet.bench.cases.matmul import matmul
from gpunet.bench.cases.optimizer import optimizer
from gpunet.bench.cases.softmax_cross_entropy import softmax_cross_entropy
from gpunet.bench.cases.step import step
from gpunet.errors import ArgumentError


class Op(NamedTuple):
    """An operation.

    Attributes:
        form: how a size is written.
        small: the default sizes on the simulated GPU.
        own: whether it takes a user's own kernel.
    """

    cases: Callable[[Size, DType], Iterator[Case]]
    form: str
    sizes: str
    small: str
    what: str
    own: bool = False

    def parse(self, text: str) -> Size:
        """Parse a size of this `form`, else raise `ArgumentError`; a single number stands for all axes."""
        numbers = tuple(map(int, re.findall(r"\d+", text)))
        axes = len(self.form.split("x"))
        if "-" in self.form:
            if re.fullmatch(r"\d+(-\d+)+/\d+", text) and min(numbers) > 0:
                return numbers
        elif re.fullmatch(r"\d+(x\d+)*", text) and len(numbers) in (1, axes) and min(numbers) > 0:
            return numbers * axes if len(numbers) == 1 else numbers
        raise ArgumentError(f"size {text!r}: expected {self.form}, such as {self.sizes.split(',')[-1]}.")


OPS = {
    "matmul": Op(matmul, "MxNxK", "256,1024,128x128x784", "64,32x40x56", "a matrix product: NN, NT and TN", own=True),
    "linear": Op(linear, "ROWSxINxOUT", "256,1024,128x784x128", "32x64x40", "a ReLU layer, forward and backward"),
    "bias-activation": Op(
        bias_activation, "ROWSxCOLUMNS", "128,1024x4096", "64", "bias and ReLU, forward and backward", own=True
    ),
    "softmax-cross-entropy": Op(
        softmax_cross_entropy, "ROWSxCLASSES", "128x10,4096x1000", "64x10", "the loss of labels and its gradient"
    ),
    "optimizer": Op(optimizer, "N", "100000,10000000", "10000", "a step of SGD with momentum, of Adam and of RMSprop"),
    "step": Op(
        step, "IN-HIDDEN-...-OUT/BATCH", "64-64-10/32,784-128-10/128", "64-32-10/16", "a training step of an MLP"
    ),
}
