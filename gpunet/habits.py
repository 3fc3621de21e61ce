"""Attribute and argument names from PyTorch, Keras and scikit-learn, with the gpunet equivalent for error messages."""

from __future__ import annotations

import difflib
import functools
import inspect
from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, TypeVar

from gpunet.errors import UnknownArgumentError

P = ParamSpec("P")
T = TypeVar("T")

_TRAINS = "gn.Trainer(model).fit(X, y) trains a classifier, gn.Trainer(model, loss='mse').fit(X, y) a regression"
_MODES = (
    f"there are no train/eval modes: use model.forward(x, tape) in a training step, model(x) for inference; {_TRAINS}"
)
_MOVES = "model.to('cuda') and model.to('cpu') move a model"
_FILES = "trainer.save(path) saves a training, gn.Trainer.resume(path) continues it"
_READS = "gn.load(path) reads a model, gn.Trainer.resume(path) continues a training"
_WRITES = "model.save(path) writes a model, trainer.save(path) a training"
_ONNX = "gn.interop.to_onnx(model, path) writes an ONNX file"
_WEIGHTS = (
    "layer.params['weight'] is the weight of a layer, model.parameters() returns all by name; assigning to a name of "
    "params copies the values"
)
_SCORES = "gn.Trainer(model, metrics={...}).evaluate(X, y) returns the loss and the metrics"
_STEPS = "trainer.step(model.prepare(X), y) trains on one batch"
_LAYERS = "model.layers holds the layers of a Sequential, model.leaves() all layers by their path"
_CHAINS = "gn.Sequential(*model.layers, layer) chains layers; a model has all its layers from the beginning"
_DTYPES = "model.to(dtype='float64') and model.to(dtype='float32') convert the parameters"
_SKLEARN = "gpunet.sklearn has estimators: gpunet.sklearn.MLPClassifier and MLPRegressor"
_COUNTS = "model.summary() counts the parameters"
_PARTS = "a Trainer holds it: gn.Trainer(model, loss=..., optimizer=...); its fit returns the History"
_PLOTS = "trainer.history.plot(path) draws the curves"
_LR = "optimizer.lr is the learning rate, or a schedule: gn.Adam(lr=gn.CosineLR(0.01, total_steps=1000))"

HABITS = {
    "backward": "value, gradient = loss.value_and_grad(model.forward(x, tape), y, tape=tape), then "
    f"model.backward(gradient, tape); {_TRAINS}",
    "compile": f"give the loss, the optimizer and the metrics to a Trainer: {_TRAINS}",
    "eval": _MODES,
    "fit": _TRAINS,
    "named_parameters": "model.parameters() returns a dict of the weights by name",
    "predict_classes": "model.predict(X) returns the classes",
    "requires_grad_": "model.freeze('0.*') freezes layers, model.unfreeze('0.*') trains them again",
    "state_dict": "model.parameters() returns the weights by name; model.save(path) and trainer.save(path) write files",
    "load_state_dict": "gn.load(path) reads a model, gn.interop.load_torch(model, weights) copies PyTorch's weights",
    "to_torch": "gn.interop.to_torch(model) returns the weights for PyTorch",
    "train": _MODES,
    "zero_grad": "not needed: model.backward(gradient, tape) overwrites the gradients",
    **dict.fromkeys(("add", "append"), _CHAINS),
    **dict.fromkeys(("children", "get_layer", "modules", "named_modules"), _LAYERS),
    **dict.fromkeys(("count_params", "num_parameters"), _COUNTS),
    **dict.fromkeys(("cpu", "cuda"), _MOVES),
    **dict.fromkeys(("double", "float", "half"), _DTYPES),
    **dict.fromkeys(("evaluate", "score"), _SCORES),
    **dict.fromkeys(("export", "onnx", "to_onnx"), _ONNX),
    **dict.fromkeys(("from_pretrained", "load", "load_checkpoint", "load_model", "load_weights"), _READS),
    **dict.fromkeys(("get_params", "set_params"), _SKLEARN),
    **dict.fromkeys(("partial_fit", "train_on_batch", "train_step", "training_step"), _STEPS),
    **dict.fromkeys(("save_checkpoint", "save_model", "save_weights"), _WRITES),
    **dict.fromkeys(("bias", "coefs_", "get_weights", "kernel", "set_weights", "weight", "weights"), _WEIGHTS),
}
"""gpunet equivalents of attributes that its classes do not have."""

