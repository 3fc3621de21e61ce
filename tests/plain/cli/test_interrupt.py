"""Ctrl-C while a command imports its modules: exit code 130 and no traceback."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(sys.executable).parent / "gpunet"
FORMS = {"script": [sys.executable, str(SCRIPT)], "module": [sys.executable, "-u", "-m", "gpunet"]}

INTERRUPT = """
import os, signal, sys

signal.signal(signal.SIGINT, signal.default_int_handler)  # also where a parent ignores it
imports = None

def count(event, arguments):
    global imports
    if event == "import" and (imports is not None or arguments[0] == "gpunet.startup"):
        imports = 0 if imports is None else imports + 1
        if imports == {at}:
            os.kill(os.getpid(), signal.SIGINT)

sys.addaudithook(count)
"""
"""A module that Python imports before it runs a program: it sends Ctrl-C at an import after that of gpunet.startup."""


@pytest.mark.skipif(os.name == "nt", reason="signals")
@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("at", [1, 2, *random.Random(0).sample(range(3, 400), 6), 10_000])
def test_ctrl_c_at_any_import_ends_a_command_with_exit_code_130(form, at, tmp_path):
    (tmp_path / "sitecustomize.py").write_text(INTERRUPT.format(at=at), encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    run = subprocess.run([*FORMS[form], "info"], env=environment, capture_output=True, text=True)
    if at == 10_000:  # no command imports as many modules
        assert (run.returncode, run.stderr) == (0, "")
    else:
        assert (run.returncode, run.stderr) == (130, "Interrupted.\n")


def test_the_library_is_imported_where_there_are_no_arguments():
    run = subprocess.run([sys.executable, "-c", "import sys; sys.argv = []; import gpunet"], capture_output=True)
    assert run.returncode == 0, run.stderr
