"""The recipes of gpunet/examples show what they are for on the simulated GPU, too."""

import examples
import pytest

import gpunet as gn


@pytest.mark.parametrize("name", examples.NAMES)
def test_a_recipe_shows_what_it_is_for_on_the_simulated_gpu(name):
    with gn.use_device("sim"):
        examples.SHOWS[name](*examples.run(name))
