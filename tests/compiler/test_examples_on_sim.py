"""The recipes run on the simulated GPU."""

import runpy

import pytest

import gpunet as gn


@pytest.mark.parametrize("recipe", ["class_weights", "regression"])
def test_a_recipe_trains_on_the_simulated_gpu(recipe, capsys):
    with gn.use_device("sim"):
        names = runpy.run_module(f"gpunet.examples.{recipe}", run_name="__main__")
    assert names["model"].device.name == "sim"
    assert capsys.readouterr().out
