"""The activation functions y = f(z), each with its derivative.

The derivative is computed from y or z, whichever takes less work; `saves` says which. All arithmetic writes to `out`
and to scratch buffers of the tape. `z` and `out` may be one array in `forward`, but not in `backward`.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable, Mapping
from types import ModuleType
from typing import Any, ClassVar, Literal

import numpy as np

from gpunet import native
from gpunet.arguments import real
from gpunet.device import Array, kernels_path
from gpunet.errors import ArgumentError, CompileError, GpunetWarning
from gpunet.ops._erf import erf
from gpunet.ops.checks import float_module
from gpunet.tape import Tape, empty, empty_like
from gpunet.versions import Versioned

SQRT_HALF = math.sqrt(0.5)
INV_SQRT_2PI = 1 / math.sqrt(2 * math.pi)
SQRT_2_OVER_PI = math.sqrt(2 / math.pi)

SELU_SCALE = 1.0507009873554805
"""λ of Klambauer et al. 2017, eq. 14."""
SELU_LIMIT = SELU_SCALE * 1.6732632423543772
"""λα: f(z) tends to -λα at -infinity."""

FAR = 1e9
"""Bound of the ratio of `SoftClip`: beyond it f is at its limit, and its square is finite in float32 too."""

LIMIT = 1000.0
"""Bound of z in GELU and SiLU: beyond it the factor of z is 0 or 1. Without it, infinity times zero would give NaN."""


class ActivationFunction(Versioned):
    """An elementwise function and its derivative.

    Attributes:
        name: the name in configurations and on the command line.
        saves: what `backward` is computed from: the "output" y or the "input" z.

    Example:
        >>> relu = gn.ReLU()
        >>> relu(np.array([-1.0, 2.0]))
        array([0., 2.])
        >>> relu.name, relu.saves
        ('relu', 'output')
    """

    name: ClassVar[str]
    saves: ClassVar[Literal["input", "output"]] = "output"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        """Write f(z) to `out`, which may be `z` itself."""
        raise NotImplementedError

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        """Write dy · f'(z) to `out`; `saved` is y or z, see `saves`."""
        raise NotImplementedError

    def __call__(self, z: Array) -> Array:
        """Return f(z) as a fresh array."""
        xp = float_module(self.name, z=z)
        out = xp.empty_like(z)
        self.forward(z, out, xp, None)
        return out

    @property
    def parameter(self) -> float:
        """The function's parameter in the kernels; 0 if it has none."""
        return float(next(iter(vars(self).values()), 0.0))

    def cuda_options(self) -> dict[str, Any] | None:
        """Return the options that compile this function into a kernel (`kernels/activations.h`), or None.

        User-defined subclasses run as array code.
        """
        return {"ACTIVATION": self.name} if FUNCTIONS.get(self.name) is type(self) else None

    def cpu_options(self) -> dict[str, Any] | None:
        """Return the options that compile this function into a C++ kernel for the CPU, or None."""
        return self.cuda_options()

    def config(self) -> dict[str, Any]:
        """Return the name and the parameters, from which `activation_function` rebuilds this function.

        Raises:
            ArgumentError: a user-defined function, which cannot be written to a file.
        """
        if FUNCTIONS.get(self.name) is not type(self):
            raise ArgumentError(
                f"{self!r} cannot be saved: files hold only the names of gpunet's functions; use one of them."
            )
        return {"name": self.name, **vars(self)}

    def __repr__(self) -> str:
        parameters = ", ".join(f"{key}={value}" for key, value in vars(self).items())
        return f"{type(self).__name__}({parameters})"

    def __eq__(self, other: object) -> bool:
        return type(other) is type(self) and vars(other) == vars(self)

    def __hash__(self) -> int:
        return hash((type(self), *vars(self).items()))


class Identity(ActivationFunction):
    """f(z) = z.

    Example:
        >>> gn.Identity()(np.array([-1.0, 0.0, 2.0]))
        array([-1.,  0.,  2.])
    """

    name = "identity"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        if out is not z:
            xp.copyto(out, z)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.copyto(out, dy)


