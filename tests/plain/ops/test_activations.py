"""The activation functions, compared with textbook formulas and finite differences, and for extreme arguments."""

import math

import numpy as np
import pytest
from activation_limits import LIMITS, assert_limits, points, slopes, values
from gradcheck import directional_error
from numpy.testing import assert_array_equal

import gpunet as gn
from gpunet.errors import ArgumentError, DTypeError, ShapeError
from gpunet.ops import activation_backward
from gpunet.ops.activations import FUNCTIONS, activation_function


def sigmoid(z):
    return math.exp(min(z, 0.0)) / (1 + math.exp(-abs(z)))


TEXTBOOK = {
    gn.Identity(): lambda z: z,
    gn.ReLU(): lambda z: max(z, 0.0),
    gn.LeakyReLU(0.25): lambda z: z if z > 0 else 0.25 * z,
    gn.LeakyReLU(0): lambda z: max(z, 0.0),
    gn.ELU(1.5): lambda z: z if z > 0 else 1.5 * math.expm1(z),
    gn.GELU(): lambda z: z * math.erfc(-z / math.sqrt(2)) / 2,
    gn.GELUTanh(): lambda z: z * sigmoid(2 * math.sqrt(2 / math.pi) * (z + 0.044715 * z**3)),
    gn.SELU(): lambda z: 1.0507009873554805 * (z if z > 0 else 1.6732632423543772 * math.expm1(z)),
    gn.SiLU(): lambda z: z * sigmoid(z),
    gn.Sigmoid(): sigmoid,
    gn.Tanh(): math.tanh,
    gn.SoftClip(1.0): lambda z: z / math.hypot(1, z),
    gn.Softplus(): lambda z: max(z, 0.0) + math.log1p(math.exp(-abs(z))),
}


@pytest.fixture(params=TEXTBOOK, ids=repr)
def function(request):
    return request.param


def read_only(*values, dtype=np.float64):
    a = np.array(values, dtype)
    a.flags.writeable = False
    return a


def derivative(function, z):
    saved = z if function.saves == "input" else function(z)
    return activation_backward(np.ones_like(z), saved, function)


def test_the_tables_hold_every_function():
    assert {f.name for f in TEXTBOOK} == {f.name for f in LIMITS} == set(FUNCTIONS)


@pytest.mark.parametrize(("dtype", "tolerance"), [(np.float32, 2e-7), (np.float64, 1e-12)])
def test_values_match_the_formula(function, dtype, tolerance):
    z = read_only(*np.linspace(-20, 20, 4001), -1000, 1000, 0.0, -0.0, 1e-30, -1e-30, dtype=dtype)
    y = function(z)
    expected = np.array([TEXTBOOK[function](float(v)) for v in z])
    assert y.dtype == dtype
    assert (np.abs(y - expected) <= tolerance * np.maximum(1, np.abs(z))).all()


def test_derivative_matches_finite_differences(function):
    rng = np.random.default_rng(0)
    z, dy = 3 * rng.standard_normal((2, 7, 5))
    saved = z if function.saves == "input" else function(z)
    dz = activation_backward(dy, saved, function)
    assert directional_error(lambda z: float((dy * function(z)).sum()), [z], [dz]) < 1e-8


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_far_from_zero_the_derivative_is_its_limit(function, dtype):
    far = 1e9 if function.name == "soft_clip" else 1  # it nears its limits as a power does, not as exp
    found = derivative(function, read_only(*(z * far for z in (-1000, -100, 100, 1000)), dtype=dtype))
    assert_limits(found, slopes(function, dtype)[0, [0, 0, -1, -1]])


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_infinite_huge_and_zero_arguments_give_the_limits_and_nan_stays_nan(function, dtype):
    z = points(dtype)
    assert_limits(function(z), values(function, dtype))
    assert_limits(derivative(function, z[:, :-1]), slopes(function, dtype))


@pytest.mark.parametrize("z", [-3e38, -math.inf])
def test_silu_of_very_negative_numbers_is_exactly_zero(z):
    assert gn.SiLU()(read_only(z, dtype=np.float32)) == 0
    assert derivative(gn.SiLU(), read_only(z, dtype=np.float32)) == 0


@pytest.mark.parametrize(
    ("function", "at_zero"), [(gn.ReLU(), 0), (gn.LeakyReLU(0.2), 0.2), (gn.ELU(1.5), 1.5)], ids=repr
)
def test_derivative_at_a_kink_is_that_of_its_left_side_as_in_pytorch(function, at_zero):
    assert_array_equal(derivative(function, read_only(0.0, -0.0)), [at_zero, at_zero])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relu_backward_has_the_bits_of_dy_times_the_mask(dtype):
    special = np.array([-np.inf, -1, -0.0, 0, 1, np.inf, np.nan], dtype)
    dy, saved = np.repeat(special, len(special)), np.tile(special, len(special))
    with np.errstate(invalid="ignore"):  # infinity times zero
        expected, dz = dy * (saved > 0), activation_backward(dy, saved, "relu")
    assert dz.tobytes() == expected.tobytes()


