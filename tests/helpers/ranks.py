"""Tasks of MPI ranks in tests of distributed training: `mpiexec -n N python ranks.py TASK FOLDER`.

Tests also run the same training in one process, and compare the results.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from problems import classification

import gpunet as gn
from gpunet.data import Standardizer
from gpunet.errors import GpunetError

X, Y = classification(80)
WEIGHT = np.linspace(0, 2, 80)
WORDS, TAGS = np.random.default_rng(0).integers(0, (9, 3), (80, 4, 2)).transpose(2, 0, 1)
BATCH = 17  # 80 rows are 5 steps per epoch, and the last batch has 12 rows; four epochs are 20 steps

Training = Callable[[str | None], gn.Trainer]


def mpiexec(n: int, *command: Any, timeout: float = 30) -> subprocess.CompletedProcess[str]:
    """Run a program on n ranks, each with one BLAS thread; waiting ranks yield, since there may be fewer cores."""
    program = shutil.which("mpiexec", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
    if program is None:
        import pytest  # not above: the ranks do not import pytest

        pytest.skip("needs mpiexec: pip install 'gpunet[mpi]'")
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1", "MPIR_CVAR_POLLS_BEFORE_YIELD": "0"}
    line = [program, "-n", str(n), *map(str, command)]
    return subprocess.run(line, env=environment, capture_output=True, text=True, timeout=timeout)


def ranks_do(n: int, task: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a task of this file on n ranks."""
    return mpiexec(n, sys.executable, __file__, task, folder)


class Doubled(gn.Layer):
    """A user-defined layer, whose first replay is checked against its code."""

    def forward(self, x: Any, tape: gn.Tape | None = None) -> Any:
        return x * 2

    def backward(self, dy: Any, tape: gn.Tape, *, input_gradient: bool = True) -> Any:
        return dy * 2


def trained(
    distributed: str | None,
    X: np.ndarray = X,
    y: np.ndarray = Y,
    *,
    model: gn.Model | None = None,
    epochs: int = 4,
    fit: dict[str, Any] | None = None,
    **options: Any,
) -> gn.Trainer:
    """Train a net for some epochs."""
    model = gn.MLP([5, 16, 8, 3], dropout=0.2, seed=0) if model is None else model
    trainer = gn.Trainer(model, seed=3, distributed=distributed, **{"optimizer": gn.Adam(0.01), **options})
    trainer.fit(X, y, epochs=epochs, batch_size=BATCH, **(fit or {}))
    return trainer


def stepped(distributed: str | None) -> gn.Trainer:
    """Run twenty single steps on batches of two sizes."""
    trainer = gn.Trainer(gn.MLP([5, 8, 3], dropout=0.2, seed=0), seed=3, distributed=distributed)
    for i in range(20):
        rows = slice(2 * i, 2 * i + 17 - i % 2)
        trainer.step(X[rows], Y[rows], WEIGHT[rows])
    return trainer


def tagger() -> gn.Model:
    return gn.Sequential(gn.Embedding(9, 6, rng=0), gn.Linear(6, 3, rng=1))


