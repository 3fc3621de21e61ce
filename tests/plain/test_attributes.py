"""Setting an unknown attribute of a gpunet class is refused; user classes may have any attributes."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from own_layers import Scale
from problems import classification

import gpunet as gn
from gpunet.errors import GpunetError, UnknownAttributeError
from gpunet.optimizers import Optimizer
from gpunet.schedules import Schedule

X, Y = classification()

MISTAKES = [
    (lambda: gn.MLP([5, 3]), "scaler", "MLP has no attribute 'scaler'; did you mean 'input_scaler'?"),
    (lambda: gn.Sequential(), "clases", "did you mean 'classes'?"),
    (lambda: gn.Linear(5, 3), "activaton", "did you mean 'activation'?"),
    (lambda: gn.BatchNorm1d(3), "momentun", "did you mean 'momentum'?"),
    (lambda: gn.Dropout(0.5), "rate", "Dropout has no attribute 'rate'; it has "),
    (lambda: gn.Trainer(gn.MLP([5, 3])), "metric", "did you mean 'metrics'?"),
    (lambda: gn.Trainer(gn.MLP([5, 3])), "call_backs", "did you mean 'callbacks'?"),
    (lambda: gn.CrossEntropyLoss(), "class_weights", "did you mean 'class_weight'?"),
    (lambda: gn.HuberLoss(), "dleta", "did you mean 'delta'?"),
    (lambda: gn.SGD(0.1), "nesterof", "did you mean 'nesterov'?"),
    (lambda: gn.Adam(), "learning_rate", "it has betas, clip_norm, clip_value, counter, eps, groups, lr, schedule, "),
    (lambda: gn.LeakyReLU(), "slope", "did you mean 'negative_slope'?"),
    (lambda: gn.ReLU(), "slope", "ReLU has no attribute 'slope'; it has none."),
    (lambda: gn.StepLR(0.1, 2), "gama", "did you mean 'gamma'?"),
    (lambda: gn.EarlyStopping(), "patienc", "did you mean 'patience'?"),
    (lambda: gn.Checkpoint("run"), "evry", "did you mean 'every'?"),
    (lambda: gn.History(), "epoch", "did you mean 'epochs'?"),
    (lambda: gn.Tape(), "sed", "did you mean 'seed'?"),
    (lambda: gn.get_device("cpu"), "nmae", "did you mean 'name'?"),
    (lambda: gn.Linear(5, 3).params, "weigth", "Views has no attribute 'weigth'; it has none."),
]


@pytest.mark.parametrize(("make", "name", "said"), MISTAKES, ids=[name for _, name, _ in MISTAKES])
def test_an_unknown_attribute_is_refused_with_the_nearest_name(make, name, said):
    one = make()
    with pytest.raises(UnknownAttributeError, match=re.escape(said)) as raised:
        setattr(one, name, 1)
    assert isinstance(raised.value, AttributeError)
    assert isinstance(raised.value, GpunetError)
    assert not hasattr(one, name)


def test_copies_and_loaded_models_refuse_unknown_attributes_too(tmp_path):
    import copy
    import pickle

    model = gn.MLP([5, 3])
    model.save(tmp_path / "model")
    for one in (copy.deepcopy(model), pickle.loads(pickle.dumps(model)), gn.load(tmp_path / "model")):
        with pytest.raises(UnknownAttributeError, match="input_scaler"):
            one.scaler = None
        one.input_scaler = None


def test_existing_attributes_may_be_set():
    model = gn.MLP([5, 3])
    model.input_scaler, model.classes = gn.data.Standardizer.fit(X), ("a", "b", "c")
    model[0].activation = gn.Tanh()
    model.forward = model.forward  # a method, as a test would replace it
    optimizer = gn.Adam()
    optimizer.lr, optimizer.betas = 0.5, (0.5, 0.5)
    trainer = gn.Trainer(gn.MLP([5, 3]))
    trainer.callbacks = [gn.EarlyStopping()]
    trainer.metrics["f1"] = gn.metrics.macro_f1
    trainer.fit(X, Y, epochs=1, validation=0.2)


def test_user_classes_may_have_any_attributes():
    class Loss(gn.MSELoss):
        pass

    class Rule(Optimizer):
        pass

    @dataclass
    class Rate(Schedule):
        lr: float

    class Note(gn.Callback):
        pass

    class Square(gn.ops.ActivationFunction):
        pass

    class Net(gn.Sequential):
        pass

    class Coach(gn.Trainer):
        pass

    for one in (Scale(3), Loss(), Rule(0.1), Rate(0.1), Note(), Square(), Net(), Coach(gn.MLP([5, 3]))):
        one.note = "mine"
        assert one.note == "mine"


def test_a_user_layer_in_a_model_may_set_attributes_in_training():
    class Counting(Scale):
        recordable = False

        def forward(self, x, tape=None):
            self.calls = getattr(self, "calls", 0) + 1
            return super().forward(x, tape)

    layer = Counting(5)
    gn.Trainer(gn.Sequential(layer, gn.Linear(5, 3)), executor="eager").fit(X, Y, epochs=1, batch_size=30)
    assert layer.calls == 2


def test_user_code_called_by_gpunet_is_checked_too():
    class Mistaken(gn.Callback):
        def on_epoch_end(self, trainer, row):
            trainer.optimizer.learning_rate = 0.1

    with pytest.raises(UnknownAttributeError, match="Adam has no attribute 'learning_rate'"):
        gn.Trainer(gn.MLP([5, 3]), callbacks=[Mistaken()]).fit(X, Y, epochs=1)


@pytest.mark.parametrize("executor", ["auto", "numpy"])
def test_training_steps_do_not_inspect_frames(executor, monkeypatch):
    trainer = gn.Trainer(gn.MLP([5, 8, 3]), executor=executor)
    trainer.fit(X, Y, epochs=2, batch_size=10)
    trainer.step(X[:10], Y[:10])
    looks = []
    monkeypatch.setattr("gpunet.attributes._set_by_own_code", lambda: looks.append(1) or True)
    trainer.fit(X, Y, epochs=2, batch_size=10)
    for _ in range(3):
        trainer.step(X[:10], Y[:10])
    assert not np.sum(looks)
