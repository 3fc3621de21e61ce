"""What type checkers see: arrays where gpunet returns them, and examples without a type error."""

import re
from pathlib import Path

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


def test_results_are_arrays_and_examples_have_no_type_errors(tmp_path_factory, monkeypatch):
    folder = tmp_path_factory.mktemp("mypy")
    snippet = folder / "snippet.py"
    snippet.write_text(SNIPPET)
    monkeypatch.setenv("MYPYPATH", str(PACKAGE.parent))
    as_user = ["--strict", "--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
    report, _, status = api.run([*as_user, f"--cache-dir={folder}", str(snippet), str(PACKAGE / "examples")])
    assert status == 0, report
    revealed = re.findall(r'Revealed type is "([^"[]*)', report)
    assert revealed == ["numpy.ndarray"] * len(REVEALED)