TRAININGS: dict[str, Training] = {
    "SGD": partial(trained, optimizer=gn.SGD(0.05, momentum=0.9)),
    "Adam in float64": lambda distributed: trained(distributed, model=gn.MLP([5, 16, 3], seed=0).to(dtype="float64")),
    "dropout": trained,
    "eager steps": partial(trained, executor="eager"),
    "a layer of one's own": lambda d: trained(d, model=gn.Sequential(gn.Linear(5, 3, rng=0), Doubled())),
    "groups, a frozen batch norm": lambda distributed: trained(
        distributed,
        model=gn.Sequential(gn.Linear(5, 8, rng=0), gn.BatchNorm1d(8), gn.Linear(8, 3, rng=1)).freeze("1.*"),
        optimizer=gn.SGD(0.05, clip_norm=0.5, groups={"2.*": {"lr": 0.01}}),
    ),
    "weighted rows": partial(trained, fit={"sample_weight": WEIGHT}, optimizer=gn.AdamW(0.01, clip_norm=0.1)),
    "a rank whose rows weigh nothing": partial(
        trained, fit={"sample_weight": np.arange(80) % BATCH > 9, "shuffle": False}
    ),
    "weighted rows and classes": partial(
        trained, loss=gn.CrossEntropyLoss(0.1, class_weight=[1, 2, 5]), fit={"sample_weight": WEIGHT}
    ),
    "weighted classes at positions": lambda distributed: trained(
        distributed, WORDS, TAGS, model=tagger(), loss=gn.CrossEntropyLoss(class_weight=[1, 2, 5])
    ),
    "balanced answers": lambda distributed: trained(
        distributed,
        y=Y > 0,
        model=gn.MLP([5, 8, 1], seed=0),
        loss=gn.BCEWithLogitsLoss(class_weight="balanced"),
        fit={"sample_weight": WEIGHT, "validation": (X, Y > 0, WEIGHT)},
    ),
    "balanced classes": partial(trained, loss=gn.CrossEntropyLoss(class_weight="balanced")),
    "distributions": partial(trained, y=np.eye(3)[Y], fit={"sample_weight": WEIGHT}),
    "yes or no": lambda distributed: trained(
        distributed, y=np.stack([Y > 0, Y > 1], axis=1), model=gn.MLP([5, 8, 2], seed=0), loss=gn.BCEWithLogitsLoss()
    ),
    "regression": lambda distributed: trained(
        distributed,
        y=X[:, 0],
        model=gn.MLP([5, 8, 1], seed=0),
        loss=gn.HuberLoss(0.5),
        fit={"sample_weight": WEIGHT},
    ),
    "validation, plateaus, early stopping": lambda distributed: trained(
        distributed,
        y=np.random.default_rng(0).integers(0, 3, 80),
        epochs=30,
        optimizer=gn.Adam(gn.ReduceLROnPlateau(0.01, patience=1)),
        callbacks=[gn.EarlyStopping(patience=3)],
        fit={"validation": 0.25},
    ),
    "a last batch that is dropped": partial(trained, epochs=5, fit={"drop_last": True}),
    "single steps": stepped,
}


SAMPLE = ("dropout", "weighted rows and classes", "eager steps")
"""The training runs that are tested on slower devices."""


class Counted:
    """A communicator that records its calls and the bytes of their arrays."""

    def __init__(self, comm: Any):
        self.comm = comm
        self.calls: list[tuple[str, int]] = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            self.calls.append((name, sum(a.nbytes for a in arguments if isinstance(a, np.ndarray))))
            return getattr(self.comm, name)(*arguments)

        return call


class AtEachStep(gn.Callback):
    """Calls a function with the trainer after each step."""

    def __init__(self, function: Callable[[gn.Trainer], None]):
        self.function = function

    def on_step_end(self, trainer: gn.Trainer, rows: int) -> None:
        self.function(trainer)


def train(folder: Path, names: Iterable[str] = tuple(TRAININGS)) -> None:
    """Save the weights and history of training runs; check that all ranks have the same bits."""
    found = {}
    for name in names:
        trainer = TRAININGS[name]("mpi")
        weights = gn.to_host(trainer.model.store.params)
        assert len(set(trainer.ranks.comm.allgather(weights.tobytes()))) == 1, name
        found[name] = {"weights": weights.tolist(), "history": trainer.history.epochs, "steps": trainer.optimizer.steps}
    if trainer.ranks.main:
        (folder / "found.json").write_text(json.dumps(found))


def count_bytes(folder: Path) -> None:
    """Save the calls of the communicator in each step."""
    trainer = gn.Trainer(gn.MLP([5, 16, 3], seed=0), distributed="mpi")
    counted = trainer.ranks.comm = Counted(trainer.ranks.comm)
    steps: list[list[tuple[str, int]]] = []

    def note(trainer: gn.Trainer) -> None:
        steps.append(counted.calls.copy())
        counted.calls.clear()

    trainer.callbacks.append(AtEachStep(note))
    trainer.fit(X, Y, epochs=1, batch_size=8)
    if trainer.ranks.main:
        (folder / "steps.json").write_text(json.dumps(steps[1:]))  # the first entry also has the checks of `fit`


def resume(folder: Path) -> None:
    """Resume single.safetensors; save a checkpoint within an epoch, and the end."""

    def save(trainer: gn.Trainer) -> None:
        if trainer.optimizer.steps == 13:
            trainer.save(folder / "ranks.safetensors")

    trainer = gn.Trainer.resume(folder / "single.safetensors", callbacks=[AtEachStep(save)], distributed="mpi")
    trainer.fit(X, Y, epochs=4 - trainer.epoch, batch_size=BATCH)
    trainer.save(folder / "end.safetensors")


