"""`np.errstate` of the caller holds in eager and NumPy steps, except that NumPy never warns there."""

import numpy as np
import pytest
from problems import classification

import gpunet as gn

X, Y = classification(64)
STRICT = {"over": "raise", "invalid": "raise", "divide": "raise"}
EXECUTORS = pytest.mark.parametrize("executor", ["eager", "numpy"])


def overflowing(executor, rows=32):
    """Return a trainer and data of which the rows from 32 on overflow in the forward pass."""
    huge = X.copy()
    huge[rows:] = 3e38
    model = gn.MLP([5, 8, 3])
    model[0].params["weight"] = np.full((5, 8), 10.0)
    return gn.Trainer(model, executor=executor), huge


@EXECUTORS
def test_an_overflow_in_a_step_raises_if_the_caller_says_so(executor):
    trainer, huge = overflowing(executor)
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        trainer.fit(huge, Y, batch_size=32, shuffle=False, epochs=1)
    assert trainer.optimizer.steps == 1
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        trainer.step(huge[32:], Y[32:])


@EXECUTORS
def test_the_callers_own_handler_is_called(executor):
    trainer, huge = overflowing(executor)
    seen = []
    with np.errstate(call=lambda kind, flag: seen.append(kind), over="call"):
        trainer.step(huge[32:], Y[32:])
    assert "overflow" in seen


@EXECUTORS
def test_an_overflow_in_a_step_is_not_a_warning_of_numpy(executor):
    trainer, huge = overflowing(executor)
    trainer.step(huge[32:], Y[32:])  # a warning would be an error
    assert trainer.optimizer.first_skipped == 1


def test_an_overflow_in_an_eager_forward_raises_if_the_caller_says_so():
    trainer, huge = overflowing("eager")
    with np.errstate(over="raise"), pytest.raises(FloatingPointError, match="overflow"):
        trainer.model(huge)


@EXECUTORS
@pytest.mark.parametrize("loss", ["cross_entropy", "bce", "mse", "huber", "l1", "quantile", "poisson"])
@pytest.mark.parametrize("optimizer", [gn.Adam, gn.AdamW, gn.RMSprop, gn.SGD])
def test_steps_without_overflow_do_not_raise(executor, loss, optimizer):
    outputs, y = (3, Y) if loss == "cross_entropy" else (2, np.stack([Y > 0, Y > 1], axis=1).astype(float))
    trainer = gn.Trainer(gn.MLP([5, 8, outputs]), loss=loss, optimizer=optimizer(0.01), executor=executor, ema=0.9)
    with np.errstate(**STRICT):
        trainer.fit(X, y, batch_size=20, epochs=2)


@EXECUTORS
@pytest.mark.parametrize("activation", sorted(gn.ops.activations.FUNCTIONS))
def test_activations_of_large_values_do_not_raise(executor, activation):
    trainer = gn.Trainer(gn.MLP([5, 8, 3], activation), executor=executor)
    with np.errstate(**STRICT):
        trainer.fit(1000 * X, Y, batch_size=20, epochs=2)


def test_a_gradient_whose_squares_overflow_is_clipped_without_an_error():
    model = gn.MLP([5, 3])
    optimizer = gn.SGD(0.1, clip_norm=1.0).attach(model)
    model.store.grads[:] = 1e30
    with np.errstate(all="raise"):
        optimizer.step()
    assert optimizer.first_skipped is None


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}, {"clip_norm": 1.0, "clip_value": 1.0}])
def test_a_gradient_that_is_not_finite_is_skipped_without_an_error(value, clip):
    model = gn.MLP([5, 3])
    optimizer = gn.Adam(0.1, **clip).attach(model)
    model.store.grads[::2] = value
    with np.errstate(all="raise"):
        optimizer.step()
    assert optimizer.first_skipped == (None if "clip_value" in clip and value == np.inf else 1)
