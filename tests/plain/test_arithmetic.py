"""The arithmetic in the comments of sources, which is all that is ever evaluated there."""

import pytest

from gpunet.cuda.arithmetic import evaluate, parse_arithmetic

FUNCTIONS = {"ceil_div": lambda a, b: -(-a // b)}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("2 * m * n", 42),
        ("-m + n % 4 - 10 // 3", -3),
        ("(m + 1) * n / 7", 4),
        (" ceil_div(n, 2) * m ", 12),
        ("(ceil_div(n, 2), 1,)", (4, 1)),
    ],
)
def test_whole_numbers_names_and_known_functions_are_evaluated(text, value):
    assert evaluate(parse_arithmetic(text, FUNCTIONS), {"m": 3, "n": 7}, FUNCTIONS) == value


@pytest.mark.parametrize(
    "text",
    [
        "",
        "m.__class__",
        "().__class__.__base__.__subclasses__()",
        "__import__('os')",
        "(lambda: 1)()",
        "[m for m in (1,)]",
        "9**9**9",
        "1 << 10**9",
        "'a' * 9",
        "1.5",
        "m if m else n",
        "f(m)",
        "ceil_div(a=1)",
        "m := 3",
        "ceil_div(*[1, 2])",
        pytest.param("-" * 100_000 + "1", id="many signs"),
        pytest.param("1" + "+1" * 100_000, id="a long sum"),
        pytest.param("(" * 5_000 + "1" + ")" * 5_000, id="many parentheses"),
    ],
)
def test_nothing_else_is(text):
    with pytest.raises(SyntaxError):
        parse_arithmetic(text, FUNCTIONS)


def test_custom_functions_are_kept():
    with pytest.raises(SyntaxError, match="ceil_div"):
        parse_arithmetic("ceil_div(1, 2)")