def interrupt(folder: Path) -> None:
    """Send Ctrl-C to rank 1 in the second epoch; save the state of each rank afterwards."""

    def at(trainer: gn.Trainer) -> None:
        if trainer.ranks.rank == 1 and trainer.optimizer.steps == 7:
            os.kill(os.getpid(), signal.SIGINT)

    trainer = trained("mpi", callbacks=[AtEachStep(at), gn.Checkpoint(folder / "checkpoint.safetensors")])
    ended = trainer.ranks.comm.allgather([trainer.history.stopped, trainer.epoch, trainer.position])
    if trainer.ranks.main:
        (folder / "ended.json").write_text(json.dumps(ended))


def fail(how: str, folder: Path) -> None:
    """Fail on rank 1 in the third epoch, or before the training starts."""

    def at(trainer: gn.Trainer) -> None:
        if trainer.ranks.rank == 1 and trainer.optimizer.steps == 12:
            if how == "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            if how == "exits":
                os._exit(0)
            raise ValueError("planted")

    callbacks = [AtEachStep(at), gn.Checkpoint(folder / "checkpoint.safetensors")]
    if how in ("outside", "ends") and gn.Trainer(gn.MLP([5, 3]), distributed="mpi").ranks.rank == 1:
        if how == "ends":
            return
        raise ValueError("planted")
    trained("mpi", callbacks=callbacks)


def bad(rank: int) -> dict[str, Callable[[], object]]:
    """Return invalid training runs by their fault; none of them may start."""
    moved = X + np.float32(rank)
    odd = X.copy()
    odd[0, 0] = np.nan if rank else 0
    norm = gn.Sequential(gn.Linear(5, 3), gn.BatchNorm1d(3))
    scaled = gn.MLP([5, 8, 3])
    scaled.input_scaler = Standardizer(np.full(5, float(rank)), np.ones(5))
    return {
        "seed": lambda: gn.Trainer(gn.MLP([5, 3]), seed=rank, distributed="mpi").fit(X, Y),
        "step": lambda: gn.Trainer(gn.MLP([5, 3]), seed=rank, distributed="mpi").step(X, Y),
        "model": lambda: trained("mpi", model=gn.MLP([5, 8 + rank, 3])),
        "optimizer": lambda: trained("mpi", optimizer=gn.SGD(0.1 + rank)),
        "loss": lambda: trained("mpi", loss=gn.CrossEntropyLoss(0.1 * rank)),
        "batch_size": lambda: gn.Trainer(gn.MLP([5, 3]), distributed="mpi").fit(X, Y, batch_size=8 + rank),
        "data": lambda: trained("mpi", moved),
        "scaler": lambda: trained("mpi", model=scaled),
        "rows": lambda: trained("mpi", X[rank:], Y[rank:]),
        "NaN": lambda: trained("mpi", odd),
        "batch of one": lambda: gn.Trainer(gn.MLP([5, 3]), distributed="mpi").fit(X, Y, batch_size=1),
        "last batch of one": lambda: gn.Trainer(gn.MLP([5, 3]), distributed="mpi").fit(X, Y, batch_size=79),
        "step on one": lambda: gn.Trainer(gn.MLP([5, 3]), distributed="mpi").step(X[:1], Y[:1]),
        "batch norm": lambda: trained("mpi", model=norm),
        # last, as it changes the module
        "version": lambda: (setattr(gn, "__version__", f"0.{rank}"), trained("mpi")),
    }


def refuse(folder: Path) -> None:
    """Save the error of each rank for each invalid training run."""
    from mpi4py.MPI import COMM_WORLD

    messages = {}
    for name, training in bad(COMM_WORLD.rank).items():
        said = "nothing"
        try:
            training()
        except GpunetError as error:
            said = f"{type(error).__name__}: {error}"
        messages[name] = COMM_WORLD.allgather(said)
    if COMM_WORLD.rank == 0:
        (folder / "messages.json").write_text(json.dumps(messages))


if __name__ == "__main__":
    task, folder = sys.argv[1], Path(sys.argv[2])
    tasks = {"train": train, "sample": partial(train, names=SAMPLE), "count": count_bytes, "resume": resume}
    tasks |= {"refuse": refuse, "interrupt": interrupt}
    tasks.get(task, partial(fail, task))(folder)
