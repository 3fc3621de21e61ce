"""Kill trainings at random moments and resume them, and start two runs on one folder.

`python tests/fuzz/kills.py --kills 50 --races 20` prints the counts. After each kill the checkpoint must be whole and
hold every step that the training said was saved. After the last one it must have the bits of a training that was not
killed. Of two runs that start at the same moment on one folder, one must be refused, and the files are those of the
other.
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

import gpunet as gn
from gpunet.files import read_arrays

WIDTH = {"training": 16, "saving": 256}
"""Hidden units: "training" saves a small model after each epoch, "saving" a larger one after each step."""


class Save(gn.Callback):
    """Save the training after each step or epoch, and print its number of steps; stop after `last` steps."""

    order = 1  # after the callbacks whose state it saves

    def __init__(self, path: Path, each_step: bool, last: int | None = None):
        self.path, self.each_step, self.last = path, each_step, last

    def on_step_end(self, trainer: gn.Trainer, rows: int) -> None:
        if self.each_step:
            self.save(trainer)

    def on_epoch_end(self, trainer: gn.Trainer, row: Any) -> None:
        if not self.each_step:
            self.save(trainer)

    def save(self, trainer: gn.Trainer) -> None:
        steps = trainer.optimizer.steps
        if self.last in (None, steps):
            trainer.save(self.path)
            print(steps, flush=True)
        if self.last == steps:
            trainer.stop("it has all steps")


def train(kind: str, path: Path, last: int | None = None) -> None:
    """Train from the checkpoint on, if there is one, and save until killed, or once after `last` steps."""
    callbacks = [Save(path, kind == "saving", last), gn.EarlyStopping(patience=10**6)]
    if path.exists():
        trainer = gn.Trainer.resume(path, callbacks=callbacks)
    else:
        model = gn.MLP([64, WIDTH[kind], 10], dropout=0.2, seed=0)
        optimizer = gn.AdamW(gn.StepLR(0.003, 200, 0.9), clip_norm=1)
        trainer = gn.Trainer(model, optimizer=optimizer, callbacks=callbacks, seed=1, ema=0.99)
    data = gn.data.digits()
    trainer.fit(data.X[:400], data.y[:400], epochs=10**6, batch_size=64, validation=0.2)


def contents(path: Path) -> tuple[dict[str, bytes], dict[str, Any]]:
    """Return what a checkpoint holds, without the seconds of the epochs."""
    arrays, description = read_arrays(path, "checkpoint")
    for row in description["history"]:
        del row["seconds"]
    return {name: a.tobytes() for name, a in arrays.items()}, description


def kill(kind: str, device: str, kills: int, seed: int, folder: Path) -> int:
    """Kill and resume one training so many times; return the steps that it made.

    Raises:
        AssertionError: a training ended by itself, its checkpoint lost steps, or differs from that of a training that
            was not killed.
        GpunetError: a checkpoint is broken.
    """
    rng = random.Random(f"{kind} {device} {seed}")
    path, whole = folder / "killed.safetensors", folder / "whole.safetensors"
    command = [sys.executable, __file__, "--train", kind, "--device", device]
    steps = 0
    for number in range(kills):
        with subprocess.Popen([*command, path], stdout=subprocess.PIPE, text=True) as worker:
            assert worker.stdout is not None
            said = [worker.stdout.readline()] if number == 0 or rng.random() < 0.8 else []
            time.sleep(rng.uniform(0, 0.3 if said else 2))
            assert worker.poll() is None, f"kill {number}: the training ended by itself"
            worker.kill()
            said += worker.stdout.read().splitlines(keepends=True)
        saved = [steps, *(int(line) for line in said if line.endswith("\n"))][-1]
        steps = contents(path)[1]["optimizer_state"]["steps"]
        assert steps >= saved, f"kill {number}: {steps} steps in the checkpoint, but {saved} were saved"
    subprocess.run([*command, "--last", str(steps), whole], stdout=subprocess.DEVNULL, check=True)
    assert contents(path) == contents(whole), "the training differs from one that was not killed"
    return steps


START = "import sys; from gpunet.cli import main; print('ready', flush=True); sys.stdin.readline(); main(sys.argv[1:])"


def race(device: str, folder: Path) -> None:
    """Start two runs at the same moment on one folder, then resume it twice at the same moment.

    Raises:
        AssertionError: not one of the two was refused, or files are missing or differ from those of a run alone.
    """
    alone, shared = folder / "alone", folder / "shared"
    options = ["digits", "--hidden", "8", "--device", device, "--json"]
    assert at_once([["train", *options, "--epochs", "1", "--out", alone]])[0][0] == 0
    start = ["train", *options, "--epochs", "1", "--out", shared]
    resume = ["train", "--resume", shared, "--epochs", "20", "--json"]
    for command in (start, resume):
        refused, done = sorted(at_once([command, command]), reverse=True)
        assert (refused[0], done[0]) == (2, 0), (refused, done)
        assert refused[1].startswith("Error: "), refused
        assert refused[1].count("\n") == 1, refused
        assert {file.name for file in shared.iterdir()} == {file.name for file in alone.iterdir()}
        if command is resume:
            assert at_once([["train", "--resume", alone, "--epochs", "20", "--json"]])[0][0] == 0
        for file in shared.iterdir():
            if file.suffix == ".safetensors":
                kind = "model" if file.stem == "model" else "checkpoint"
                one, other = (read_arrays(run / file.name, kind)[0] for run in (shared, alone))
                assert one.keys() == other.keys()
                assert all(np.array_equal(one[name], other[name]) for name in one), file


def at_once(commands: list[list[Any]]) -> list[tuple[int, str]]:
    """Run commands of gpunet that begin at the same moment; return their exit codes and stderr."""
    pipe = subprocess.PIPE
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", START, *map(str, command)], stdin=pipe, stdout=pipe, stderr=pipe, text=True
        )
        for command in commands
    ]
    for run in runs:
        assert run.stdout is not None
        run.stdout.readline()
    for run in runs:
        assert run.stdin is not None
        run.stdin.write("\n")
        run.stdin.flush()
    return [
        (run.returncode, errors) for run, (_, errors) in zip(runs, [run.communicate() for run in runs], strict=True)
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=5, help="of each kind of training")
    parser.add_argument("--races", type=int, default=2, help="pairs of runs")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", choices=WIDTH, help=argparse.SUPPRESS)
    parser.add_argument("--last", type=int, help=argparse.SUPPRESS)
    parser.add_argument("path", type=Path, nargs="?", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.train:
        with gn.use_device(arguments.device):
            train(arguments.train, arguments.path, arguments.last)
        return
    for kind in WIDTH if arguments.kills else ():
        with tempfile.TemporaryDirectory() as folder:
            steps = kill(kind, arguments.device, arguments.kills, arguments.seed, Path(folder))
        print(f"{kind} on {arguments.device}: {arguments.kills} kills in {steps} steps, nothing lost, the same bits")
    for _ in range(arguments.races):
        with tempfile.TemporaryDirectory() as folder:
            race(arguments.device, Path(folder))
    print(f"{arguments.races} pairs of runs: one of each was refused, all files are whole")


if __name__ == "__main__":
    main()
