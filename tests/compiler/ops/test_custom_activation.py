"""The CUDA expressions of a custom activation: they may call CUDA's math functions, on every device."""

import math
import re
import warnings

import numpy as np
import pytest
from compiler.kernels.cubins import compile_cubin

import gpunet as gn
from gpunet import native
from gpunet.bench.nvrtc import is_available
from gpunet.cuda import CTYPES, read_source
from gpunet.device import kernels_path
from gpunet.errors import CompileError
from gpunet.ops._bias_activation import CPU_FORWARD
from gpunet.ops.activations import FUNCTIONS
from gpunet.recording import recording

DTYPES = [np.float32, np.float64]
Z = np.linspace(-4, 4, 27).reshape(3, 9)

erf, erfc = np.vectorize(math.erf), np.vectorize(math.erfc)

IN_T = {  # functions that are there for float and double
    "tanh(z) + exp(-z * z) + expm1(z)": lambda z: np.tanh(z) + np.exp(-z * z) + np.expm1(z),
    "log(z * z + 1) + log1p(exp(z))": lambda z: np.log(z * z + 1) + np.log1p(np.exp(z)),
    "erf(z) + erfc(z) * sqrt(fabs(z)) + abs(z)": lambda z: erf(z) + erfc(z) * np.sqrt(np.abs(z)) + np.abs(z),
    "max(z, T(0)) + 2 * fmax(z, T(1))": lambda z: np.maximum(z, 0) + 2 * np.maximum(z, 1),
    "min(z, T(0)) + 2 * fmin(z, T(1))": lambda z: np.minimum(z, 0) + 2 * np.minimum(z, 1),
    "sin(z) * cos(z) + sinh(z) / cosh(z)": lambda z: np.sin(z) * np.cos(z) + np.tanh(z),
    "atan(z) + asinh(z) + cbrt(z)": lambda z: np.arctan(z) + np.arcsinh(z) + np.cbrt(z),
    "pow(fabs(z), T(1.5)) + exp2(z)": lambda z: np.abs(z) ** 1.5 + np.exp2(z),
    "rsqrt(z * z + 1) + normcdf(z)": lambda z: 1 / np.sqrt(z * z + 1) + erfc(-z / math.sqrt(2)) / 2,
    "fma(z, z, floor(z)) + copysign(T(1), z)": lambda z: z * z + np.floor(z) + np.copysign(1, z),
    "(isnan(z) || isinf(z) || !isfinite(z) ? T(1) : z)": lambda z: z,
}
IN_FLOAT = {  # functions that are there for float alone
    "tanhf(z) + expf(-fabsf(z)) + expm1f(z)": lambda z: np.tanh(z) + np.exp(-np.abs(z)) + np.expm1(z),
    "logf(sqrtf(z * z + 1)) + log1pf(z * z)": lambda z: 1.5 * np.log(z * z + 1),
    "fmaxf(z, 0.0f) + 2 * fminf(z, 1.0f)": lambda z: np.maximum(z, 0) + 2 * np.minimum(z, 1),
    "rsqrtf(z * z + 1) + erff(z) + normcdff(z)": lambda z: (
        1 / np.sqrt(z * z + 1) + erf(z) + erfc(-z / math.sqrt(2)) / 2
    ),
    "__fdividef(z, 1.0f + __expf(-z)) + __saturatef(z)": lambda z: z / (1 + np.exp(-z)) + np.clip(z, 0, 1),
    "powf(fabsf(z), 1.5f) + __logf(z * z + 1) + __powf(fabsf(z), 2.0f)": lambda z: (
        np.abs(z) ** 1.5 + np.log(z * z + 1) + z * z
    ),
}
SEVERAL = [(IN_T, np.float32), (IN_T, np.float64), (IN_FLOAT, np.float32)]
NAMES_OF_OUR_OWN = sorted({*FUNCTIONS, "logistic", "custom"} - {"tanh"})