class ReLU(ActivationFunction):
    """f(z) = max(z, 0); f' = 1 where y > 0, else 0.

    Example:
        >>> gn.ReLU()(np.array([-1.0, 0.0, 2.0]))
        array([0., 0., 2.])
    """

    name = "relu"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        z.clip(0, math.inf, out=out)  # on large arrays twice as fast as `maximum` with a number

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        positive = empty(tape, saved.shape, np.dtype(bool), xp)
        xp.greater(saved, 0, out=positive)
        xp.multiply(dy, positive, out=out)


class LeakyReLU(ActivationFunction):
    """f(z) = z where z > 0, else slope·z; f' = 1 or slope.

    Args:
        negative_slope: 0 <= slope <= 1.

    Example:
        >>> gn.LeakyReLU(0.1)(np.array([-1.0, 0.0, 2.0]))
        array([-0.1,  0. ,  2. ])
    """

    name = "leaky_relu"

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = real("LeakyReLU: negative_slope", negative_slope, 0, 1, closed="both")

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        if not self.negative_slope:  # infinity times zero is NaN
            z.clip(0, math.inf, out=out)
            return
        scaled = empty_like(tape, z, xp)
        xp.multiply(z, self.negative_slope, out=scaled)
        xp.maximum(z, scaled, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.greater(saved, 0, out=out)
        xp.multiply(out, 1 - self.negative_slope, out=out)
        xp.add(out, self.negative_slope, out=out)
        xp.multiply(out, dy, out=out)


class ELU(ActivationFunction):
    """f(z) = z where z > 0, else alpha·(exp(z) - 1); f' = 1 or y + alpha; alpha > 0 (Clevert et al. 2015).

    Example:
        >>> gn.ELU()(np.array([-1.0, 0.0, 2.0])).round(2)
        array([-0.63,  0.  ,  2.  ])
    """

    name = "elu"

    def __init__(self, alpha: float = 1.0):
        self.alpha = real("ELU: alpha", alpha, 0)

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        negative = empty_like(tape, z, xp)
        xp.minimum(z, 0, out=negative)
        xp.expm1(negative, out=negative)
        xp.multiply(negative, self.alpha, out=negative)
        xp.maximum(z, 0, out=out)
        xp.add(out, negative, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        # for z < 0, f' = min(y, 0) + alpha; for z > 0 that is alpha, so 1 - alpha is added
        jump = empty_like(tape, saved, xp)
        xp.greater(saved, 0, out=jump)
        xp.multiply(jump, 1 - self.alpha, out=jump)
        xp.minimum(saved, 0, out=out)
        xp.add(out, self.alpha, out=out)
        xp.add(out, jump, out=out)
        xp.multiply(out, dy, out=out)


class SELU(ActivationFunction):
    """f(z) = λ·z where z > 0, else λα·(exp(z) - 1); f' = λ or y + λα (Klambauer et al. 2017).

    With "lecun_normal" initial weights, activations stay near mean 0 and variance 1.

    Example:
        >>> gn.SELU()(np.array([-1.0, 0.0, 2.0])).round(2)
        array([-1.11,  0.  ,  2.1 ])
    """

    name = "selu"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        negative = empty_like(tape, z, xp)
        xp.minimum(z, 0, out=negative)
        xp.expm1(negative, out=negative)
        xp.multiply(negative, SELU_LIMIT, out=negative)
        xp.maximum(z, 0, out=out)
        xp.multiply(out, SELU_SCALE, out=out)
        xp.add(out, negative, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        # for z < 0, f' = min(y, 0) + λα; for z > 0 that is λα, so λ - λα is added
        jump = empty_like(tape, saved, xp)
        xp.greater(saved, 0, out=jump)
        xp.multiply(jump, SELU_SCALE - SELU_LIMIT, out=jump)
        xp.minimum(saved, 0, out=out)
        xp.add(out, SELU_LIMIT, out=out)
        xp.add(out, jump, out=out)
        xp.multiply(out, dy, out=out)


class Sigmoid(ActivationFunction):
    """f(z) = 1 / (1 + exp(-z)); f' = y·(1 - y).

    Example:
        >>> gn.Sigmoid()(np.array([-1.0, 0.0, 2.0])).round(2)
        array([0.27, 0.5 , 0.88])
    """

    name = "sigmoid"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        sigmoid(z, out, xp)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.subtract(1, saved, out=out)
        xp.multiply(out, saved, out=out)
        xp.multiply(out, dy, out=out)


class Tanh(ActivationFunction):
    """f(z) = tanh(z); f' = 1 - y².

    Example:
        >>> gn.Tanh()(np.array([-1.0, 0.0, 2.0])).round(2)
        array([-0.76,  0.  ,  0.96])
    """

    name = "tanh"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.tanh(z, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.multiply(saved, saved, out=out)
        xp.subtract(1, out, out=out)
        xp.multiply(out, dy, out=out)


class SoftClip(ActivationFunction):
    """f(z) = z / √(1 + (z / limit)²), almost z near 0 and within ± limit > 0; f' = √(1 - (y / limit)²)³.

    It clips standardised features in Holzmüller et al. 2024 (arXiv 2407.04491, section 3), with a limit of 3.

    Example:
        >>> gn.SoftClip(limit=3.0)(np.array([-100.0, 0.0, 4.0])).round(2)
        array([-3. ,  0. ,  2.4])
    """

    name = "soft_clip"

    def __init__(self, limit: float = 3.0):
        self.limit = real("SoftClip: limit", limit, 0)

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        ratio, root = (empty_like(tape, z, xp) for _ in range(2))
        xp.multiply(z, 1 / self.limit, out=ratio)
        ratio.clip(-FAR, FAR, out=ratio)
        xp.multiply(ratio, ratio, out=root)
        xp.add(root, 1, out=root)
        xp.sqrt(root, out=root)
        xp.divide(ratio, root, out=out)
        xp.multiply(out, self.limit, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        root = empty_like(tape, saved, xp)
        xp.multiply(saved, 1 / self.limit, out=root)
        root.clip(-1, 1, out=root)  # rounding may put y beyond the limit
        xp.multiply(root, root, out=root)
        xp.subtract(1, root, out=root)
        xp.sqrt(root, out=out)
        xp.multiply(out, root, out=out)
        xp.multiply(out, dy, out=out)


class Softplus(ActivationFunction):
    """f(z) = log(1 + exp(z)) = max(z, 0) + log1p(exp(-|z|)); f' = 1 - exp(-y).

    Example:
        >>> gn.Softplus()(np.array([-100.0, 0.0, 100.0])).round(2)
        array([  0.  ,   0.69, 100.  ])
    """

    name = "softplus"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        tail = empty_like(tape, z, xp)
        xp.abs(z, out=tail)
        xp.multiply(tail, -1, out=tail)
        xp.exp(tail, out=tail)
        xp.log1p(tail, out=tail)
        xp.maximum(z, 0, out=out)
        xp.add(out, tail, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.multiply(saved, -1, out=out)
        xp.expm1(out, out=out)
        xp.multiply(out, -1, out=out)
        xp.multiply(out, dy, out=out)


class SiLU(ActivationFunction):
    """f(z) = z·s with s = sigmoid(z); f' = s·(1 + z·(1 - s)) (Elfwing et al. 2017); also named swish.

    Example:
        >>> gn.SiLU()(np.array([-1.0, 0.0, 2.0])).round(2)
        array([-0.27,  0.  ,  1.76])
    """

    name = "silu"
    saves = "input"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        s, scratch = (empty_like(tape, z, xp) for _ in range(2))
        self._sigmoid(z, s, scratch, xp)
        _bound(z, -LIMIT, math.inf, scratch, xp)
        xp.multiply(scratch, s, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        s, z = (empty_like(tape, saved, xp) for _ in range(2))
        self._sigmoid(saved, s, z, xp)
        _bound(saved, -LIMIT, LIMIT, z, xp)
        xp.subtract(1, s, out=out)
        xp.multiply(out, z, out=out)
        xp.add(out, 1, out=out)
        xp.multiply(out, s, out=out)
        xp.multiply(out, dy, out=out)

    @staticmethod
    def _sigmoid(z: Array, out: Array, scratch: Array, xp: ModuleType) -> None:
        """Write sigmoid(z) to `out`, and 0 where exp(-z) would overflow."""
        sigmoid(z, out, xp)
        xp.greater(z, -_exp_limit(z), out=scratch)
        xp.multiply(out, scratch, out=out)


class GELU(ActivationFunction):
    """f(z) = z·Φ(z) with the normal distribution Φ(z) = (1 + erf(z/√2)) / 2; f' = Φ(z) + z·exp(-z²/2)/√(2π).

    Hendrycks and Gimpel 2016.

    Example:
        >>> gn.GELU()(np.array([-1.0, 0.0, 2.0])).round(2)
        array([-0.16,  0.  ,  1.95])
    """

    name = "gelu"
    saves = "input"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        phi, square, ratio = (empty_like(tape, z, xp) for _ in range(3))
        _normal_distribution(z, phi, square, ratio, xp)
        _bound(z, -LIMIT, math.inf, square, xp)
        xp.multiply(square, phi, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        phi, z = (empty_like(tape, saved, xp) for _ in range(2))
        _normal_distribution(saved, phi, out, z, xp)
        _bound(saved, -LIMIT, LIMIT, z, xp)
        xp.multiply(z, z, out=out)
        xp.multiply(out, -0.5, out=out)
        xp.exp(out, out=out)
        xp.multiply(out, INV_SQRT_2PI, out=out)
        xp.multiply(out, z, out=out)
        xp.add(out, phi, out=out)
        xp.multiply(out, dy, out=out)


class GELUTanh(ActivationFunction):
    """The tanh form of GELU: f(z) = z·(1 + t)/2, t = tanh(√(2/π)·(z + 0.044715·z³)) (Hendrycks and Gimpel 2016).

    f' = (1 + t)/2 + z·(1 - t²)/2 · √(2/π)·(1 + 3·0.044715·z²)

    Example:
        >>> gn.GELUTanh()(np.array([-1.0, 0.0, 2.0])).round(2)
        array([-0.16,  0.  ,  1.95])
    """

    name = "gelu_tanh"
    saves = "input"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        t, bounded = (empty_like(tape, z, xp) for _ in range(2))
        _bound(z, -LIMIT, LIMIT, bounded, xp)
        self._tanh(bounded, t, xp)
        xp.add(t, 1, out=t)
        xp.multiply(t, 0.5, out=t)
        _bound(z, -LIMIT, math.inf, bounded, xp)
        xp.multiply(bounded, t, out=out)

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        t, slope, z = (empty_like(tape, saved, xp) for _ in range(3))
        _bound(saved, -LIMIT, LIMIT, z, xp)
        self._tanh(z, t, xp)
        xp.multiply(z, z, out=slope)
        xp.multiply(slope, 3 * 0.044715 * SQRT_2_OVER_PI, out=slope)
        xp.add(slope, SQRT_2_OVER_PI, out=slope)
        xp.multiply(slope, z, out=slope)
        xp.multiply(t, t, out=out)
        xp.subtract(1, out, out=out)
        xp.multiply(out, slope, out=out)
        xp.add(out, t, out=out)
        xp.add(out, 1, out=out)
        xp.multiply(out, 0.5, out=out)
        xp.multiply(out, dy, out=out)

    @staticmethod
    def _tanh(z: Array, out: Array, xp: ModuleType) -> None:
        xp.multiply(z, z, out=out)
        xp.multiply(out, 0.044715, out=out)
        xp.add(out, 1, out=out)
        xp.multiply(out, z, out=out)
        xp.multiply(out, SQRT_2_OVER_PI, out=out)
        xp.tanh(out, out=out)


class CustomActivation(ActivationFunction):
    """A user-defined elementwise function; a model with one cannot be written to a file.

    Args:
        function: z -> f(z), in array code that keeps shape and dtype.
        derivative: z -> f'(z), as `function`.
        cuda: f and f' as CUDA expressions in z of type T, such as ("z * z", "2 * tanh(z)"), which are compiled into the
            kernels. Without them the function runs as array code.

    Example:
        >>> square = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z)
        >>> square(np.array([3.0, -2.0]))
        array([9., 4.])
    """

    name = "custom"
    saves = "input"

    def __init__(
        self,
        function: Callable[[Array], Array],
        derivative: Callable[[Array], Array],
        cuda: tuple[str, str] | None = None,
    ):
        self.function = function
        self.derivative = derivative
        self.cuda = cuda

    @property
    def is_own_code(self) -> bool:
        return False

    @property
    def parameter(self) -> float:
        """0, because the expressions contain their constants."""
        return 0.0

    def cuda_options(self) -> dict[str, Any] | None:
        if self.cuda is None:
            return None
        forward, backward = self.cuda
        return {"ACTIVATION": "custom", "USER_FORWARD": forward, "USER_BACKWARD": backward}

    def cpu_options(self) -> dict[str, Any] | None:
        options = self.cuda_options()
        if options is None:
            return None
        flags = tuple(f"-D{name}={value}" for name, value in {"REAL": "float", **options}.items())
        try:
            native.library(kernels_path() / "cpu" / "bias_activation.cpp", flags)
        except CompileError as error:
            warnings.warn(
                f"{self!r}: its CUDA expressions do not compile as C++, so it runs with NumPy on the CPU:\n{error}",
                GpunetWarning,
                stacklevel=1,  # always the same line, so that Python shows it once
            )
            return None
        return options

    def __repr__(self) -> str:
        names = (getattr(function, "__name__", repr(function)) for function in (self.function, self.derivative))
        return f"CustomActivation({', '.join(names)}{f', cuda={self.cuda}' if self.cuda else ''})"

    def forward(self, z: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.copyto(out, self.function(z))

    def backward(self, dy: Array, saved: Array, out: Array, xp: ModuleType, tape: Tape | None) -> None:
        xp.multiply(dy, self.derivative(saved), out=out)


def sigmoid(z: Array, out: Array, xp: ModuleType) -> None:
    """Write 1 / (1 + exp(-z)) to `out`, which may be `z`, without overflow; it stays above 0 for very negative z."""
    xp.multiply(z, -1, out=out)  # not `negative`, which NumPy 2.4 computes wrongly for strides of 16 bytes
    xp.minimum(out, _exp_limit(z), out=out)
    xp.exp(out, out=out)
    xp.add(out, 1, out=out)
    xp.reciprocal(out, out=out)


def _bound(z: Array, low: float, high: float, out: Array, xp: ModuleType) -> None:
    """Copy z to `out` and clip it there to [low, high]; to clip a non-contiguous z directly would allocate a buffer."""
    xp.copyto(out, z)
    out.clip(low, high, out=out)


def _exp_limit(z: Array) -> float:
    """Return the largest argument whose exp does not overflow in the dtype of `z`, less a margin of 1."""
    return math.log(np.finfo(z.dtype).max) - 1


def _normal_distribution(z: Array, out: Array, square: Array, ratio: Array, xp: ModuleType) -> None:
    """Write Φ(z) to `out`; `square` and `ratio` are scratch, and all arrays are distinct."""
    xp.multiply(z, SQRT_HALF, out=out)
    erf(out, out, square, ratio)
    xp.add(out, 1, out=out)
    xp.multiply(out, 0.5, out=out)


FUNCTIONS: dict[str, type[ActivationFunction]] = {
    f.name: f for f in (Identity, ReLU, LeakyReLU, ELU, GELU, GELUTanh, SELU, SiLU, Sigmoid, SoftClip, Softplus, Tanh)
}


def activation_function(spec: str | Mapping[str, Any] | ActivationFunction | None) -> ActivationFunction:
    """Return the function for a name, the result of `config`, a function itself, or None (the identity)."""
    if isinstance(spec, ActivationFunction):
        return spec
    parameters = dict(spec) if isinstance(spec, Mapping) else {"name": spec or "identity"}
    name = parameters.pop("name")
    if name not in FUNCTIONS:
        raise ArgumentError(
            f"unknown activation {name!r}; use one of {', '.join(FUNCTIONS)}, or an ActivationFunction."
        )
    return FUNCTIONS[name](**parameters)
