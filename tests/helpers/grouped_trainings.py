"""Training runs with parameter groups and frozen layers, compared with PyTorch."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

import gpunet as gn

REFERENCE = Path(__file__).with_name("torch_trainings.safetensors")

STEPS = 50


@dataclass(frozen=True)
class Case:
    """A training run.

    Attributes:
        optimizer: the optimizer's name.
        options: its arguments, whose names gpunet and PyTorch share.
        groups: settings by pattern.
        frozen: patterns of the frozen layers.
        clip_norm: the maximum gradient norm; 0 for no clipping.
        schedule: the steps after which the learning rate is halved; 0 for a constant rate.
    """

    optimizer: str
    options: dict[str, Any]
    groups: dict[str, dict[str, float]] = field(default_factory=dict)
    frozen: tuple[str, ...] = ()
    clip_norm: float = 0.0
    schedule: int = 0


CASES = {
    "SGD, groups": Case(
        "SGD",
        {"lr": 0.1, "momentum": 0.9, "nesterov": True, "weight_decay": 0.02},
        {"*.bias": {"weight_decay": 0.0}, "3.*": {"lr": 0.02}, "3.bias": {"lr": 0.3}},
    ),
    "AdamW, groups with a schedule": Case(
        "AdamW",
        {"lr": 0.01, "weight_decay": 0.1},
        {"*.bias": {"weight_decay": 0.0}, "3.*": {"lr": 0.002}},
        schedule=20,
    ),
    "Adam, all but the last layer frozen, clipped": Case(
        "Adam", {"lr": 0.01, "weight_decay": 0.05}, frozen=("0.*", "1.*", "3.*"), clip_norm=0.05
    ),
    "RMSprop, groups, a layer in the middle frozen": Case(
        "RMSprop", {"lr": 0.003, "momentum": 0.5}, {"5.weight": {"lr": 0.001, "weight_decay": 0.1}}, frozen=("3.*",)
    ),
    "SGD, batch norm frozen, clipped": Case("SGD", {"lr": 0.2}, frozen=("1.*",), clip_norm=0.5),
}


def network() -> gn.Sequential:
    """Return the model, with arbitrary weights."""
    layers = gn.Linear(5, 8, bias=False), gn.BatchNorm1d(8), gn.Tanh(), gn.Linear(8, 6), gn.Tanh(), gn.Linear(6, 3)
    return gn.Sequential(*layers)


def arrays(model: gn.Model) -> dict[str, np.ndarray]:
    """Return copies of the parameters and buffers with PyTorch's names and layout."""
    found = {
        f"{path}.{name}": gn.to_host(a).T.copy()
        for path, leaf in model.leaves().items()
        for kept in (leaf.params, leaf.buffers)
        for name, a in kept.items()
    }
    return {name: a for name, a in found.items() if not name.endswith("num_batches_tracked")}


def reference() -> dict[str, np.ndarray]:
    """Return the results that `torch_trainings.py` has written."""
    return load_file(REFERENCE)


def trainer(name: str, executor: str, device: str = "cpu", **options) -> gn.Trainer:
    """Return the trainer of a case, with the initial weights of the reference."""
    case, start = CASES[name], reference()
    model = network()
    for path, leaf in model.leaves().items():
        for kept in (leaf.params, leaf.buffers):
            for key in kept.keys() - {"num_batches_tracked"}:
                kept[key] = start[f"start/{path}.{key}"].T
    if case.frozen:
        model.freeze(*case.frozen)
    settings = {**case.options, "groups": case.groups, "clip_norm": case.clip_norm or None}
    if case.schedule:
        settings["lr"] = gn.StepLR(settings["lr"], case.schedule, 0.5)
    optimizer = getattr(gn, case.optimizer)(**settings)
    return gn.Trainer(model.to(device), optimizer=optimizer, executor=executor, **options)


def assert_follows_pytorch(name: str, executor: str, device: str = "cpu") -> gn.Trainer:
    """Check that a case ends with PyTorch's weights and running statistics; return its trainer."""
    run, expected = trainer(name, executor, device), reference()
    for _ in range(STEPS):
        run.step(expected["x"], expected["y"])
    for key, found in arrays(run.model).items():
        np.testing.assert_allclose(found, expected[f"{name}/{key}"], rtol=0, atol=1e-5, err_msg=key)
    return run


class EachStep(gn.Callback):
    """Overrides `on_step_end`, so that every call runs a single step; stops after step `last`, if given."""

    def __init__(self, last: int | None = None):
        self.last = last

    def on_step_end(self, trainer, rows):
        if trainer.optimizer.steps == self.last:
            trainer.stop("interrupted")


def fit(run: gn.Trainer, epochs: int = 5) -> gn.Trainer:
    """Train on batches of 4 rows; return the trainer."""
    data = reference()
    run.fit(data["x"], data["y"], epochs=epochs, batch_size=4)
    return run


def assert_same_bits(one: gn.Trainer, other: gn.Trainer) -> None:
    """Check that two training runs have the same parameters, state, statistics and losses."""
    stores = [run.model.store for run in (one, other)]
    kept = ([store.params, store.buffers, *store.slots.values()] for store in stores)
    for a, b in zip(*kept, strict=True):
        np.testing.assert_array_equal(gn.to_host(a), gn.to_host(b))
    assert one.history["loss"] == other.history["loss"]


def assert_single_steps_give_the_same_bits(name: str, executor: str, device: str = "cpu") -> None:
    """Check that several steps in one call give the same bits as single steps."""
    assert_same_bits(*(fit(trainer(name, executor, device, callbacks=each)) for each in ([], [EachStep()])))


def assert_a_resumed_training_gives_the_same_bits(name: str, folder: Path, executor: str, device: str = "cpu") -> None:
    """Check that a run interrupted within an epoch resumes with the same bits."""
    whole = fit(trainer(name, executor, device))
    fit(trainer(name, executor, device, callbacks=[EachStep(10), gn.Checkpoint(folder / "run")]))
    with gn.use_device(device):
        resumed = gn.Trainer.resume(folder / "run")
    assert_same_bits(fit(resumed, 5 - resumed.epoch), whole)
