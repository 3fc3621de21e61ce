"""Scalar arguments of the operations that are out of range raise with their name."""

import re

import numpy as np
import pytest

from gpunet import Tape, ops
from gpunet.errors import ArgumentError

X = np.ones((4, 2), np.float32)
PAIRS = np.ones((4, 2, 3), np.float32)
LABELS = np.zeros(4, np.int64)
CHANNELS = np.ones(2, np.float32)

# operation with a number for its scalar: (its name, numbers to refuse, numbers to take)
CALLS = {
    lambda delta: ops.huber(X, X, delta): ("huber: delta", (-1, 0), (1e-3, 2)),
    lambda margin: ops.cosine_embedding(PAIRS, CHANNELS.repeat(2), margin): (
        "cosine_embedding: margin",
        (-1.1, 1.1),
        (-1, 1),
    ),
    lambda p: ops.dropout(X, p, Tape()): ("dropout: p", (-0.1, 1.1), (0, 1)),
    lambda smoothing: ops.softmax_cross_entropy(X, LABELS, label_smoothing=smoothing): (
        "softmax_cross_entropy: label_smoothing",
        (-0.1, 1.1),
        (0, 1),
    ),
    lambda eps: ops.cosine_similarity(X, X, eps=eps): ("cosine_similarity: eps", (-1, 0), (1e-8,)),
    lambda eps: ops.layer_norm(X, (2,), eps=eps): ("layer_norm: eps", (-1,), (0, 1)),
    lambda eps: ops.rms_norm(X, (2,), eps=eps): ("rms_norm: eps", (-1,), (0, 1)),
    lambda eps: ops.batch_norm(X, CHANNELS, CHANNELS, eps=eps): ("batch_norm: eps", (-1,), (0, 1)),
}
EVERY_CALL = pytest.mark.parametrize(("call", "case"), CALLS.items(), ids=[name for name, *_ in CALLS.values()])


@EVERY_CALL
def test_a_number_out_of_range_raises_with_its_name(call, case):
    name, refused, _ = case
    for number in (*refused, np.nan, np.inf):
        with pytest.raises(ArgumentError, match=re.escape(f"{name} must lie in ")):
            call(number)
    with pytest.raises(ArgumentError, match=re.escape(f"{name} must be a number, got '1'")):
        call("1")


@pytest.mark.filterwarnings("ignore:divide by zero", "ignore:invalid value")
@EVERY_CALL
def test_the_ends_of_the_range_are_valid(call, case):
    for number in case[2]:
        call(number)
