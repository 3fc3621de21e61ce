"""User classes in files: they are loaded if registered or given by name; others are refused before training."""

import re
from dataclasses import dataclass

import numpy as np
import pytest
from own_layers import Scale
from problems import classification, measured, weights

import gpunet as gn
from gpunet import registry
from gpunet.errors import ArgumentError, ModelFileError
from gpunet.files import read_arrays, write_arrays

X, Y = classification()


@gn.register
class Gain(Scale):
    """A layer with arguments, parameters and a buffer."""

    def __init__(self, features, start=1.5):
        gn.Layer.__init__(self, {"scale": np.full(features, start)}, {"seen": np.zeros(())})
        self.features, self.start = features, start

    def forward(self, x, tape=None):
        if tape is not None:
            np.add(self.buffers["seen"], 1, out=self.buffers["seen"])
        return super().forward(x, tape)

    def config(self):
        return {"features": self.features, "start": self.start}


@gn.register
class Through(gn.Sequential):
    """A stack that is made of the layers that it is given."""


@gn.register
class Net(gn.Sequential):
    """A model that makes its layers itself."""

    def __init__(self, hidden):
        self.hidden = hidden
        super().__init__(gn.Linear(5, hidden, rng=0), gn.ReLU(), gn.Linear(hidden, 3, rng=1))

    def config(self):
        return {"hidden": self.hidden}


@gn.register
class FocusedLoss(gn.CrossEntropyLoss):
    def __init__(self, factor=2.0):
        super().__init__()
        self.factor = factor

    def value_and_grad(self, prediction, target, weight=None, tape=None):
        value, slope = super().value_and_grad(prediction, target, weight, tape)
        return np.multiply(value, self.factor, out=value), np.multiply(slope, self.factor, out=slope)

    def config(self):
        return {"factor": self.factor}


@gn.register
class SignSGD(gn.optimizers.Optimizer):
    slot_names = ("last",)

    def __init__(self, lr, shrink=1.0):
        super().__init__(lr)
        self.shrink = shrink

    def update_block(self, numbers, p, g, t, u, *slots):
        (lr,) = numbers
        np.sign(g, out=t)
        np.multiply(t, self.shrink, out=t)
        np.add(slots[0], t, out=slots[0])
        np.multiply(slots[0], lr, out=t)
        np.subtract(p, t, out=p)


@gn.register
class Shift(gn.Layer):
    """A layer without a `config` method."""

    def __init__(self, by=1.0):
        self.by = by
        super().__init__()

    def forward(self, x, tape=None):
        return x + self.by

    def backward(self, dy, tape):
        return dy


@gn.register
class PowerLoss(gn.losses.Loss):
    """A loss without a `config` method."""

    task = "regression"

    def __init__(self, power=2):
        self.power = power

    def value_and_grad(self, prediction, target, weight=None, tape=None):
        error = prediction - target
        return (error**self.power).mean(), self.power * error ** (self.power - 1) / error.size


@gn.register
class Falling(gn.schedules.Schedule):
    """A schedule that is no dataclass."""

    def __init__(self, lr, by=0.9):
        self.lr, self.by = lr, by

    def __call__(self, step):
        return self.lr * self.by**step


