"""Every layer moves to the simulated GPU and back with its state, and computes the same there."""

import numpy as np
import pytest
from every_layer import EXAMPLES, LABELS, example, state

import gpunet as gn


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_trained_model_moves_to_sim_and_back_with_the_same_bits(name):
    model, x = example(name)
    gn.Trainer(model).fit(x, LABELS, epochs=1, batch_size=8)
    kept, outputs = state(model), model.outputs(x)
    assert model.to("sim").device.name == "sim"
    np.testing.assert_array_equal(state(model), kept)
    np.testing.assert_allclose(model.outputs(x), outputs, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(state(model.to("cpu")), kept)
    np.testing.assert_array_equal(model.outputs(x), outputs)