_TENSORS = "arrays are those of NumPy, on a GPU those of CuPy; gn.Trainer and model.predict take them as they are"
_LOGITS = "models return logits: gn.CrossEntropyLoss() takes them, model.predict_proba(X) returns probabilities"
_BINARY = "gn.BCEWithLogitsLoss() takes logits"
_CLASSES = "gn.CrossEntropyLoss() takes logits and class indices"
_BATCHES = "trainer.fit(X, y, batch_size=32) takes whole arrays, or an iterable of batches"
_SEEDS = "give seed= to gn.MLP and gn.Trainer; there is no global seed"
_AUTOMATIC = "training steps are compiled and recorded by themselves; gn.Trainer(model).explain() shows how"
_BY_HAND = "there is no autograd: each layer has a hand-written backward, as help(gn.Layer) shows"
_SCHEDULES = "an optimizer takes a schedule as lr: gn.Adam(lr=gn.CosineLR(0.01, total_steps=1000))"

OF_PACKAGE = {
    "BatchNorm": "use gn.BatchNorm1d or gn.BatchNorm2d",
    "BatchNormalization": "use gn.BatchNorm1d or gn.BatchNorm2d",
    "Conv2D": "use gn.Conv2d",
    "Dense": "use gn.Linear(in_features, out_features, activation='relu')",
    "GRU": "the recurrent layers are gn.RNN and gn.LSTM",
    "Input": "not needed: layers are given their sizes, as in gn.MLP([features, hidden, outputs])",
    "LayerNormalization": "use gn.LayerNorm",
    "Loss": "losses derive from gn.losses.Loss and define task and value_and_grad, as help(gn.losses.Loss) shows",
    "MaxPooling2D": "use gn.MaxPool2d",
    "ModelCheckpoint": "use gn.Checkpoint",
    "Module": "layers derive from gn.Layer, and gn.Sequential(...) chains layers",
    "MultiheadAttention": "use gn.MultiHeadAttention",
    "Optimizer": "optimizers derive from gn.optimizers.Optimizer and define update_block, as "
    "help(gn.optimizers.Optimizer) shows",
    "Parameter": "a layer gives its parameters to gn.Layer: super().__init__({'weight': array})",
    "Schedule": "schedules derive from gn.schedules.Schedule and define __call__, as help(gn.schedules.Schedule) shows",
    "SmoothL1Loss": "use gn.HuberLoss",
    "StandardScaler": "use gn.data.Standardizer",
    "accuracy": "metrics are in gn.metrics: gn.metrics.accuracy",
    "amp": "gn.Trainer(model, precision='tf32') uses tensor cores",
    "callbacks": "callbacks are in gpunet itself: gn.EarlyStopping, gn.Checkpoint",
    "clip_grad_norm_": "give it to the optimizer: gn.Adam(clip_norm=1.0)",
    "datasets": "gn.data.digits() and gn.data.load(path) return data sets",
    "digits": "gn.data.digits() returns them",
    "distributed": "mpiexec runs a program with gn.Trainer(model, distributed='mpi') on several ranks",
    "functional": "functions are in gn.ops: gn.ops.matmul",
    "init": "initializers are in gn.initializers",
    "load_model": "gn.load(path) reads a model",
    "nn": "layers and losses are in gpunet itself: gn.Linear, gn.MSELoss",
    "no_grad": "not needed: model(x) computes no gradients",
    "optim": "optimizers are in gpunet itself: gn.Adam, gn.SGD; a Trainer attaches them to its model",
    "save": _WRITES,
    "save_model": _WRITES,
    "summary": "model.summary() returns it",
    "train_test_split": "trainer.fit(X, y, validation=0.2) holds out rows; gn.data.split_indices divides rows",
    **dict.fromkeys(("BCELoss", "BinaryCrossentropy"), _BINARY),
    **dict.fromkeys(("CategoricalCrossentropy", "CrossEntropy", "SparseCategoricalCrossentropy"), _CLASSES),
    **dict.fromkeys(("CosineAnnealingLR", "OneCycleLR", "lr_scheduler"), _SCHEDULES),
    **dict.fromkeys(("DataLoader", "Dataset", "TensorDataset"), _BATCHES),
    **dict.fromkeys(("MLPClassifier", "MLPRegressor"), _SKLEARN),
    **dict.fromkeys(("NLLLoss", "Softmax", "softmax"), _LOGITS),
    **dict.fromkeys(("Tensor", "from_numpy", "tensor", "zeros"), _TENSORS),
    **dict.fromkeys(("autograd", "grad"), _BY_HAND),
    **dict.fromkeys(("compile", "jit"), _AUTOMATIC),
    **dict.fromkeys(("export", "onnx", "to_onnx"), _ONNX),
    **dict.fromkeys(("is_available", "set_device"), "gn.use_device('cuda') sets the device, or says why it cannot"),
    **dict.fromkeys(("manual_seed", "seed", "set_seed"), _SEEDS),
}
"""gpunet equivalents of names that the package does not have."""

