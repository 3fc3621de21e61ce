"""What type checkers see: arrays where gpunet returns them, and examples without a type error."""

import re
from pathlib import Path

import pytest
from mypy import api

import gpunet

PACKAGE = Path(gpunet.__file__).parent
REVEALED = ("model(x)", "model.forward(x)", "model.predict(x)", "gn.data.digits().X")
SNIPPET = f"""
import numpy as np

import gpunet as gn

model = gn.MLP([4, 8, 3])
x = np.zeros((2, 4), np.float32)
{"".join(f"reveal_type({expression}){chr(10)}" for expression in REVEALED)}
"""


@pytest.fixture(scope="module")
def checked(tmp_path_factory):
    """Return mypy's report and its exit status for the examples and the snippet, checked as a user's strict code."""
    folder = tmp_path_factory.mktemp("mypy")
    snippet = folder / "snippet.py"
    snippet.write_text(SNIPPET)
    strict = ["--strict", "--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MYPYPATH", str(PACKAGE.parent))
        report, _, status = api.run([*strict, f"--cache-dir={folder}", str(snippet), str(PACKAGE / "examples")])
    return report, status


def test_the_examples_have_no_type_errors(checked):
    report, status = checked
    assert status == 0, report


def test_results_are_arrays_to_a_type_checker(checked):
    revealed = re.findall(r'Revealed type is "([^"[]*)', checked[0])
    assert revealed == ["numpy.ndarray"] * len(REVEALED)
