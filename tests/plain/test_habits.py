"""What PyTorch and Keras users type by habit works, or is refused with the gpunet equivalent."""

import abc
import copy
import inspect
import operator
import pickle
import re

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from problems import classification, net, regression

import gpunet as gn
from gpunet.errors import ArgumentError, DTypeError, StateError, UnknownArgumentError, UnknownAttributeError
from gpunet.habits import ARGUMENTS, HABITS, OF_CLASSES, OF_PACKAGE, equivalent_of
from gpunet.losses import LOSSES, LOSSES_BY_NAME
from gpunet.ops.checks import float_module
from gpunet.optimizers import OPTIMIZERS
from gpunet.training.settings import OPTIMIZERS_BY_NAME
from gpunet.versions import Versioned

X, Y = classification()
PARTS = {
    "model": net,
    "layer": lambda: gn.Linear(2, 3),
    "loss": gn.MSELoss,
    "optimizer": gn.Adam,
    "trainer": lambda: gn.Trainer(net()),
}


def test_a_call_of_a_model_or_a_layer_is_inference():
    model = gn.Sequential(gn.Dropout(0.5), gn.Linear(5, 3))
    assert_array_equal(model(X), model.forward(X))
    assert_array_equal(model[1](X), model.outputs(X))


def test_a_call_checks_the_dtype_as_forward_does():
    said = r"x is float64, weight is float32, bias is float32; convert x with x.astype\('float32'\)\.$"
    with pytest.raises(DTypeError, match=said):
        net()(X.astype(np.float64))


@pytest.mark.parametrize(
    ("dtypes", "said"),
    [
        ("fd", r"convert a with a.astype\('float64'\) or b with b.astype\('float32'\)\.$"),
        ("ffdf", r"convert c with c.astype\('float32'\)\.$"),
        ("ffdd", r"convert them to one dtype\.$"),
    ],
)
def test_an_operation_names_the_cast_if_one_argument_differs(dtypes, said):
    with pytest.raises(DTypeError, match=said):
        float_module("operation", **{name: np.ones(2, dtype) for name, dtype in zip("abcd", dtypes, strict=False)})


@pytest.mark.parametrize("given", [X.tolist(), 3.0, None, (X, X)], ids=lambda given: type(given).__name__)
@pytest.mark.parametrize("part", ["model", "layer"])
def test_a_call_with_a_non_array_is_refused_with_the_alternative(part, given):
    made = PARTS[part]()
    said = f"{type(made).__name__} takes an array on its device, got a {type(given).__name__}: convert it with"
    with pytest.raises(DTypeError, match=said):
        made(given)


@pytest.mark.parametrize("name", sorted(HABITS))
@pytest.mark.parametrize("part", PARTS)
def test_a_name_of_another_framework_is_answered_with_the_equivalent(part, name):
    made = PARTS[part]()
    if hasattr(type(made), name):  # such as Trainer.fit
        return
    assert not hasattr(made, name)
    with pytest.raises(UnknownAttributeError, match=f"{type(made).__name__} has no attribute '{name}': ") as caught:
        getattr(made, name)
    assert equivalent_of(type(made), name) in str(caught.value)
    assert isinstance(caught.value, AttributeError)


@pytest.mark.parametrize("kind", [gn.MLP, gn.Sequential, gn.Linear, gn.Trainer])
def test_a_class_answers_like_its_objects(kind):
    with pytest.raises(
        UnknownAttributeError, match=rf"^{kind.__name__} has no attribute 'load': gn.load\(path\) reads"
    ):
        kind.load  # noqa: B018
    assert not hasattr(kind, "load")
    with pytest.raises(AttributeError, match=rf"^type object '{kind.__name__}' has no attribute 'lod'$"):
        kind.lod  # noqa: B018


def test_a_user_layer_may_also_be_an_abstract_class():
    class Own(gn.Layer, abc.ABC):
        @abc.abstractmethod
        def rate(self): ...

    with pytest.raises(TypeError, match="abstract"):
        Own()


