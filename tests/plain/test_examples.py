"""The recipes run on the CPU, and each is short enough to be read at once."""

import runpy
from pathlib import Path

import pytest

import gpunet as gn
from gpunet import examples

RECIPES = sorted(path for path in Path(examples.__file__).parent.glob("*.py") if path.stem != "__init__")


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_runs_and_prints_what_it_found(recipe, capsys):
    with gn.use_device("cpu"):
        runpy.run_module(f"gpunet.examples.{recipe.stem}", run_name="__main__")
    assert capsys.readouterr().out


@pytest.mark.parametrize("recipe", RECIPES, ids=lambda path: path.stem)
def test_a_recipe_has_at_most_thirty_lines(recipe):
    assert len(recipe.read_text(encoding="utf-8").splitlines()) <= 30


def test_the_recipes_of_class_weights_find_the_rare_class(capsys):
    with gn.use_device("cpu"):
        runpy.run_module("gpunet.examples.class_weights", run_name="__main__")
    found = [int(line.split("%")[0].split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert found[0] < 20
    assert min(found[1:]) > 60
