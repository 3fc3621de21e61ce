"""Every name and parameter of the simulator exists in CuPy. See `cupy_signatures.py`."""

import cupy_signatures
import pytest
from cupy_signatures import TABLE, find, names, signature

from gpunet import simulator

LINES = TABLE.read_text(encoding="utf-8").splitlines()
CUPY = {line.split("(")[0]: line[len(line.split("(")[0]) :] for line in LINES}


def split(parameters):
    """Return the positional parameters and those that can be passed by name."""
    words = parameters.strip("()").split()
    cut = words.index("*") if "*" in words else len(words)
    positional = [word.rstrip("=") for word in words[:cut] if word != "/"]
    by_name = words[words.index("/") + 1 :] if "/" in words else words
    return positional, {word.rstrip("=") for word in by_name if word != "*"}


def is_part_of(ours, theirs):
    """Return whether every valid call of the simulator's function is valid in CuPy."""
    if not ours or not theirs:
        return ours == theirs  # values, not functions
    (positional, by_name), (cupys, cupys_by_name) = split(ours), split(theirs)
    in_order = positional == cupys[: len(positional)] or "*args" in cupys
    return in_order and (by_name <= cupys_by_name or "**kwargs" in cupys_by_name)


@pytest.mark.parametrize("name", list(names()))
def test_each_name_and_parameter_exists_in_cupy(name):
    assert name in CUPY, "no such name in CuPy 14.2, or the table is old: run python tests/helpers/cupy_signatures.py"
    assert is_part_of(signature(find(simulator, name)), CUPY[name])


@pytest.mark.parametrize(
    ("ours", "theirs"),
    [
        ("(a axis= mode=)", "(a axis= out=)"),  # an additional parameter
        ("(a out= axis=)", "(a axis= out=)"),  # another order
        ("(b axis=)", "(a axis=)"),  # another name
        ("(a)", ""),  # a function where CuPy has a value
        ("", "()"),
        ("(a axis= where=)", "(a / axis= * dtype=)"),
        ("(x axis)", "(x axis / out=)"),  # a positional-only parameter passed by name
    ],
)
def test_the_comparison_detects_a_difference(ours, theirs):
    assert not is_part_of(ours, theirs)


def test_the_table_matches_the_installed_cupy():
    cupy = pytest.importorskip("cupy", reason="CuPy is not installed", exc_type=ImportError)
    if not cupy.__version__.startswith("14.2."):
        pytest.skip(f"the table is that of CuPy 14.2, installed is {cupy.__version__}")
    assert cupy_signatures.table(cupy) == TABLE.read_text(encoding="utf-8")