with_all_functions = pytest.mark.parametrize(
    ("functions", "dtype"), SEVERAL, ids=["in T, float", "in T, double", "in float"]
)


def own(*codes):
    """Return a function whose values are the sums of the expressions, the k-th of them times k."""
    code = " + ".join(f"{k} * ({code})" for k, code in enumerate(codes, 1))
    return gn.CustomActivation(np.copy, np.ones_like, cuda=(code, code))


def assert_equal(y, functions, z):
    expected = sum(k * f(z.astype(np.float64)) for k, f in enumerate(functions.values(), 1))
    np.testing.assert_allclose(y, expected, rtol=0, atol=2 * np.finfo(z.dtype).eps * np.abs(expected).max())


def nvrtc(source, dtype, function):
    options = {"REAL": CTYPES[np.dtype(dtype)], **function.cuda_options()}
    flags = [f"-D{name}={value}" for name, value in options.items()]
    return compile_cubin(read_source(kernels_path() / source), source, "sm_90", flags)


@with_all_functions
def test_an_expression_may_call_cudas_functions_on_the_simulated_gpu(functions, dtype):
    z = Z.astype(dtype)
    y = gn.ops.bias_activation(gn.get_device("sim").asarray(z), None, own(*functions))
    assert_equal(gn.to_host(y), functions, z)


@with_all_functions
def test_an_expression_may_call_cudas_functions_in_the_native_kernels(functions, dtype):
    z, y = Z.astype(dtype), np.empty(Z.shape, dtype)
    with recording(native=True) as nodes:
        CPU_FORWARD(z, None, None, y, *z.shape, 0.0, count=len(z), options=own(*functions).cpu_options())
    native.Program(nodes).run()
    assert_equal(y, functions, z)


@pytest.mark.skipif(not is_available(), reason="NVRTC is not installed: pip install nvidia-cuda-nvrtc-cu12")
class TestOnAGPU:
    @with_all_functions
    def test_an_expression_that_calls_cudas_functions_compiles(self, functions, dtype):
        assert nvrtc("bias_activation.cu", dtype, own(*functions))

    @pytest.mark.parametrize("source", ["matmul_tiled.cu", "linear_backward.cu", "glu.cu", "convolution.cu"])
    @pytest.mark.parametrize("dtype", DTYPES)
    def test_an_expression_compiles_in_every_kernel_that_takes_one(self, source, dtype):
        assert nvrtc(source, dtype, own("tanh(z)"))

    @pytest.mark.parametrize("name", NAMES_OF_OUR_OWN)
    def test_gpunets_own_functions_are_not_visible_in_an_expression(self, name):
        with pytest.raises(CompileError, match=f'identifier "{name}" is undefined'):
            nvrtc("bias_activation.cu", np.float32, own(f"{name}(z)"))


@pytest.mark.parametrize("name", NAMES_OF_OUR_OWN)
def test_gpunets_own_functions_are_not_visible_in_an_expression(name):
    function = own(f"{name}(z)")
    with pytest.raises(CompileError, match=f"'{name}' was not declared"):
        gn.ops.bias_activation(gn.get_device("sim").asarray(np.ones((1, 1), np.float32)), None, function)
    with pytest.warns(UserWarning, match=f"(?s)do not compile as C.*{name}"):
        assert function.cpu_options() is None


def test_an_expression_that_does_not_compile_raises_with_its_errors_only():
    bad = own("z +* 2")
    said = re.escape(f"CustomActivation(…, cuda={bad.cuda}): ")
    with pytest.raises(CompileError, match=f"^{said}.*"):
        gn.ops.bias_activation(gn.get_device("sim").asarray(np.ones((1, 1), np.float32)), None, bad)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("default")
        for _ in range(2):
            assert bad.cpu_options() is None
    assert len(caught) == 1
    assert "error" in str(caught[0].message)
    assert "pragma" not in str(caught[0].message)