@gn.register
@dataclass
class HalvingEach(gn.schedules.Schedule):
    lr: float
    steps: int = 4

    def __call__(self, step):
        return self.lr / 2 ** (step // self.steps)


def layered():
    return gn.Sequential(gn.Linear(5, 4, rng=0), Gain(4, 0.5), Through(gn.Tanh(), gn.Linear(4, 3, rng=1)))


PARTS = {
    "layers": lambda: {"model": layered()},
    "a model": lambda: {"model": Net(7)},
    "a loss": lambda: {"loss": FocusedLoss(3.0)},
    "an optimizer": lambda: {"optimizer": SignSGD(0.01, shrink=0.5)},
    "a schedule": lambda: {"optimizer": gn.SGD(gn.LinearWarmup(HalvingEach(0.1, 3), 2), momentum=0.9)},
    "all": lambda: {"model": layered(), "loss": FocusedLoss(), "optimizer": SignSGD(HalvingEach(0.1))},
}


def trainer(name, **options):
    parts = {"model": gn.MLP([5, 4, 3]), **PARTS[name]()}
    return gn.Trainer(parts.pop("model"), **parts, **options)


@pytest.mark.filterwarnings("ignore:falling back")
@pytest.mark.parametrize("name", PARTS)
def test_a_training_of_registered_classes_resumes_bit_for_bit(name, tmp_path):
    path = tmp_path / "run.safetensors"
    whole = trainer(name, callbacks=[gn.Checkpoint(path)])
    whole.fit(X, Y, epochs=2, batch_size=20)
    resumed = gn.Trainer.resume(path)
    for part in ("loss", "optimizer"):
        assert type(getattr(resumed, part)) is type(getattr(whole, part))
    whole.callbacks = []
    for one in (whole, resumed):
        one.fit(X, Y, epochs=2, batch_size=20)
    np.testing.assert_array_equal(weights(resumed.model), weights(whole.model))
    np.testing.assert_array_equal(resumed.model.store.buffers, whole.model.store.buffers)
    assert measured(resumed.history) == measured(whole.history)


@pytest.mark.parametrize("model", [layered, lambda: Net(7)], ids=["layers", "a model"])
def test_a_model_of_registered_classes_is_read_again(model, tmp_path):
    path = tmp_path / "model.safetensors"
    model().save(path)
    again = gn.load(path)
    assert [type(layer) for layer in again.layers] == [type(layer) for layer in model().layers]
    assert type(again) is type(model())
    np.testing.assert_array_equal(again.outputs(X), model().outputs(X))


def test_arguments_that_are_attributes_of_the_same_names_come_back_without_a_config(tmp_path):
    model = gn.Sequential(gn.Linear(5, 1, rng=0), Shift(3.0))
    whole = gn.Trainer(model, loss=PowerLoss(4), optimizer=gn.SGD(Falling(0.1, 0.5)))
    whole.save(tmp_path / "run")
    again = gn.Trainer.resume(tmp_path / "run")
    assert (again.model[1].by, again.loss.power, again.optimizer.schedule.by) == (3.0, 4, 0.5)


def test_files_that_differ_in_the_order_of_given_dicts_are_equal_bytes(tmp_path):
    for name, turn in (("a", 1), ("b", -1)):
        groups = dict([("*.bias", {"lr": 0.1, "weight_decay": 0.0}), ("0.weight", {"weight_decay": 0.1})][::turn])
        groups = {pattern: dict([*own.items()][::turn]) for pattern, own in groups.items()}
        loss = gn.CrossEntropyLoss(class_weight=dict([("0", 2.0), ("1", 3.0)][::turn]))
        gn.Trainer(Net(7), loss=loss, optimizer=gn.SGD(0.1, groups=groups)).save(tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


class Unregistered(Scale):
    pass


class UnregisteredLoss(gn.CrossEntropyLoss):
    pass


class UnregisteredSGD(gn.SGD):
    pass


@dataclass
class UnregisteredLR(gn.schedules.Schedule):
    lr: float

    def __call__(self, step):
        return self.lr


@dataclass
class StepLR(UnregisteredLR):
    """Bears the name of another schedule, which must not be saved in its place."""


@gn.register
class Forgetful(Scale):
    """Has no config."""


@gn.register
class Careless(Scale):
    """Has a default, by which another layer would be rebuilt."""

    def __init__(self, features=5):
        super().__init__(features)
        self.features = 5


@gn.register
class ForgetfulLoss(gn.CrossEntropyLoss):
    """Has the config of its base."""

    def __init__(self, factor):
        super().__init__()


@gn.register
class OffLoss(gn.CrossEntropyLoss):
    """Has another config each time that it is rebuilt."""

    def __init__(self, number=0):
        super().__init__()
        self.number = number

    def config(self):
        return {"number": self.number + 1}


@gn.register
class ForgetfulSGD(gn.SGD):
    """Does not keep an argument."""

    def __init__(self, lr, strength=2.0):
        super().__init__(lr)


@gn.register
class Forgotten(gn.schedules.Schedule):
    """Does not keep an argument."""

    def __init__(self, lr, half=3):
        self.lr = lr

    def __call__(self, step):
        return self.lr


@gn.register
class Offset(gn.Layer):
    """Keeps its argument by another name."""

    def __init__(self, by=1.0):
        super().__init__()
        self.offset = by

    def forward(self, x, tape=None):
        return x + self.offset

    def backward(self, dy, tape):
        return dy


@gn.register
class ScaledLoss(gn.CrossEntropyLoss):
    """Has an argument that the `config` of its base does not know."""

    def __init__(self, factor=1.0):
        super().__init__()
        self.scale = factor

    def config(self):
        return {}


@gn.register
class Silent(gn.Sequential):
    """Makes its layers itself, and has no config."""

    def __init__(self, hidden):
        super().__init__(gn.Linear(5, hidden, rng=0), gn.Linear(hidden, 3, rng=1))


@gn.register
class ArrayLoss(gn.CrossEntropyLoss):
    """Has a config that is not fit for JSON."""

    def __init__(self, factor=None):
        super().__init__()

    def config(self):
        return {"factor": {1, 2}}


def model_of(layer):
    return gn.Sequential(layer, gn.Linear(5, 3, rng=0))


REFUSED = {
    "a layer": (lambda: {"model": model_of(Unregistered(5))}, "Decorate Unregistered with @gn.register"),
    "a loss": (lambda: {"loss": UnregisteredLoss()}, "Decorate UnregisteredLoss with @gn.register"),
    "an optimizer": (lambda: {"optimizer": UnregisteredSGD(0.1)}, "Decorate UnregisteredSGD with @gn.register"),
    "a schedule": (lambda: {"optimizer": gn.SGD(UnregisteredLR(0.1))}, "Decorate UnregisteredLR with @gn.register"),
    "a schedule inside another": (
        lambda: {"optimizer": gn.SGD(gn.LinearWarmup(UnregisteredLR(0.1), 2))},
        "Decorate UnregisteredLR with",
    ),
    "a name of gpunet's": (lambda: {"optimizer": gn.SGD(StepLR(0.1))}, "Decorate StepLR with @gn.register"),
    "an activation": (
        lambda: {"model": gn.MLP([5, 4, 3], activation=gn.CustomActivation(np.sin, np.cos))},
        "cannot be saved: files hold only the names of gpunet's functions; use one of them",
    ),
    "a layer without config": (lambda: {"model": model_of(Forgetful(5))}, "Forgetful() cannot be saved: its config()"),
    "a layer of other shapes": (
        lambda: {"model": gn.Sequential(gn.Linear(5, 4), Careless(4), gn.Linear(4, 3))},
        "but {'features': 5} rebuilds a layer with {'.scale': (5,)}, not {'.scale': (4,)}.",
    ),
    "a loss without config": (lambda: {"loss": ForgetfulLoss(1)}, "cannot be saved: its config() must return"),
    "a loss of another config": (lambda: {"loss": OffLoss()}, "{'number': 1} rebuilds a different one"),
    "an argument that is not kept": (
        lambda: {"optimizer": ForgetfulSGD(0.1)},
        "config() lacks 'strength'; store each argument",
    ),
    "a schedule's argument that is not kept": (lambda: {"optimizer": gn.SGD(Forgotten(0.1))}, "config() lacks 'half'"),
    "a layer's argument that is not kept": (lambda: {"model": model_of(Offset(2.0))}, "config() lacks 'by'"),
    "an argument that another config leaves out": (lambda: {"loss": ScaledLoss(3.0)}, "config() lacks 'factor'"),
    "a model that makes its layers itself": (lambda: {"model": Silent(7)}, "config() lacks 'hidden'"),
    "no JSON": (lambda: {"loss": ArrayLoss()}, "set {1, 2} cannot be written to a file"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_checkpoint_refuses_parts_that_cannot_be_rebuilt_before_the_first_step(name, tmp_path):
    make, said = REFUSED[name]
    parts = {"model": gn.MLP([5, 4, 3]), **make()}
    one = gn.Trainer(parts.pop("model"), **parts, callbacks=[gn.Checkpoint(tmp_path / "run.safetensors", every=3)])
    with pytest.raises(ArgumentError, match=re.escape(said)):
        one.fit(X, Y, epochs=1)
    assert one.optimizer.steps == 0
    with pytest.raises(ArgumentError, match=re.escape(said)):
        one.save(tmp_path / "run.safetensors")
    assert list(tmp_path.iterdir()) == []
    one.callbacks = []
    one.fit(X, Y, epochs=1)


@pytest.fixture
def forgotten(monkeypatch):
    """Let the classes of this file be known to none who reads, as in another process."""
    names = ("Gain", "Through", "Net", "FocusedLoss", "SignSGD", "HalvingEach")
    custom = {name: globals()[name] for name in names}

    def forget():
        for name in names:
            monkeypatch.delitem(registry._classes, name)
        return custom

    return forget


@pytest.mark.filterwarnings("ignore:falling back")
def test_classes_that_are_not_registered_are_given_by_their_names(tmp_path, forgotten):
    whole = trainer("all")
    whole.fit(X, Y, epochs=1)
    whole.save(tmp_path / "run")
    whole.model.save(tmp_path / "model")
    custom = forgotten()
    np.testing.assert_array_equal(gn.load(tmp_path / "model", custom=custom).outputs(X), whole.model.outputs(X))
    resumed = gn.Trainer.resume(tmp_path / "run", custom=custom)
    assert [type(part) for part in (resumed.loss, resumed.optimizer, resumed.optimizer.schedule)] == [
        FocusedLoss,
        SignSGD,
        HalvingEach,
    ]


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ("layers", "unknown layer 'Gain'; import the module that registers it with @gn.register, or give "
                   "custom={'Gain': its class}."),
        ("a loss", "unknown loss 'FocusedLoss'; import"),
        ("an optimizer", "unknown optimizer 'SignSGD'; import"),
        ("a schedule", "unknown schedule 'HalvingEach'; import"),
    ],
)  # fmt: skip
def test_an_unknown_class_is_named_with_what_to_do(parts, said, tmp_path, forgotten):
    trainer(parts).save(tmp_path / "run")
    forgotten()
    with pytest.raises(ModelFileError, match=re.escape(said)):
        gn.Trainer.resume(tmp_path / "run")


@pytest.mark.parametrize("given", [gn.MSELoss, gn.SGD, dict, len, 3, "Gain"], ids=str)
def test_a_class_of_another_kind_is_refused_by_name(given, tmp_path):
    layered().save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="'Gain' must be a class derived from Layer, got"):
        gn.load(tmp_path / "model", custom={"Gain": given})


@pytest.mark.parametrize("custom", [{Gain}, [Gain], Gain], ids=["a set", "a list", "a class"])
def test_classes_without_names_are_refused(custom, tmp_path):
    trainer("layers").save(tmp_path / "run")
    layered().save(tmp_path / "model")
    for read, file in ((gn.Trainer.resume, "run"), (gn.load, "model")):
        with pytest.raises(ArgumentError, match="custom must map names in the file to classes"):
            read(tmp_path / file, custom=custom)


def test_a_class_with_other_parameters_is_refused_like_other_shapes(tmp_path):
    layered().save(tmp_path / "model")
    with pytest.raises(ModelFileError, match="scale"):
        gn.load(tmp_path / "model", custom={"Gain": Widened})


class Widened(Gain):
    def __init__(self, features, start):
        super().__init__(features + 1, start)


@pytest.mark.parametrize(
    "name", ["eval", "os.system", "builtins.exec", "SGD", "Checkpoint", "Trainer", "Layer", None, []]
)
def test_a_file_can_only_name_known_layer_classes_and_runs_no_code(name, tmp_path):
    arrays, description = layered().to_arrays()
    description["model"]["layers"][1]["type"] = name
    write_arrays(tmp_path / "model", arrays, {"kind": "model", **description})
    with pytest.raises(ModelFileError, match="model"):
        gn.load(tmp_path / "model")


def test_a_file_contains_only_names_and_arguments(tmp_path):
    trainer("all").save(tmp_path / "run")
    description = read_arrays(tmp_path / "run", "checkpoint")[1]
    assert description["model"]["layers"][1] == {"type": "Gain", "features": 4, "start": 0.5}
    assert description["loss"] == {"type": "FocusedLoss", "factor": 2.0}
    assert description["optimizer"] == {
        "type": "SignSGD",
        "shrink": 1.0,
        "lr": {"type": "HalvingEach", "lr": 0.1, "steps": 4},
    }


@pytest.mark.parametrize("given", [3, "Gain", len, dict, object, lambda: None])
def test_only_a_class_with_a_config_is_registered(given):
    with pytest.raises(ArgumentError, match="register takes the class of a layer, a loss, an optimizer or a schedule"):
        gn.register(given)


@pytest.mark.parametrize("name", ["Linear", "MSELoss", "Adam", "StepLR", "Sequential", "Gain"])
def test_a_registered_name_is_refused(name):
    other = type(name, (Scale,), {"__module__": "elsewhere"})
    with pytest.raises(ArgumentError, match=f"already registers {name}; choose another name"):
        gn.register(other)


def test_a_class_that_is_defined_again_replaces_the_first(tmp_path):
    def cell():
        @gn.register
        class InACell(Scale):
            def config(self):
                return {"features": self.params["scale"].size}

        return InACell

    first, second = cell(), cell()
    model_of(first(5)).save(tmp_path / "model")  # made before the cell ran again
    assert type(gn.load(tmp_path / "model")[0]) is second


def test_register_returns_the_class_and_is_a_decorator():
    assert gn.register(Gain) is Gain


def test_every_gpunet_class_that_a_file_can_name_is_registered():
    own = {*gn.losses.LOSSES, *gn.optimizers.OPTIMIZERS, *gn.layers.__all__, "Sequential"} - {"Layer"}
    own |= {"ConstantLR", "StepLR", "CosineLR", "CyclicCosineLR", "ReduceLROnPlateau", "LinearWarmup"}
    assert {name for name, cls in registry._classes.items() if cls.__module__.startswith("gpunet.")} == own


@gn.register
class ScaleBySum(Scale):
    """Computes a constant from its initial parameters."""

    def __init__(self, features):
        super().__init__(features)
        self.features = features
        self.total = float(self.params["scale"].sum())


def test_the_constructor_of_a_users_layer_reads_its_initial_parameters_also_in_load(tmp_path):
    model = gn.Sequential(gn.Linear(3, 2), ScaleBySum(2))
    model[1].params["scale"] = [5.0, 6.0]
    model.save(tmp_path / "model")
    loaded = gn.load(tmp_path / "model")
    assert loaded[1].total == 3.0
    assert loaded[1].params["scale"].tolist() == [5.0, 6.0]
