"""What users of PyTorch and Keras type by habit, and how it is done here."""

from __future__ import annotations

_TRAINS = "gn.Trainer(model, loss='mse', optimizer='adam').fit(X, y) trains"
_MODES = f"there are no modes: model.forward(x, tape) is for a training step, model(x) for inference; {_TRAINS}"
_MOVES = "model.to('cuda') and model.to('cpu') move a model"

HABITS = {
    "backward": "value, gradient = loss.value_and_grad(model.forward(x, tape), y, tape=tape), then "
    f"model.backward(gradient, tape); {_TRAINS}",
    "compile": f"a Trainer has the loss, the optimizer and the metrics: {_TRAINS}",
    "cpu": _MOVES,
    "cuda": _MOVES,
    "eval": _MODES,
    "fit": _TRAINS,
    "load_state_dict": "gn.load(path) reads a model, gn.interop.load_torch(model, weights) takes PyTorch's weights",
    "state_dict": "model.parameters() has the weights by name; model.save(path) and trainer.save(path) write files",
    "train": _MODES,
    "zero_grad": "model.backward(gradient, tape) overwrites the gradients, it does not add to them",
}
"""How it is done here, by the names of attributes that gpunet's classes do not have."""
