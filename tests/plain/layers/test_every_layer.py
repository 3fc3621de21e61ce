"""Tests of every layer in `gn.layers` as part of a model."""

import copy
import pickle

import numpy as np
import pytest
from every_layer import LABELS, example, state
from numpy.testing import assert_allclose, assert_array_equal

import gpunet as gn

EVERY = sorted(set(gn.layers.__all__) - {"Layer"})


def trainer(name: str, *, epochs: int, executor: str = "auto") -> gn.Trainer:
    model, x = example(name)
    run = gn.Trainer(model, optimizer=gn.SGD(0.1, momentum=0.9), seed=3, executor=executor)
    run.fit(x, LABELS, epochs=epochs, batch_size=8)
    return run


@pytest.mark.parametrize("name", EVERY)
def test_a_trained_model_is_summarised_saved_pickled_and_copied(name, tmp_path):
    model, x = trainer(name, epochs=1).model, example(name)[1]
    for table in (model.summary(), model.summary(x.shape[1:])):
        assert repr(model[0]) in table
    model.save(tmp_path / "model")
    for twin in (gn.load(tmp_path / "model"), pickle.loads(pickle.dumps(model)), copy.deepcopy(model)):
        assert repr(twin) == repr(model)
        assert_array_equal(state(twin), state(model))
        assert_array_equal(twin.outputs(x), model.outputs(x))


@pytest.mark.parametrize("name", EVERY)
def test_the_native_program_equals_the_forward_pass_for_any_number_of_rows(name):
    model, x = example(name)
    expected = model.forward(x)
    for rows in (1, 7, 20):
        assert_allclose(model.outputs(x[:rows]), expected[:rows], rtol=1e-5, atol=1e-6)
    many = np.concatenate(300 * [x])
    assert_allclose(model.outputs(many), np.concatenate(300 * [expected]), rtol=1e-5, atol=1e-6)
    for parameter in model.parameters().values():
        parameter *= 0.5
    assert_allclose(model.outputs(x), model.forward(x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("name", EVERY)
def test_a_training_gives_the_bits_of_eager_steps_and_the_same_resumed(name, tmp_path):
    eager, automatic = (trainer(name, epochs=2, executor=executor) for executor in ("eager", "auto"))
    for executor in ("numpy", "auto"):
        whole, half = trainer(name, epochs=2, executor=executor), trainer(name, epochs=1, executor=executor)
        half.save(tmp_path / "run")
        resumed = gn.Trainer.resume(tmp_path / "run")
        resumed.fit(example(name)[1], LABELS, epochs=1, batch_size=8)
        assert_array_equal(state(resumed.model), state(whole.model))
        if executor == "numpy":
            assert_array_equal(state(whole.model), state(eager.model))
    assert_allclose(state(automatic.model), state(eager.model), rtol=1e-4, atol=1e-6)
