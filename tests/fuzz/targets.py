"""What is fuzzed: for each format that gpunet reads, how to write a valid file, how to change it, how to read it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from mutations import mutated_arrays, mutated_bytes, mutated_json

import gpunet as gn
from gpunet.bench.ceilings import Ceilings
from gpunet.bench.results import Report, Row
from gpunet.bench.timing import Spread
from gpunet.cli import run
from gpunet.files import read_arrays, write_arrays
from gpunet.ops import tuned
from gpunet.ops.tiles import CANDIDATES, FLOAT32

Rng = np.random.Generator


@dataclass(frozen=True)
class Target:
    """A format: `write(path)` a valid file, `change(rng, path)` it in place, `read(path)` it and use the result."""

    name: str
    write: Callable[[Path], None]
    change: Callable[[Rng, Path], None]
    read: Callable[[Path], Any]


def _change_contents(kind: str) -> Callable[[Rng, Path], None]:
    """Change the description or the arrays of one of gpunet's own files, and write it whole, with its checksum."""

    def change(rng: Rng, path: Path) -> None:
        arrays, description = read_arrays(path, kind)
        if rng.integers(3):
            version = {"version": description.pop("version")}
            changed = mutated_json(rng, description)
            description = {**version, **changed} if isinstance(changed, dict) else version
        else:
            arrays = mutated_arrays(rng, arrays)
        write_arrays(path, arrays, description)

    return change


def _change_json(rng: Rng, path: Path) -> None:
    path.write_text(json.dumps(mutated_json(rng, json.loads(path.read_text()))))


def _change_bytes(rng: Rng, path: Path) -> None:
    path.write_bytes(mutated_bytes(rng, path.read_bytes()))


def _change_lines(rng: Rng, path: Path) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    changed = mutated_json(rng, rows)
    path.write_text("\n".join(map(json.dumps, changed if isinstance(changed, list) else [changed])))


def _change_npz(rng: Rng, path: Path) -> None:
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    np.savez(path, **mutated_arrays(rng, arrays))


def _read_folder(file: str, read: Callable[[Path], Any]) -> Callable[[Path], Any]:
    """Return a reader of a run's folder in which `file` is the one that was changed."""

    def read_run(path: Path) -> Any:
        folder = path.with_suffix(".run")
        folder.mkdir(exist_ok=True)
        (folder / run.CONFIG).write_text(json.dumps(SETTINGS))
        (folder / file).write_bytes(path.read_bytes())
        return read(folder)

    return read_run


SETTINGS = {
    "data": "digits",
    "target": None,
    "task": None,
    "hidden": [8],
    "activation": "relu",
    "dropout": 0.1,
    "label_smoothing": 0.1,
    "epochs": 3,
    "batch_size": 32,
    "optimizer": "Adam",
    "lr": 0.002,
    "device": "cpu",
    "seed": 0,
}
HISTORY = [{"epoch": epoch, "loss": 1 / epoch, "val_loss": None, "seconds": 0.1} for epoch in (1, 2, 3)]


def _mlp() -> gn.Model:
    model = gn.MLP([4, 8, 3], dropout=0.1)
    X = np.random.default_rng(0).normal(size=(40, 4))
    model.input_scaler = gn.data.Standardizer.fit(X)
    model.classes = ("a", "b", "c")
    gn.Trainer(model, callbacks=[gn.EarlyStopping()]).fit(X, np.arange(40) % 3, epochs=1, validation=0.25)
    return model.freeze("0")


def _images() -> gn.Model:
    return gn.Sequential(
        gn.Conv2d(1, 2, 3), gn.BatchNorm2d(2), gn.ReLU(), gn.MaxPool2d(2), gn.Flatten(), gn.Linear(18, 3)
    )


def _sequences() -> gn.Model:
    return gn.Sequential(gn.Embedding(11, 8), gn.TransformerEncoderLayer(8, 2, 16), gn.LSTM(8, 4), gn.Linear(4, 2))


def _table() -> gn.Model:
    return gn.Sequential(gn.EntityEmbedding(2, [5, 3]), gn.Linear(10, 4), gn.LayerNorm(4), gn.SwiGLU(4, 6))


def _saved(build: Callable[[], gn.Model]) -> Callable[[Path], None]:
    return lambda path: build().save(path)


def _checkpoint(path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 4))
    callbacks = [gn.EarlyStopping(), gn.TerminateOnNaN()]
    schedule = gn.schedules.LinearWarmup(gn.schedules.CosineLR(0.01, 30), 3)
    optimizer = gn.AdamW(schedule, groups={"*.bias": {"weight_decay": 0}})
    trainer = gn.Trainer(gn.MLP([4, 8, 3]), optimizer=optimizer, callbacks=callbacks, ema=0.9)
    trainer.fit(X, np.arange(40) % 3, epochs=2, validation=0.25)
    trainer.save(path)


