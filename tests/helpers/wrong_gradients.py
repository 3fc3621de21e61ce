"""Layers and losses with planted faults, and the error messages that must report them."""

import numpy as np
from own_layers import Scale

import gpunet as gn

NUMBER = r"-?[\d.]+(e-?\d+)?"
WRONG = rf"expected {NUMBER}, by finite differences, found {NUMBER}"


class Planted(Scale):
    """Scales each feature by a parameter; subclasses have a fault in one of the passes."""

    def _pass(self, dy, tape):
        """Return the correct gradients of the parameter and of the input."""
        (x,) = tape.restore(self)
        return (dy * x).sum(axis=0), dy * self.params["scale"]

    def backward(self, dy, tape, *, input_gradient=True):
        dscale, dx = self._pass(dy, tape)
        self.grads["scale"][...] = dscale
        return dx


class WrongSignOfInput(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        return dscale, -dx


class WithoutScale(Planted):
    def _pass(self, dy, tape):
        return super()._pass(dy, tape)[0], dy


class WrongSignOfParameter(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        return -dscale, dx


class MeanInsteadOfSum(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        return dscale / len(dy), dx


class OneElement(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        dscale[2:3] += 1e-3
        return dscale, dx


class OneElementOfInput(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        dx[3:, 1:2] *= 1.01
        return dscale, dx


class Unfilled(Planted):
    def backward(self, dy, tape, *, input_gradient=True):
        return self._pass(dy, tape)[1]


class PartlyFilled(Planted):
    def backward(self, dy, tape, *, input_gradient=True):
        dscale, dx = self._pass(dy, tape)
        self.grads["scale"][:3] = dscale[:3]
        return dx


class Adding(Planted):
    def backward(self, dy, tape, *, input_gradient=True):
        dscale, dx = self._pass(dy, tape)
        self.grads["scale"][...] = self.grads["scale"] + dscale
        return dx


class WrongWithoutInputGradient(Planted):
    def backward(self, dy, tape, *, input_gradient=True):
        dscale, dx = self._pass(dy, tape)
        self.grads["scale"][...] = dscale if input_gradient else 2 * dscale
        return dx


class NoInputGradient(Planted):
    def backward(self, dy, tape, *, input_gradient=True):
        super().backward(dy, tape)


class SumsOverRows(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        return dscale, dx.sum(axis=0)


class GradientInFloat32(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        return dscale, dx.astype(np.float32)


class NotANumber(Planted):
    def _pass(self, dy, tape):
        dscale, dx = super()._pass(dy, tape)
        dx[1:2, 4:] = np.nan
        return dscale, dx


class Changing(Planted):
    def forward(self, x, tape=None):
        self.calls = getattr(self, "calls", 0) + 1
        return self.calls * super().forward(x, tape)


class InFloat32(Planted):
    def forward(self, x, tape=None):
        return super().forward(x, tape).astype(np.float32)


class Infinite(Planted):
    def forward(self, x, tape=None):
        return super().forward(x, tape) / gn.array_module(x).zeros(1, x.dtype)


LAYERS = {
    WrongSignOfInput: rf"the gradient of the input is wrong: at element \(\d, \d\) {WRONG}",
    WithoutScale: rf"the gradient of the input is wrong: at element \(\d, \d\) {WRONG}",
    WrongSignOfParameter: rf"the gradient of scale is wrong: at element \(\d,\) {WRONG}",
    MeanInsteadOfSum: rf"the gradient of scale is wrong: at element \(\d,\) {WRONG}",
    OneElement: rf"the gradient of scale is wrong: at element \(2,\) {WRONG}",
    OneElementOfInput: rf"the gradient of the input is wrong: at element \(3, 1\) {WRONG}",
    Unfilled: r"does not fill the gradient of scale, for example element \(0,\).*self.grads\['scale'\]\[...\] =",
    PartlyFilled: r"backward does not fill the gradient of scale, for example element \(3,\)",
    Adding: r"backward does not fill the gradient of scale, for example element \(0,\), or adds to it",
    WrongWithoutInputGradient: r"with input_gradient=False, the gradient of scale is wrong: at element",
    NoInputGradient: r"backward returns None; expected float64 of shape \(4, 5\), the gradient of the input",
    SumsOverRows: r"backward returns float64 of shape \(5,\); expected float64 of shape \(4, 5\)",
    GradientInFloat32: r"backward returns float32 of shape \(4, 5\); expected float64 of shape \(4, 5\)",
    NotANumber: rf"the gradient of the input is wrong: at element \(1, 4\) expected {NUMBER}.* found nan",
    Changing: "forward returns different outputs for the same input",
    InFloat32: "forward returns float32 for a float64 input",
    Infinite: "the output is not finite",
}


class Squares(gn.losses.Loss):
    """The weighted mean over the rows of their sums of squared errors."""

    task = "regression"

    def value_and_grad(self, prediction, target, weight=None, tape=None):
        xp = gn.array_module(prediction)
        weight = xp.ones(len(prediction), prediction.dtype) if weight is None else weight
        share = self._shares(weight)[:, None]
        error = prediction - target
        return self._value(share, error), self._gradient(share, error)

    def _shares(self, weight):
        return weight / weight.sum()

    def _value(self, share, error):
        return (share * error * error).sum()

    def _gradient(self, share, error):
        return 2 * share * error


class WrongSign(Squares):
    def _gradient(self, share, error):
        return -super()._gradient(share, error)


class WithoutFactor(Squares):
    def _gradient(self, share, error):
        return share * error


class IgnoresWeight(Squares):
    def _shares(self, weight):
        return 0 * weight + 1 / len(weight)


class WeightsOnlyValue(Squares):
    def _gradient(self, share, error):
        return 2 * error / len(error)


class WeightsOnlyGradient(Squares):
    def _value(self, share, error):
        return (error * error).sum() / len(error)


class DividesByNumberOfRows(Squares):
    def _shares(self, weight):
        return weight / len(weight)


class OneNumberPerRow(Squares):
    def _gradient(self, share, error):
        return (share * error).sum(axis=1)


class LossInFloat32(Squares):
    def _value(self, share, error):
        return super()._value(share, error).astype(np.float32)


class NanLoss(Squares):
    def _value(self, share, error):
        return super()._value(share, error) * np.nan


LOSSES = {
    WrongSign: rf"the gradient of the prediction is wrong: at element \(\d, \d\) {WRONG}",
    WithoutFactor: rf"the gradient of the prediction is wrong: at element \(\d, \d\) {WRONG}",
    IgnoresWeight: rf"value_and_grad ignores `weight`: the loss is {NUMBER} with row weights and without",
    WeightsOnlyValue: rf"with row weights, the gradient of the prediction is wrong: at element \(\d, \d\) {WRONG}",
    WeightsOnlyGradient: "with row weights, the gradient of the prediction is wrong: at element",
    DividesByNumberOfRows: rf"with row weights the loss is wrong: expected {NUMBER}, .* found {NUMBER}",
    OneNumberPerRow: r"the gradient of the prediction is float64 of shape \(8,\); expected float64 of shape \(8, 4\)",
    LossInFloat32: rf"the loss is {NUMBER} in float32; expected a finite number in float64, as the prediction",
    NanLoss: "the loss is nan in float64; expected a finite number",
}
