"""The executors by name, and the choice of one for a step."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gpunet import native
from gpunet.errors import StateError
from gpunet.training.step.eager import EagerExecutor
from gpunet.training.step.graph import GraphExecutor
from gpunet.training.step.host import NativeExecutor, NumpyExecutor
from gpunet.training.step.interfaces import Executor, ExecutorName
from gpunet.training.step.persistent import PersistentExecutor, refusal

KINDS: dict[str, Callable[[Any], Executor]] = {
    kind.name: kind for kind in (EagerExecutor, NumpyExecutor, NativeExecutor, GraphExecutor, PersistentExecutor)
}


def choose(step: Any, name: ExecutorName) -> str:
    """Return the name of the executor for a step; resolves "auto", and sets `step.refusal` if it is the graph.

    Raises:
        StateError: the executor does not run on the model's device.
        DeviceError: the executor is "native", and there is no C++ compiler.
    """
    on_cpu = step.device.xp is np
    if name == "auto":
        usable = step.ranks.all_true(on_cpu and native.why_unavailable() is None)
        if on_cpu:
            return "native" if usable else "numpy"
        step.refusal = refusal(step)
        return "graph" if step.refusal else "persistent"
    if name in ("numpy", "native") and not on_cpu:
        raise StateError(f"executor {name!r} runs on the CPU, but the model is on {step.device.name}; use 'graph'.")
    if name in ("graph", "persistent") and on_cpu:
        raise StateError(f"executor {name!r} runs on a GPU, but the model is on the CPU; use 'native' or 'numpy'.")
    if name == "native":
        native.find_compiler()
    return name
