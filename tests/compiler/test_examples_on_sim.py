"""The recipes of gpunet/examples run on the simulated GPU."""

import examples
import pytest

import gpunet as gn


@pytest.mark.parametrize("name", examples.NAMES)
def test_a_recipe_runs_on_the_simulated_gpu(name, capsys):
    with gn.use_device("sim"):
        examples.run(name)
    assert capsys.readouterr().out
