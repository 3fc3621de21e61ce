"""User-defined losses, without the parameter `weight`."""

import inspect
import re
from typing import Generic, TypeVar

import numpy as np
import pytest
from problems import classification, net, regression, weights

import gpunet as gn
from gpunet.errors import ArgumentError, DataError, DTypeError
from gpunet.training.rank_loss import RankLoss

X, VALUES = regression()
ROW_WEIGHTS = np.linspace(0, 1, len(X))
REFUSAL = r"does not support row weights: its value_and_grad has no parameter `weight`"


class Unweighted(gn.losses.Loss):
    """Half the mean of the squared errors."""

    task = "regression"

    def value_and_grad(self, prediction, target, tape=None):
        error = prediction - target
        return (error * error).sum() / (2 * error.size), error / error.size


class Passing(gn.MSELoss):
    """Passes on what it is given."""

    def value_and_grad(self, *args, **options):
        return super().value_and_grad(*args, **options)


class OfNumbers(Unweighted):
    """Returns a Python number, as `float` gives it."""

    def value_and_grad(self, prediction, target, tape=None):
        value, gradient = super().value_and_grad(prediction, target)
        return float(value), gradient


class Classifying(gn.losses.Loss):
    """A user-defined cross-entropy that inherits the checks of labels."""

    task = "classification"

    def value_and_grad(self, prediction, target, weight=None, tape=None):
        return gn.ops.softmax_cross_entropy(prediction, target, weight=weight, tape=tape)


def make(loss, executor="auto"):
    return gn.Trainer(gn.MLP([X.shape[1], 4, 1]), loss=loss, optimizer=gn.SGD(1e-5), executor=executor)


@pytest.mark.parametrize("executor", ["auto", "numpy", "eager"])
def test_a_loss_without_weights_trains_and_is_evaluated(executor):
    own, ours = make(Unweighted(), executor), make(gn.MSELoss(), executor)
    ours.optimizer.lr = 5e-6
    for one in (own, ours):
        one.fit(X, VALUES, epochs=3, batch_size=16, validation=(X, VALUES))
    np.testing.assert_allclose(weights(own.model), weights(ours.model), rtol=1e-5)
    np.testing.assert_allclose(2 * np.array(own.history["val_loss"]), ours.history["val_loss"], rtol=1e-5)


def test_a_loss_without_weights_refuses_them_before_the_first_step():
    one = make(Unweighted())
    before = weights(one.model)
    with pytest.raises(ArgumentError, match=f"Unweighted.*{REFUSAL}"):
        one.fit(X, VALUES, sample_weight=ROW_WEIGHTS)
    with pytest.raises(ArgumentError, match=REFUSAL):
        one.step(X[:8], VALUES[:8, None], ROW_WEIGHTS[:8])
    np.testing.assert_array_equal(weights(one.model), before)
    assert (one.optimizer.steps, len(one.history)) == (0, 0)
    one.step(X[:8], VALUES[:8, None])
    one.fit(X, VALUES, epochs=1)


def test_a_loss_that_passes_on_its_arguments_takes_weights():
    own, ours = make(Passing(), "eager"), make(gn.MSELoss(), "eager")
    for one in (own, ours):
        one.fit(X, VALUES, epochs=2, sample_weight=ROW_WEIGHTS)
    np.testing.assert_array_equal(weights(own.model), weights(ours.model))


def test_ranks_share_a_loss_without_weights():
    prediction, target = np.random.default_rng(0).standard_normal((2, 6, 3))
    shares = [RankLoss(Unweighted(), 6, part, prediction) for part in (slice(0, 2), slice(2, 6))]
    gradients = [loss.value_and_grad(prediction[loss.own], target[loss.own])[1] for loss in shares]
    expected = Unweighted().value_and_grad(prediction, target)[1]
    np.testing.assert_allclose(np.concatenate(gradients), expected, rtol=1e-12)


@pytest.mark.parametrize("executor", ["auto", "eager"])
@pytest.mark.filterwarnings("ignore:falling back to eager")
def test_a_loss_that_returns_a_python_number_is_refused_by_name(executor):
    said = r"OfNumbers\(\): value_and_grad returns the loss as a float; return an array of shape \(\)"
    one = make(OfNumbers(), executor)
    with pytest.raises(DTypeError, match=said):
        one.fit(X, VALUES)
    assert one.optimizer.steps == 0
    with pytest.raises(DTypeError, match=said):
        gn.check_gradients(OfNumbers())


def test_a_user_loss_accepts_the_same_labels_as_gpunet_losses():
    X, labels = classification()
    for y in (labels, np.eye(3)[labels]):
        own, ours = (gn.Trainer(net(), loss=loss) for loss in (Classifying(), gn.CrossEntropyLoss()))
        for one in (own, ours):
            one.fit(X, y, epochs=2)
        np.testing.assert_array_equal(weights(own.model), weights(ours.model))
    with pytest.raises(DataError, match="y is 3 at row 0; 3 classes have labels 0 to 2"):
        gn.Trainer(net(), loss=Classifying()).fit(X, np.full(len(X), 3))


def test_a_loss_without_a_task_and_one_without_its_method_are_refused_by_name():
    with pytest.raises(ArgumentError, match="Trainer: Own needs an attribute `task`"):
        make(type("Own", (gn.losses.Loss,), {})())
    with pytest.raises(NotImplementedError, match="Own does not implement `value_and_grad`"):
        make(type("Own", (gn.losses.Loss,), {"task": "regression"})(), "eager").fit(X, VALUES)


@pytest.mark.parametrize(
    "method",
    [
        lambda self, prediction, target: None,
        lambda self, prediction, target, weight=None: None,
        lambda self, prediction, target, weights=None, context=None: None,
    ],
)
def test_a_loss_without_the_parameter_tape_is_refused_at_class_definition(method):
    said = (
        "Own.value_and_grad must take (self, prediction, target, tape=None), as in help(gn.losses.Loss), got "
        f"{inspect.signature(method)}."
    )
    with pytest.raises(ArgumentError, match=f"^{re.escape(said)}$"):
        type("Own", (gn.losses.Loss,), {"value_and_grad": method})


def test_a_loss_may_be_generic():
    T = TypeVar("T")

    class Own(gn.losses.Loss, Generic[T]):
        pass

    assert Own[int]
