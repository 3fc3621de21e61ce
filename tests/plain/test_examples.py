"""The recipes of gpunet/examples run, and are as short as they should be."""

from pathlib import Path

import examples
import pytest

import gpunet as gn


@pytest.mark.parametrize("name", examples.NAMES)
def test_a_recipe_runs(name, capsys):
    with gn.use_device("cpu"):
        examples.run(name)
    assert capsys.readouterr().out


@pytest.mark.parametrize("name", examples.NAMES)
def test_a_recipe_has_30_lines_of_code_at_most(name):
    _, _, code = (Path(gn.__file__).parent / "examples" / f"{name}.py").read_text(encoding="utf-8").rpartition('"""')
    assert len([line for line in code.splitlines() if line]) <= 30
