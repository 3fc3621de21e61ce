"""The math functions of the native CPU kernels compared with the long double functions of the C++ library.

`math_driver.cpp` contains a loop for each function and type, and the references.
"""

import ctypes
import functools
import re
import subprocess
from pathlib import Path

import numpy as np
import pytest

from gpunet.device import kernels_path
from gpunet.simulator.compiler import find_compiler

DRIVER = Path(__file__).with_name("math_driver.cpp")
HEADER = Path(kernels_path()) / "cpu" / "math.h"
FLAGS = ("-std=c++17", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-fPIC", "-shared")
TARGETS = {"native": ("-O3", "-march=native"), "baseline": ("-O3",)}

NAMES = ("exp", "expm1", "log", "log1p", "tanh", "erf", "sqrt", "abs")
BOUNDS = {np.float32: 2.0, np.float64: 4.0}  # in ulps
C_TYPES = {np.float32: "float", np.float64: "double"}

INF, NAN, HUGE = np.inf, np.nan, 1000.0
# (argument, result); NaN gives NaN in all functions.
SPECIAL_VALUES = {
    "exp": [(-INF, 0.0), (-HUGE, 0.0), (-0.0, 1.0), (0.0, 1.0), (HUGE, INF), (INF, INF)],
    "expm1": [(-INF, -1.0), (-HUGE, -1.0), (-0.0, -0.0), (0.0, 0.0), (HUGE, INF), (INF, INF)],
    "log": [(-INF, NAN), (-1.0, NAN), (-0.0, -INF), (0.0, -INF), (1.0, 0.0), (INF, INF)],
    "log1p": [(-INF, NAN), (-2.0, NAN), (-1.0, -INF), (-0.0, -0.0), (0.0, 0.0), (INF, INF)],
    "tanh": [(-INF, -1.0), (-HUGE, -1.0), (-0.0, -0.0), (0.0, 0.0), (HUGE, 1.0), (INF, 1.0)],
    "erf": [(-INF, -1.0), (-HUGE, -1.0), (-0.0, -0.0), (0.0, 0.0), (HUGE, 1.0), (INF, 1.0)],
    "sqrt": [(-INF, NAN), (-1.0, NAN), (-0.0, -0.0), (0.0, 0.0), (4.0, 2.0), (INF, INF)],
    "abs": [(-INF, INF), (-1.0, 1.0), (-0.0, 0.0), (0.0, 0.0), (1.0, 1.0), (INF, INF)],
}

# Text of the header, its replacement, and the function and type that are wrong then.
FAULTS = [
    ("0.16666539f", "0.16667539f", "exp", np.float32),
    ("0.16666666666666588", "0.16666666666676588", "exp", np.float64),
    ("0.0416677445f", "0.0417677445f", "expm1", np.float32),
    ("0.399775773f", "0.400775773f", "log", np.float32),
    ("0.39999999999409314", "0.40000000000409314", "log1p", np.float64),
    ("-0.37612626f", "-0.37612726f", "erf", np.float32),
    ("-1.1283740895834458", "-1.1283740895854458", "erf", np.float64),
    ("LN2_LOW = 0x1.7f7d1cp-20f", "LN2_LOW = 0", "tanh", np.float32),
    ("ERF_MAX = 6;", "ERF_MAX = 5;", "erf", np.float64),
    ("x < F::MIN_NORMAL", "x < Real(0)", "log", np.float32),
    ("abs(x) < TINY ? x : y", "y", "expm1", np.float64),
    ("lost * reciprocal", "Real(0)", "log1p", np.float32),
    ("return with_sign(numerator / denominator, x)", "return numerator / denominator", "tanh", np.float64),
    ("x < infinity ? y : x", "y", "log", np.float64),
]


def compile_driver(folder, *flags, header=HEADER):
    """Return the driver as a library, and the compiler's report of the vectorized loops."""
    path = folder / "math.so"
    files = f"-I{header.parent}", str(DRIVER), "-o", str(path)
    command = [find_compiler().path, *FLAGS, *flags, "-fopt-info-vec-optimized", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return ctypes.CDLL(str(path)), done.stderr


@pytest.fixture(scope="module", params=TARGETS)
def compiled(request, tmp_path_factory):
    return compile_driver(tmp_path_factory.mktemp(request.param), *TARGETS[request.param])


@pytest.fixture
def library(compiled):
    return compiled[0]


def call(function, *arrays):
    function(*(ctypes.c_void_p(a.ctypes.data) for a in arrays), ctypes.c_long(arrays[0].size))


def results(library, name, x):
    y = np.full_like(x, NAN)
    call(getattr(library, f"{name}_{C_TYPES[x.dtype.type]}"), x, y)
    return y


def reference(library, name, x):
    """Return f(x) as two float64: the nearest one and the remainder."""
    with np.errstate(invalid="ignore"):  # a signalling NaN
        x = x.astype(np.float64)
    high, low = np.empty_like(x), np.empty_like(x)
    call(getattr(library, f"{name}_reference"), x, high, low)
    return high, low


@functools.cache
def inputs(dtype):
    """Return numbers of every sign and exponent, infinities, NaN, and more numbers near 0 and 1."""
    rng, info, unsigned = np.random.default_rng(0), np.finfo(dtype), np.dtype(f"u{np.dtype(dtype).itemsize}")
    signs_and_exponents = np.arange(2 << info.iexp, dtype=unsigned) << unsigned.type(info.nmant)
    count = 2**15 // signs_and_exponents.size
    mantissas = rng.integers(1 << info.nmant, size=count, dtype=unsigned)
    mantissas[:3] = 0, 1, (1 << info.nmant) - 1
    every = np.bitwise_or.outer(signs_and_exponents, mantissas).ravel().view(dtype)
    ends_of_exp = np.log(info.tiny) * 1.2, np.log(info.max) * 1.1
    ranges = [(-0.5, 0.5), (0.5, 1.5), (-2, 2), (-10, 10), ends_of_exp]
    return np.concatenate([every, *(rng.uniform(*ends, 2**13).astype(dtype) for ends in ranges)])


def ulp(expected, dtype):
    """Return the unit in the last place of a type at the exact results."""
    info = np.finfo(dtype)
    return np.ldexp(1.0, np.maximum(np.frexp(expected)[1] - 1, info.minexp) - info.nmant)


def check(y, name, high, low):
    """Compare results with the exact ones: error in ulps, signs (also of zero), infinities and NaN."""
    dtype = y.dtype.type
    with np.errstate(over="ignore", invalid="ignore"):
        expected = high.astype(dtype)
    number = ~np.isnan(expected)
    np.testing.assert_array_equal(np.isnan(y), ~number, f"{name}: NaN")
    np.testing.assert_array_equal(np.signbit(y[number]), np.signbit(expected[number]), f"{name}: signs")
    finite = np.isfinite(expected)
    np.testing.assert_array_equal(y[number & ~finite], expected[number & ~finite], f"{name}: infinities")
    y, high, low = y[finite].astype(np.float64), high[finite], low[finite]
    errors = np.abs((y - high) - low) / ulp(high, dtype)
    assert errors.max() <= BOUNDS[dtype], f"{name}: {errors.max()} ulp"


@pytest.fixture(scope="module")
def exact(tmp_path_factory):
    """Return the exact results of a function for `inputs`, cached."""
    library, _ = compile_driver(tmp_path_factory.mktemp("exact"), *TARGETS["baseline"])
    return functools.cache(lambda name, dtype: reference(library, name, inputs(dtype)))


@pytest.mark.parametrize("dtype", BOUNDS, ids=C_TYPES.get)
@pytest.mark.parametrize("name", NAMES)
def test_a_function_is_within_its_bound_at_every_exponent(library, exact, name, dtype):
    check(results(library, name, inputs(dtype)), name, *exact(name, dtype))


@pytest.mark.parametrize("dtype", BOUNDS, ids=C_TYPES.get)
@pytest.mark.parametrize("name", NAMES)
def test_special_values_have_the_results_of_numpy(library, name, dtype):
    x, expected = np.array([*SPECIAL_VALUES[name], (NAN, NAN)], dtype).T.copy()
    with np.errstate(all="ignore"):
        of_numpy = getattr(np, name)(x) if hasattr(np, name) else expected  # NumPy has no erf
    for y in (of_numpy, results(library, name, x)):
        np.testing.assert_array_equal(y, expected)
        np.testing.assert_array_equal(np.signbit(y)[expected == 0], np.signbit(expected)[expected == 0])


@pytest.mark.parametrize("dtype", BOUNDS, ids=C_TYPES.get)
@pytest.mark.parametrize("name", NAMES)
def test_a_result_does_not_depend_on_its_index(library, name, dtype):
    x = np.random.default_rng(1).uniform(0.1, 5, 70).astype(dtype)
    y = results(library, name, x)
    for first in range(70):
        np.testing.assert_array_equal(results(library, name, x[first : first + 37].copy()), y[first : first + 37])


def test_every_loop_is_vectorized(compiled):
    lines = DRIVER.read_text().splitlines()
    vectorized = {lines[int(n) - 1] for n in re.findall(r"math_driver\.cpp:(\d+):.*loop vectorized", compiled[1])}
    assert vectorized == {f"LOOP({name}, {c_type})" for name in NAMES for c_type in C_TYPES.values()}


@pytest.mark.parametrize(("old", "new", "name", "dtype"), FAULTS, ids=[fault[0] for fault in FAULTS])
def test_a_planted_fault_is_found(exact, tmp_path, old, new, name, dtype):
    header = HEADER.read_text()
    assert header.count(old) == 1
    wrong = tmp_path / "math.h"
    wrong.write_text(header.replace(old, new))
    flags = "-O1", f"-DONE_FUNCTION={name}", f"-DONE_TYPE={C_TYPES[dtype]}"
    library, _ = compile_driver(tmp_path, *flags, header=wrong)
    with pytest.raises(AssertionError, match=name):
        check(results(library, name, inputs(dtype)), name, *exact(name, dtype))