OF_CLASSES = {
    "History": {
        "history": "history['loss'] lists the losses of the epochs, history.to_dict() returns all columns",
    },
    "Loss": {
        "forward": "loss.value(prediction, y) returns the loss",
        "weight": "gn.CrossEntropyLoss(class_weight='balanced') weighs classes, fit(sample_weight=...) weighs rows",
    },
    "Model": dict.fromkeys(("history", "loss", "optimizer"), _PARTS) | {"classes_": "model.classes has their names"},
    "Optimizer": {
        "apply_gradients": "optimizer.step() applies the gradients that model.backward computed",
        "get_lr": _LR,
        "learning_rate": _LR,
        "load_state_dict": f"optimizer.restore(state) restores its state, without the arrays; {_FILES}",
        "minimize": _TRAINS,
        "param_groups": "gn.Adam(groups={'*.bias': {'lr': 0.01}}) sets the rate of some parameters",
        "state_dict": f"optimizer.state() returns its state, without the arrays; {_FILES}",
    },
    "Schedule": {
        "get_last_lr": "schedule(step) returns the learning rate of a step",
        "step": "not needed: schedule(step) returns the learning rate, and the optimizer counts the steps",
        **dict.fromkeys(("load_state_dict", "state_dict"), _FILES),
    },
    "Tape": dict.fromkeys(("load", "saved"), "use tape.restore(layer)"),
    "Trainer": {
        "classes_": "trainer.model.classes has their names",
        "compile": "pass Trainer(model, loss=..., optimizer=..., metrics=...), or set trainer.loss = ... later",
        "device": "trainer.model.device is the device",
        "eval": "trainer.evaluate(X, y) returns the loss and the metrics",
        "load_state_dict": _FILES,
        "predict_proba": "trainer.model.predict_proba(X) returns the probabilities",
        "state_dict": _FILES,
        "summary": "trainer.model.summary() returns it",
        "to": f"{_MOVES} before its training",
        "train": "trainer.fit(X, y) trains",
        **dict.fromkeys(("learning_rate", "lr", "scheduler"), f"trainer.{_LR}"),
        **dict.fromkeys(("loss_curve_", "plot"), _PLOTS),
        **dict.fromkeys(("score", "test", "validate"), "trainer.evaluate(X, y) returns the loss and the metrics"),
    },
}
"""Equivalents that are specific to a class and the classes derived from it."""

_RATE = "give it to the optimizer as lr=: gn.Adam(lr=0.001)"

