"""The examples run on the simulated GPU, and their output passes the same checks as on the CPU."""

import examples
import pytest

import gpunet as gn


@pytest.mark.parametrize("name", examples.NAMES)
def test_the_output_of_an_example_on_the_simulated_gpu_is_correct(name):
    with gn.use_device("sim"):
        examples.SHOWS[name](*examples.run(name))
