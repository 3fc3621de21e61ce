"""Warnings point to the line of the user's that called gpunet."""

import numpy as np
import pandas
import pytest

import gpunet as gn
from gpunet.errors import GpunetWarning

TABLE = pandas.DataFrame({"sex": ["Male", "Female", "Male"], "one": [1, 1, 1], "y": ["p", "q", "p"]})


def diverge():
    gn.Trainer(gn.MLP([2, 1]), loss="mse", optimizer=gn.SGD(1e30)).fit(np.ones((8, 2)), np.arange(8.0), epochs=4)


def train_frozen():
    gn.Trainer(gn.MLP([2, 2]).freeze()).fit(np.ones((4, 2)), [0, 1, 0, 1], epochs=1)


def predict_nan():
    model = gn.MLP([2, 1])
    model.parameters()["0.bias"][:] = np.nan
    model.predict(np.ones((1, 2)))


def fit_schema():
    gn.data.TableSchema.fit(TABLE)


def read_unknown_categories():
    gn.data.TableSchema.fit(TABLE.drop(columns="one")).encode(pandas.DataFrame({"sex": ["male", "male"]}))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (diverge, "gradients were not finite"),
        (train_frozen, "all layers are frozen"),
        (predict_nan, "NaN or infinite"),
        (fit_schema, "'one'"),
        (read_unknown_categories, "most values are unknown"),
    ],
)
def test_a_warning_points_to_the_line_that_called_gpunet(call, said):
    with pytest.warns(GpunetWarning, match=said) as caught:
        call()
    assert {warning.filename for warning in caught} == {__file__}


@pytest.mark.parametrize("bias", [np.nan, np.inf, -np.inf, 1e30])
@pytest.mark.parametrize("loss", ["cross_entropy", "mse", "poisson", "bce"])
def test_an_evaluation_of_outputs_that_are_not_finite_gives_no_warning_of_numpy(loss, bias):
    model, y = gn.MLP([2, 2]), [0, 1] if loss == "cross_entropy" else np.ones((2, 2))
    model.parameters()["0.bias"][0] = bias
    gn.Trainer(model, loss=loss).evaluate(np.ones((2, 2)), y)