def test_forward_works_in_place_and_otherwise_keeps_its_input(function):
    z = read_only(*np.linspace(-3, 3, 50))
    in_place = z.copy()
    function.forward(in_place, in_place, np, None)
    assert_array_equal(in_place, function(z))


def test_backward_keeps_its_inputs_and_any_memory_layout_gives_the_same(function):
    rng = np.random.default_rng(0)
    dy, z = rng.standard_normal((2, 6, 4))
    saved = z if function.saves == "input" else function(z)
    expected = activation_backward(dy, saved, function)
    for change in (np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], lambda a: a[::-1].copy()[::-1]):
        a, b = change(dy), change(saved)
        a.flags.writeable = b.flags.writeable = False
        assert_array_equal(activation_backward(a, b, function), expected)


@pytest.mark.parametrize("step", [4, 8, -4])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_strided_arrays_give_the_same_also_in_place(function, dtype, step):
    def apart(a):
        view = np.zeros(a.size * abs(step), dtype)[::step]
        view[...] = a
        return view

    z, dy = np.random.default_rng(0).standard_normal((2, 9)).astype(dtype)
    saved = z if function.saves == "input" else function(z)
    y, dz = function(z), activation_backward(dy, saved, function)
    z, out = apart(z), apart(dy)
    assert_array_equal(function(z), y)
    function.forward(z, z, np, None)
    function.backward(dy, apart(saved), out, np, None)
    assert_array_equal(z, y)
    assert_array_equal(out, dz)


def test_an_empty_array_gives_an_empty_array(function):
    assert function(np.empty((0, 3))).shape == derivative(function, np.empty((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("bad", [np.array([1, 2]), np.array([1 + 2j]), np.array([1.0], np.float16)], ids=str)
def test_only_float32_and_float64_are_supported(function, bad):
    with pytest.raises(DTypeError, match="use float32 or float64"):
        function(bad)


def test_backward_rejects_shapes_that_differ_from_the_output():
    with pytest.raises(ShapeError, match=r"relu backward: dy has shape \(2,\), saved \(3,\); they must be equal"):
        activation_backward(np.ones(2), np.ones(3), "relu")
    with pytest.raises(ShapeError, match="saved None"):
        activation_backward(np.ones(2), None, "relu")


def test_activation_function_accepts_a_name_a_configuration_and_a_function(function):
    assert activation_function(function) is function
    assert activation_function(function.config()) == function
    assert type(activation_function(function.name)) is type(function)
    assert activation_function(None) == gn.Identity()


def test_an_unknown_name_raises_with_the_list_of_names():
    with pytest.raises(ArgumentError, match="unknown activation 'rélu'; use one of identity, relu, leaky_relu"):
        activation_function("rélu")


@pytest.mark.parametrize("slope", [-0.1, 1.1, math.nan])
def test_a_slope_out_of_range_raises(slope):
    with pytest.raises(ArgumentError, match="negative_slope"):
        gn.LeakyReLU(slope)


@pytest.mark.parametrize("alpha", [0, -1, math.inf, math.nan])
def test_an_alpha_out_of_range_raises(alpha):
    with pytest.raises(ArgumentError, match="alpha"):
        gn.ELU(alpha)


def test_functions_with_equal_parameters_are_equal():
    assert gn.LeakyReLU(0.1) == gn.LeakyReLU(0.1) != gn.LeakyReLU(0.2)
    assert gn.ReLU() != gn.Tanh()
    assert len({gn.ELU(2.0), gn.ELU(2.0), gn.ELU()}) == 2


class TestCustomActivation:
    square = gn.CustomActivation(lambda z: z * z, lambda z: 2 * z)

    @pytest.mark.parametrize("dtype", [np.float32, np.float64])
    def test_it_is_the_pair_of_functions(self, dtype):
        z = read_only(-3, 0, 2, dtype=dtype)
        y = self.square(z)
        assert y.dtype == dtype
        assert_array_equal(y, [9, 0, 4])
        assert_array_equal(derivative(self.square, z), [-6, 0, 4])

    def test_it_may_write_over_its_input(self):
        z = np.array([-3.0, 2.0])
        self.square.forward(z, z, np, None)
        assert_array_equal(z, [9, 4])

    def test_a_wrong_derivative_fails_the_check_of_gradients(self):
        z = np.random.default_rng(0).standard_normal(9)
        wrong = gn.CustomActivation(lambda z: z * z, lambda z: z)
        for function, passes in ((self.square, True), (wrong, False)):
            dz = activation_backward(np.ones_like(z), z, function)
            assert (directional_error(lambda z: float((z * z).sum()), [z], [dz]) < 1e-8) is passes

    def test_a_function_of_your_own_cannot_go_into_a_file(self):
        class Twice(gn.ReLU):
            """Has the name of another function, which must not be saved in its place."""

        for function in (self.square, Twice()):
            with pytest.raises(ArgumentError, match="cannot be saved"):
                function.config()