ARGUMENTS = {
    "approximate": "gn.GELUTanh() is the approximation by tanh",
    "batchsize": "write batch_size=",
    "callbacks": "give them to the Trainer: gn.Trainer(model, callbacks=[...])",
    "class_weight": "give it to the loss: gn.Trainer(model, loss=gn.CrossEntropyLoss(class_weight='balanced'))",
    "criterion": "write loss=",
    "device": "model.to('cuda') moves a model; with gn.use_device('cuda') creates it there",
    "epsilon": "write eps=",
    "hidden_layer_sizes": "gn.MLP takes all sizes in one list: gn.MLP([inputs, hidden, outputs])",
    "inplace": "leave it out; layers do not change their input",
    "kernel_initializer": "write init=",
    "learning_rate": _RATE,
    "lr": _RATE,
    "metrics": "give them to the Trainer: gn.Trainer(model, metrics={'auc': gn.metrics.roc_auc})",
    "params": "make the optimizer without parameters; the Trainer attaches it to its model",
    "rate": "write p=",
    "reduction": "leave it out; losses return the mean over the batch",
    "rng": "gn.Trainer and gn.MLP take seed=, a layer such as gn.Linear takes rng=",
    "units": "gn.Linear takes in_features and out_features",
    "use_bias": "write bias=",
    "validation_data": "write validation=(X, y)",
    "validation_split": "write validation=0.2 to hold out a share of the rows",
    "verbose": "gn.Trainer(model, callbacks=[gn.ProgressBar()]) shows progress",
    "weight": "class_weight= belongs to the loss, sample_weight= to fit",
}
"""gpunet equivalents of arguments that its calls do not have."""


def equivalent_of(cls: type, name: str) -> str | None:
    """Return the gpunet equivalent of an attribute that `cls` does not have; None if it is not in the tables."""
    own = (OF_CLASSES[base.__name__] for base in cls.__mro__ if base.__name__ in OF_CLASSES)
    return next((answers[name] for answers in own if name in answers), HABITS.get(name))


def check_arguments(call: Callable[..., Any], name: str, args: tuple[Any, ...], given: Mapping[str, Any]) -> None:
    """Raise `UnknownArgumentError` if `call` does not take these arguments; the error says what to write instead."""
    signature = inspect.signature(call)
    try:
        signature.bind(*args, **given)
    except TypeError as error:
        reason = _unknown(signature, given) or f"{error}{_by_name(signature, args)}."
        raise UnknownArgumentError(f"{name}: {reason}") from None


def _unknown(signature: inspect.Signature, given: Mapping[str, Any]) -> str:
    """Return the message about the first unknown keyword argument; empty if there is none."""
    names = signature.parameters
    unknown = next((key for key in given if key not in names), None)
    if unknown is None or any(parameter.kind is parameter.VAR_KEYWORD for parameter in names.values()):
        return ""
    near = difflib.get_close_matches(unknown, names, n=1, cutoff=0.7)
    hint = f": {ARGUMENTS[unknown]}." if unknown in ARGUMENTS else f"; did you mean {near[0]}=?" if near else "."
    return f"got an unexpected keyword argument {unknown!r}{hint}"


def _by_name(signature: inspect.Signature, args: tuple[Any, ...]) -> str:
    """Return the hint for too many positional arguments; empty if there are not too many."""
    names = [f"{key}=" for key, parameter in signature.parameters.items() if parameter.kind is parameter.KEYWORD_ONLY]
    too_many = len(args) > len(signature.parameters) - len(names)
    return f"; give these by name: {', '.join(names)}" if names and too_many else ""


def explains_wrong_arguments(call: Callable[P, T]) -> Callable[P, T]:
    """Decorate a public method: its errors for wrong arguments say what to write instead."""

    @functools.wraps(call)
    def answering(*args: P.args, **given: P.kwargs) -> T:
        try:
            return call(*args, **given)
        except TypeError:
            check_arguments(call, call.__name__, args, given)
            raise

    return answering