@pytest.mark.parametrize("kind", [key for key in OF_CLASSES if key != "Tape"])
def test_names_for_one_class_are_unknown_to_it(kind):
    makers = {"History": gn.History, "Model": net, "Schedule": lambda: gn.ConstantLR(0.1), **PARTS}
    made = (makers.get(kind) or makers[kind.lower()])()
    for name, answer in OF_CLASSES[kind].items():
        with pytest.raises(UnknownAttributeError) as caught:
            getattr(made, name)
        assert answer in str(caught.value)


@pytest.mark.parametrize(
    ("part", "name", "said"),
    [
        ("trainer", "train", r"trainer.fit\(X, y\) trains"),
        ("trainer", "eval", "trainer.evaluate"),
        ("trainer", "state_dict", r"trainer.save\(path\)"),
        ("optimizer", "state_dict", r"optimizer.state\(\)"),
        ("optimizer", "learning_rate", "optimizer.lr is the learning rate"),
        ("trainer", "learning_rate", "trainer.optimizer.lr is the learning rate"),
        ("model", "optimizer", "a Trainer holds it"),
        ("model", "to_onnx", r"gn.interop.to_onnx\(model, path\)"),
        ("layer", "weight", r"layer.params\['weight'\]"),
        ("model", "fit", r"gn.Trainer\(model\).fit\(X, y\) trains a classifier"),
    ],
)
def test_the_answer_is_specific_to_the_class(part, name, said):
    with pytest.raises(UnknownAttributeError, match=f"has no attribute '{name}': {said}"):
        getattr(PARTS[part](), name)


@pytest.mark.parametrize("name", OF_PACKAGE)
def test_a_name_that_the_package_lacks_is_answered_with_the_equivalent(name):
    assert not hasattr(gn, name)
    with pytest.raises(AttributeError, match=f"^module 'gpunet' has no attribute '{name}': ") as caught:
        getattr(gn, name)
    assert OF_PACKAGE[name] in str(caught.value)


def test_the_answers_name_what_exists():
    answers = [HABITS, OF_PACKAGE, ARGUMENTS, *OF_CLASSES.values()]
    text = " ".join(answer for table in answers for answer in table.values())
    for name in re.findall(r"\bgn\.(\w+(?:\.\w+)*)", text):
        operator.attrgetter(name)(gn)
    parts = {"model": gn.Sequential(), "trainer": gn.Trainer(net()), "loss": gn.MSELoss(), "optimizer": gn.Adam()}
    for part, name in re.findall(r"(?<![.\w])(model|trainer|loss|optimizer)\.(\w+(?:\.\w+)*)", text):
        operator.attrgetter(name)(parts[part])


def test_other_names_that_the_package_lacks_raise_pythons_error():
    with pytest.raises(AttributeError, match=r"^module 'gpunet' has no attribute 'Liner'$"):
        gn.Liner  # noqa: B018


FIT = {"batchsize", "callbacks", "class_weight", "metrics", "validation_data", "validation_split", "verbose"}
CALLS = {
    "fit": (lambda **given: gn.Trainer(net()).fit(X, Y, **given), FIT),
    "evaluate": (lambda **given: gn.Trainer(net()).evaluate(X, Y, **given), {"class_weight", "verbose"}),
    "Trainer": (
        lambda **given: gn.Trainer(net(), **given),
        {"class_weight", "criterion", "learning_rate", "lr", "rng"},
    ),
    "MLP": (lambda **given: gn.MLP([2, 1], **given), {"rng", "hidden_layer_sizes"}),
    "Adam": (gn.Adam, {"learning_rate", "params", "epsilon"}),
    "GELU": (gn.GELU, {"approximate", "inplace"}),
    "Linear": (lambda **given: gn.Linear(2, 1, **given), {"device", "kernel_initializer", "use_bias"}),
    "Linear without sizes": (gn.Linear, {"units"}),
    "Dropout": (gn.Dropout, {"rate"}),
    "MSELoss": (gn.MSELoss, {"reduction"}),
    "CrossEntropyLoss": (gn.CrossEntropyLoss, {"weight"}),
    "SGD": (lambda **given: gn.SGD(0.1, **given), {"learning_rate", "params"}),
}


