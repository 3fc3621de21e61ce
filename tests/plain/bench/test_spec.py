import numpy as np
import pytest

from gpunet.bench.spec import read_spec
from gpunet.errors import ArgumentError

SPEC = """
import numpy as np
kernel, grid, block = "scale", 2, (16, 4)
def inputs(rng):
    return {"x": rng.standard_normal(3, np.float32), "n": 3}
def reference(x, n):
    x *= 2
    return {"y": x}
"""
BY_CASE = """
kernel, block, cases = "scale", 32, [1, 40]
def grid(n): return (-(-n // 32), 1)
def options(n): return {"TILE": n}
def shared(n): return 4 * n
def inputs(rng, n): return {"n": n}
def reference(n): return {"y": [n]}
"""


@pytest.fixture
def spec(tmp_path):
    def write(text):
        (tmp_path / "spec.py").write_text(text, encoding="utf-8")
        return tmp_path / "spec.py"

    return write


def test_a_spec_without_cases_is_one_launch(spec):
    (case,) = read_spec(spec(SPEC))
    assert (case.label, case.kernel, case.grid, case.block) == ("", "scale", (2,), (16, 4))
    assert (case.options, case.shared, case.cooperative, case.rtol, case.atol) == ({}, 0, False, None, None)


def test_the_reference_gets_copies_in_double_precision(spec):
    (case,) = read_spec(spec(SPEC))
    x = np.random.default_rng(0).standard_normal(3, np.float32)
    np.testing.assert_array_equal(case.inputs["x"], x)
    assert case.inputs["x"].dtype == np.float32
    assert case.expected["y"].dtype == np.float64
    np.testing.assert_array_equal(case.expected["y"], 2 * x.astype(np.float64))


def test_functions_are_called_with_the_case(spec):
    cases = read_spec(spec(BY_CASE))
    assert [case.label for case in cases] == ["case 1", "case 40"]
    assert [case.grid for case in cases] == [(1, 1), (2, 1)]
    assert [case.options["TILE"] for case in cases] == [1, 40]
    assert [case.shared for case in cases] == [4, 160]
    assert cases[1].expected["y"] == [40]


@pytest.mark.parametrize(
    ("right", "wrong", "message"),
    [
        ("kernel, grid", "kernel, grd", r"spec.py: grid is missing; a spec needs kernel, grid, block, inputs, ref"),
        ("2, (16, 4)", "0, 1", r"grid must be one to three whole numbers of at least 1, got 0"),
        ("2, (16, 4)", "2, (1, 1, 1, 1)", r"block must be one to three whole numbers"),
        ("2, (16, 4)", "2.5, 1", r"grid must be"),
        ("x *= 2", "x *= nothing", r"spec.py:7: NameError: name 'nothing' is not defined"),
        ("x *= 2", "x *= (", r"spec.py:7: SyntaxError"),
        (
            "reference(x, n)",
            "reference(x, m)",
            r"spec.py: reference\(\) got an unexpected .* 'n'; reference receives everything that inputs returns, by "
            r"name: write reference\(x, n\), or change inputs\.$",
        ),
        ("reference(x, n)", "reference(x, n, m)", r"reference\(\) missing .* 'm'; .* write reference\(x, n\)"),
        ("inputs(rng)", "inputs(rng, n)", r"inputs\(\) missing .* 'n'; the spec has no `cases`\.$"),
        ("x *= 2", "x *= len(3)", r"spec.py:7: TypeError: object of type"),
        ("x *= 2", "raise SystemExit", r"spec.py:7: SystemExit"),
        ("def inputs", "rtol = '1e-3'\ndef inputs", "spec.py: rtol must be a number, got '1e-3'"),
        ("def inputs", "atol = -1.0\ndef inputs", r"spec.py: atol must lie in \[0, inf\), got -1.0"),
        ('return {"y": x}', "return x", r"reference must return a dict by the kernel's parameters, got ndarray"),
    ],
)
def test_an_invalid_spec_is_an_error_with_its_place(spec, right, wrong, message):
    assert right in SPEC
    with pytest.raises(ArgumentError, match=message):
        read_spec(spec(SPEC.replace(right, wrong)))


def test_a_misspelt_name_of_the_cases_is_recognized(spec):
    for name in ("case", "Cases"):
        with pytest.raises(ArgumentError, match=rf"the spec has no `cases`; did you write `{name}` for it\?$"):
            read_spec(spec(BY_CASE.replace("cases", name)))


def test_a_function_that_does_not_take_the_case_is_an_error(spec):
    with pytest.raises(ArgumentError, match=r"grid\(\) takes 0 .*; inputs receives .* the other functions the case\."):
        read_spec(spec(BY_CASE.replace("grid(n): return (-(-n // 32), 1)", "grid(): return 1")))


def test_inputs_must_be_a_function(spec):
    with pytest.raises(ArgumentError, match=r"inputs must be a function"):
        read_spec(spec(SPEC + "inputs = {}"))


def test_a_spec_with_an_empty_list_of_cases_is_an_error(spec):
    with pytest.raises(ArgumentError, match=r"spec.py: cases is empty"):
        read_spec(spec(BY_CASE.replace("[1, 40]", "[]")))
