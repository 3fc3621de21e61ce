"""What type checkers see: arrays where gpunet returns them, and examples without a type error."""

import json
import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
from mypy import api

import gpunet

PACKAGE = Path(gpunet.__file__).parent
EXAMPLES = PACKAGE / "examples"
REVEALED = ("model(x)", "model.forward(x)", "model.predict(x)", "gn.data.digits().X")
SNIPPET = f"""
import numpy as np

import gpunet as gn

model = gn.MLP([4, 8, 3])
x = np.zeros((2, 4), np.float32)
{"".join(f"reveal_type({expression}){chr(10)}" for expression in REVEALED)}
"""


@pytest.fixture(scope="module")
def snippet(tmp_path_factory):
    """A file of a user, which reveals the types of `REVEALED`."""
    path = tmp_path_factory.mktemp("types") / "snippet.py"
    path.write_text(SNIPPET)
    return path


def test_mypy_sees_arrays_and_no_type_errors_in_the_examples(snippet, monkeypatch):
    monkeypatch.setenv("MYPYPATH", str(PACKAGE.parent))
    as_user = ["--strict", "--config-file=", "--follow-imports=silent", "--ignore-missing-imports"]
    report, _, status = api.run([*as_user, f"--cache-dir={snippet.parent}", str(snippet), str(EXAMPLES)])
    assert status == 0, report
    revealed = re.findall(r'Revealed type is "([^"[]*)', report)
    assert revealed == ["numpy.ndarray"] * len(REVEALED)


@pytest.mark.skipif(find_spec("basedpyright") is None, reason="basedpyright is not installed")
def test_basedpyright_sees_arrays_and_no_type_errors_in_the_examples(snippet):
    settings = {"include": [str(snippet), str(EXAMPLES)], "extraPaths": [str(PACKAGE.parent)]}
    project = snippet.with_name("pyrightconfig.json")
    project.write_text(json.dumps(settings | {"typeCheckingMode": "strict"}))
    command = [sys.executable, "-m", "basedpyright", "--outputjson", "--pythonpath", sys.executable, "-p", project]
    result = subprocess.run(command, env=os.environ | {"PYTHONUTF8": "1"}, capture_output=True, encoding="utf-8")
    found = json.loads(result.stdout)["generalDiagnostics"]
    assert [entry for entry in found if entry["severity"] != "information"] == []
    revealed = [re.sub(r'^Type of "(.*)" is "(\w+).*', r"\1: \2", entry["message"]) for entry in found]
    assert revealed == [f"{expression}: ndarray" for expression in REVEALED]
