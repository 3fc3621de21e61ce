"""The form of a kernel of the corpus: a function, decorated with `case`, that returns the fields of a `Launch`."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

RNG = np.random.default_rng(7)
WRONG = "wrong result"  # the memory accesses are valid: only the comparison with NumPy finds the fault


class Launch(NamedTuple):
    """A source whose kernels, all with the same arguments, are launched one after the other."""

    source: str
    grid: int | Sequence[int]
    block: int | Sequence[int]
    arguments: Sequence
    expected: dict[int, np.ndarray]  # by the index of the argument
    shared: int = 0  # bytes of dynamic shared memory
    tolerance: float = 1e-5  # relative to the largest expected value
    cooperative: bool = False


class Case(NamedTuple):
    """A kernel and the fault to plant in it: a text that occurs once, its replacement, and the expected finding."""

    build: Callable[[], tuple]
    fault: tuple[str, str, str]

    def launch(self, planted: bool) -> Launch:
        launch = Launch(*self.build())
        if not planted:
            return launch
        right, wrong, _ = self.fault
        assert launch.source.count(right) == 1, self.fault
        return launch._replace(source=launch.source.replace(right, wrong))


def case(right: str, wrong: str, found: str) -> Callable[[Callable[[], tuple]], Case]:
    return lambda build: Case(build, (right, wrong, found))


def cases_of(module: dict[str, object]) -> dict[str, Case]:
    return {name: value for name, value in module.items() if isinstance(value, Case)}


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(np.float32)


def integers(low: int, high: int, *shape: int, dtype: type = np.int32) -> np.ndarray:
    return RNG.integers(low, high, shape).astype(dtype)


def zeros(*shape: int, dtype: type = np.float32) -> np.ndarray:
    return np.zeros(shape, dtype)