def _resume(path: Path) -> None:
    X = np.random.default_rng(0).normal(size=(40, 4))
    trainer = gn.Trainer.resume(path, callbacks=[gn.EarlyStopping(), gn.TerminateOnNaN()])
    trainer.fit(X, np.arange(40) % 3, epochs=1, validation=0.25)


def _load(path: Path) -> None:
    model = gn.load(path)
    repr(model)
    model.save(path)


def _bench(path: Path) -> None:
    spread = Spread(1e-5, 9e-6, 2e-5)
    row = Row(
        "matmul", "NN", "64x64x64", "float32", 1, 2, "FLOP/s", "tiled", error=1e-7, seconds=spread, speedup=spread
    )
    Report({"device": "sim", "date": "2026-11-29"}, Ceilings(1e12, 1e11), [row, row]).write(path)


def _read_bench(path: Path) -> None:
    for row in Report.read(path).rows:
        assert row.key
        assert row.speed is None or row.speed > 0


def _tuned(path: Path) -> None:
    entry = {"tile": [*CANDIDATES["tiled", FLOAT32][0]], "splits": 1, "date": "2026-11-29"}
    winners = {"NVIDIA H200": {"tiled float32 NN 128x64x64": entry}}
    path.write_text(json.dumps({"format": tuned.FORMAT, "version": tuned.VERSION, "winners": winners}))


def _npz(path: Path) -> None:
    rng = np.random.default_rng(0)
    y = np.arange(12) % 2
    np.savez(
        path,
        X=rng.normal(size=(12, 3)),
        y=y,
        classes=np.array(["no", "yes"]),
        X_test=rng.normal(size=(4, 3)),
        y_test=y[:4],
    )


def _idx(ndim: int) -> bytes:
    shape = (5, 3, 2)[:ndim]
    header = bytes((0, 0, 8, ndim)) + b"".join(size.to_bytes(4, "big") for size in shape)
    return header + bytes(range(int(np.prod(shape))))


def _read_idx(path: Path) -> None:
    folder = path.with_suffix(".idx")
    folder.mkdir(exist_ok=True)
    (folder / "train-images-idx3-ubyte").write_bytes(path.read_bytes())
    (folder / "train-labels-idx1-ubyte").write_bytes(_idx(1))
    gn.data.load(folder)


def _csv(path: Path) -> None:
    rows = "".join(f"{i}.5,{'abc'[i % 3]},2020-01-{i + 1:02},{'pq'[i % 2]}\n" for i in range(12))
    path.write_text(f'"a number",text,date,class\n{rows}')


def _read_csv(path: Path) -> None:
    data = gn.data.LabelledTable.read(path, None, None).dataset()
    data.schema.read_labelled(path, data.classes)
    data.schema.describe()


TARGETS = [
    *(
        Target(f"model of {build.__name__.removeprefix('_')}", _saved(build), _change_contents("model"), _load)
        for build in (_mlp, _images, _sequences, _table)
    ),
    Target("bytes of a model", _saved(_mlp), _change_bytes, _load),
    Target("checkpoint", _checkpoint, _change_contents("checkpoint"), _resume),
    Target("bytes of a checkpoint", _checkpoint, _change_bytes, _resume),
    Target("bench results", _bench, _change_json, _read_bench),
    Target("tuned table", _tuned, _change_json, tuned.read),
    Target(
        "settings",
        lambda path: path.write_text(json.dumps(SETTINGS)),
        _change_json,
        _read_folder(run.CONFIG, run.Settings.read),
    ),
    Target(
        "log",
        lambda path: path.write_text("\n".join(map(json.dumps, HISTORY))),
        _change_lines,
        _read_folder(run.LOG, lambda folder: run.read_history(folder).columns),
    ),
    Target(
        "results",
        lambda path: path.write_text(json.dumps({"test": {"loss": 1.0, "accuracy": None}})),
        _change_json,
        _read_folder(run.RESULTS, run.read_test_results),
    ),
    Target("npz", _npz, _change_npz, gn.data.load),
    Target("bytes of an npz", _npz, _change_bytes, gn.data.load),
    Target("bytes of a table", _csv, _change_bytes, _read_csv),
    Target("bytes of an IDX file", lambda path: path.write_bytes(_idx(3)), _change_bytes, _read_idx),
]