@pytest.mark.parametrize(
    ("name", "argument"), [(name, key) for name, (_, keys) in CALLS.items() for key in sorted(keys)]
)
def test_an_argument_of_another_framework_is_answered_with_the_equivalent(name, argument):
    with pytest.raises(UnknownArgumentError, match=f"^{name.split()[0]}: got an unexpected .*'{argument}': ") as caught:
        CALLS[name][0](**{argument: 1})
    assert ARGUMENTS[argument] in str(caught.value)
    assert isinstance(caught.value, TypeError)


@pytest.mark.parametrize("call", ["fit", "evaluate", "find_lr", "predict"])
def test_a_call_without_arguments_names_no_private_class(call):
    with pytest.raises(UnknownArgumentError, match=f"^{call}: missing a required argument: 'X'"):
        getattr(gn.Trainer(net()), call)()


@pytest.mark.parametrize(
    ("call", "answer"),
    [
        (
            lambda: gn.Trainer(net(), gn.Adam()),
            "Trainer: too many positional .*; give these by name: loss=, optimizer=",
        ),
        (lambda: gn.Linear(4, 8, "relu"), "Linear: too many positional .*; give these by name: bias=, activation="),
        (lambda: gn.Trainer(net()).fit(X, Y, 10), "fit: too many positional .*; give these by name: epochs="),
        (lambda: gn.Trainer(net(), optimiser="adam"), "Trainer: .* 'optimiser'; did you mean optimizer="),
        (lambda: gn.Trainer(net()).fit(X, Y, epoch=3), "fit: .* 'epoch'; did you mean epochs="),
        (lambda: gn.ReLU(1, 2), "ReLU: too many positional arguments[.]$"),
        (lambda: gn.ReLU(inplace=True), "ReLU: got an unexpected keyword argument 'inplace': "),
        (lambda: gn.MSELoss(reduction="sum"), "MSELoss: .* 'reduction': leave it out; losses return the mean"),
        (lambda: gn.Linear(2, 1, zzz=3), "Linear: got an unexpected keyword argument 'zzz'[.]$"),
    ],
)
def test_wrong_arguments_raise_an_error_that_says_what_to_write(call, answer):
    with pytest.raises(UnknownArgumentError, match=f"^{answer}") as caught:
        call()
    assert caught.value.__cause__ is None


def test_other_keyword_arguments_of_a_class_that_takes_any_are_not_called_unknown():
    class Mine(gn.Layer):
        def __init__(self, size, **more):
            super().__init__()

    with pytest.raises(UnknownArgumentError, match=r"^Mine: missing a required argument: 'size'"):
        Mine(units=3)


def test_a_loss_calls_the_constructor_of_its_other_base():
    class Other:
        def __init__(self):
            self.ready = True

    class Mine(gn.MSELoss, Other):
        pass

    assert Mine().ready


def test_a_type_error_within_a_call_is_not_changed():
    class Broken(gn.Callback):
        def on_epoch_end(self, trainer, epoch, **more):
            raise TypeError("mine")

    with pytest.raises(TypeError, match=r"^mine$"):
        gn.Trainer(net(), callbacks=[Broken()]).fit(X, Y, epochs=1)


def test_the_signature_and_the_documentation_of_a_call_are_its_own():
    assert list(inspect.signature(gn.Trainer.fit).parameters)[:3] == ["self", "X", "y"]
    assert gn.Trainer.fit.__doc__.startswith("Train for `epochs` epochs")


def test_other_missing_attributes_raise_pythons_error():
    with pytest.raises(AttributeError, match=r"^'MLP' object has no attribute 'fowrard'$") as caught:
        net().fowrard  # noqa: B018
    assert caught.value.name == "fowrard"


