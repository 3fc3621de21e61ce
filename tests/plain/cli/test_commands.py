"""The group of all commands."""

import subprocess
import sys

import pytest

from gpunet.cli import MODULES


@pytest.mark.parametrize("name", MODULES)
def test_each_command_is_found_under_its_own_name(invoke, name):
    result = invoke(name, "--help")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"Usage: main {name} ")


def test_help_lists_the_commands_in_the_order_of_a_training(invoke):
    _, _, listed = invoke("--help").stdout.partition("Commands:\n")
    assert [line.split()[0] for line in listed.splitlines()] == list(MODULES)


def test_a_misspelt_command_is_an_error_that_suggests_the_right_one(invoke):
    result = invoke("trian")
    assert result.exit_code == 2
    assert "Did you mean 'train'?" in result.stderr


def test_a_command_does_not_import_the_others():
    heavy = {"gpunet.bench", "gpunet.simulator", "gpunet.interop", "gpunet.cli.use"}
    code = f"""
import sys
from gpunet.cli import main
main(["train", "--help"], standalone_mode=False)
print(sorted({heavy} & sys.modules.keys()))
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.splitlines()[-1] == "[]"
