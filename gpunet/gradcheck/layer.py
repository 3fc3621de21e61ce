"""Check the gradients of a layer."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

import numpy as np

from gpunet.device import to_host
from gpunet.errors import GradientError
from gpunet.gradcheck.differences import described, first_index, random_batch, require_gradient
from gpunet.gradcheck.report import GradientReport
from gpunet.layers import Embedding, Layer
from gpunet.tape import Tape

INPUT = "the input"


class LayerCheck:
    """The check of a layer: it runs a copy forward and backward, with the same random numbers each time."""

    def __init__(self, given: Layer, x: Any, rng: np.random.Generator):
        self.name, self.rng = repr(given), rng
        self.layer = copy.deepcopy(given).to(dtype="float64")
        self.layer.trainable = True
        self.device, self.store, self.tape = self.layer.device, self.layer.store, Tape(int(rng.integers(2**32)))
        for view in self.store.views(self.store.params).values():
            self.device.assign(view, to_host(view) + 0.1 * rng.standard_normal(view.shape))
        tables = [leaf for leaf in self.layer.leaves().values() if isinstance(leaf, Embedding)]
        paddings = [table.params["weight"][table.padding_idx] for table in tables if table.padding_idx is not None]
        self.constants = [(row, row.copy()) for row in paddings]
        self.batch = self.device.asarray(random_batch(x, rng, self.layer.index_range))
        self.numbers = ..., slice(self.batch.shape[-1] - self.layer.category_columns)  # categories are not continuous
        self.points = {**self.store.views(self.store.params), INPUT: self.batch[self.numbers]}

    def __call__(self) -> GradientReport:
        """Return the report."""
        with self.device.activate():
            y = self._required_output()
            dy = self.rng.standard_normal(y.shape) / max(y.size, 1) ** 0.5
            has_input_gradient = self.layer.index_range is None
            gradients = self._gradients(dy, input_gradient=has_input_gradient)
            size = float(np.linalg.norm(dy * y))
            for key, gradient in gradients.items():
                where = f"{self.name}: the gradient of {key}"
                require_gradient(where, self._value(dy), self.points[key], gradient, size, self.rng)
            if has_input_gradient:  # training calls the first layer's backward without it
                self._require_equal(self._gradients(dy, input_gradient=False), gradients)
        return GradientReport(self.name, self.device.name, tuple(gradients))

    def _value(self, dy: np.ndarray) -> Callable[[], float]:
        """Return a function of the output whose gradient is `dy`."""
        return lambda: float((dy * self._output()).sum())

    def _output(self) -> np.ndarray:
        for row, before in self.constants:
            row[...] = before
        self.tape.reset(step=0)
        return np.array(to_host(self.layer.forward(self.batch, self.tape)))

    def _required_output(self) -> np.ndarray:
        """Return the output; refuse one that is unsuitable for finite differences."""
        y = self._output()
        if y.dtype != np.float64:
            self._fail(f"forward returns {y.dtype} for a float64 input; compute in the dtype of the input.")
        if not np.isfinite(y).all():
            self._fail("the output is not finite; give check_gradients another `x`.")
        if not np.array_equal(y, self._output()):
            self._fail(
                "forward returns different outputs for the same input and step: it writes to its input, or draws "
                "random numbers without tape.uniform."
            )
        return y

    def _gradients(self, dy: np.ndarray, *, input_gradient: bool) -> dict[str, np.ndarray]:
        """Return the gradients that `backward` computes, by name."""
        self.store.grads.fill(np.nan)
        self._output()
        dx = self.layer.backward(self.device.asarray(dy), self.tape, input_gradient=input_gradient)
        gradients = {key: np.array(to_host(view)) for key, view in self.store.views(self.store.grads).items()}
        for key, gradient in gradients.items():
            unfilled = np.isnan(gradient)
            if unfilled.any():
                self._fail(
                    f"backward does not fill the gradient of {key}, for example element {first_index(unfilled)}, or "
                    f"adds to it; write self.grads[{key.rpartition('.')[2]!r}][...] = gradient."
                )
        if input_gradient:
            if described(dx) != described(self.batch):
                self._fail(
                    f"backward returns {described(dx)}; expected {described(self.batch)}, the gradient of the input."
                )
            gradients[INPUT] = np.array(to_host(dx))[self.numbers]
        return gradients

    def _require_equal(self, without: Mapping[str, np.ndarray], gradients: Mapping[str, np.ndarray]) -> None:
        for key, found in without.items():
            wrong = ~np.isclose(found, gradients[key], rtol=1e-9, atol=1e-12)
            if wrong.any():
                at = first_index(wrong)
                self._fail(
                    f"with input_gradient=False, the gradient of {key} is wrong: at element {at} expected "
                    f"{gradients[key][at]:.6g}, as with input_gradient=True, found {found[at]:.6g}."
                )

    def _fail(self, message: str) -> NoReturn:
        raise GradientError(f"{self.name}: {message}")