def test_the_error_of_a_property_is_not_hidden():
    class Own(Versioned):
        @property
        def size(self):
            return None.nothing

    with pytest.raises(AttributeError, match="'NoneType' object has no attribute 'nothing'"):
        Own().size  # noqa: B018


@pytest.mark.parametrize("part", sorted(PARTS.keys() - {"trainer"}))
@pytest.mark.parametrize("twin", [copy.copy, copy.deepcopy, lambda part: pickle.loads(pickle.dumps(part))])
def test_parts_are_copied_and_pickled_as_before(part, twin):
    made = PARTS[part]()
    assert repr(twin(made)) == repr(made)


def test_a_loss_is_not_callable():
    with pytest.raises(
        StateError, match=r"MSELoss is not callable: use loss.value\(prediction, y\), or value, gradient = "
    ):
        gn.MSELoss()(X, X)


def test_a_loss_is_refused_as_a_metric():
    with pytest.raises(ArgumentError, match="metrics must map names to functions"):
        gn.Trainer(net(), metrics={"mse": gn.MSELoss()})


@pytest.mark.parametrize("kind", OPTIMIZERS.values())
@pytest.mark.parametrize("given", [lambda model: model, lambda model: model.parameters(), lambda model: [*model]])
@pytest.mark.parametrize("rest", [{}, {"lr": 0.1}])
def test_an_optimizer_refuses_parameters_as_its_first_argument(kind, given, rest):
    name = kind.__name__
    with pytest.raises(ArgumentError, match=rf"^{name} takes no parameters: .*gn.{name}\(lr=0.001\).attach"):
        kind(given(net()), **rest)


def test_a_user_optimizer_keeps_its_arguments():
    class Own(gn.optimizers.Optimizer):
        pass

    assert Own(0.5, weight_decay=0.1).config() == {
        "lr": {"type": "ConstantLR", "lr": 0.5},
        "weight_decay": 0.1,
        "clip_norm": None,
        "clip_value": None,
        "groups": {},
    }


@pytest.mark.parametrize("take", [gn.Dropout, lambda given: gn.Adam(lr=given), lambda given: gn.Trainer(given)])
def test_an_error_truncates_a_long_value(take):
    with pytest.raises(ArgumentError) as caught:
        take({"weight": np.ones((1000, 1000))})
    assert len(str(caught.value)) < 200


def test_every_loss_and_optimizer_has_a_name():
    assert set(LOSSES_BY_NAME.values()) == set(LOSSES.values())
    assert set(OPTIMIZERS_BY_NAME.values()) == set(OPTIMIZERS.values())
    for name in LOSSES_BY_NAME:
        assert f'"{name}"' in gn.Trainer.__doc__
    for name in OPTIMIZERS_BY_NAME:
        assert f'"{name}"' in gn.Trainer.__doc__


def test_a_name_makes_a_loss_and_an_optimizer_with_their_defaults():
    trainer = gn.Trainer(gn.MLP([5, 1]), loss="mse", optimizer="SGD")
    assert (repr(trainer.loss), repr(trainer.optimizer)) == ("MSELoss()", "SGD(lr=0.01)")
    assert trainer.fit(*regression(), epochs=2).last["epoch"] == 2
    assert (repr(gn.Trainer(net()).loss), repr(gn.Trainer(net()).optimizer)) == (
        "CrossEntropyLoss(label_smoothing=0.0)",
        "Adam(lr=0.001)",
    )


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"loss": "ms"}, "Trainer: loss must be 'cross_entropy', 'bce', 'mse'.*, or an object of its class, got 'ms'"),
        ({"optimizer": "adm"}, "Trainer: optimizer must be 'sgd', 'adam', 'adamw' or 'rmsprop', or .*, got 'adm'"),
    ],
)
def test_an_unknown_name_is_refused_with_the_choices(given, message):
    with pytest.raises(ArgumentError, match=message):
        gn.Trainer(net(), **given)
