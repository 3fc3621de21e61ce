"""Read the files of models."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, TypedDict

import numpy as np

from gpunet.data import Standardizer, TableSchema
from gpunet.data.labels import listing
from gpunet.errors import DeviceError, ModelFileError
from gpunet.files import read_arrays
from gpunet.formats import read_as
from gpunet.initializers import undrawn
from gpunet.losses import Task
from gpunet.models.configs import layer_from_config
from gpunet.models.model import Model
from gpunet.registry import Custom, checked

SLACK = 2**20
"""How many more elements than its file a model may have while it is built; then their shapes are compared."""


class _Always(TypedDict):
    """What the file of a model or of a training says of the model, as JSON."""

    model: dict[str, Any]
    dtype: Literal["float32", "float64"]
    task: Task | None
    classes: tuple[str, ...] | None
    schema: dict[str, Any] | None


class _Description(_Always, total=False):
    """The same with what older files don't say."""

    frozen: list[str]


def load(path: str | Path, *, custom: Custom | None = None, allow_nan: bool = False) -> Model:
    """Read a model that `save` wrote, onto the current device. No code in the file is run: it has none.

    Args:
        path: the file.
        custom: classes of layers of your own by the names in the file, where they are not registered (`gn.register`).
        allow_nan: whether parameters and buffers may be NaN or infinite, as after a training that diverged.

    Raises:
        ArgumentError: `custom` is no mapping.
        FileNotFoundError: there is no such file.
        ModelFileError: the file is truncated, altered, of another program, version or kind; it has a layer of a class
            that is not known, other parameters than its layers, or some that are not finite. All of them are listed.
    """
    classes = checked(custom)
    arrays, description = read_arrays(path, "model")
    with refused_as(path):
        model = model_from_arrays(arrays, description, custom=classes)
        if extra := arrays.keys() - model.host_arrays().keys():
            raise ModelFileError(f"it has {listing(sorted(extra))}, which no layer takes")
    wild = [name for name, a in arrays.items() if not np.isfinite(a).all()]
    if wild and not allow_nan:
        raise ModelFileError(
            f"{path}: NaN or infinity in {listing(wild)}, as after a training that diverged; "
            "gn.load(path, allow_nan=True) reads it nevertheless."
        )
    return model


@contextmanager
def refused_as(path: str | Path) -> Iterator[None]:
    """Turn what goes wrong while an object is made of a file into a `ModelFileError`."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:  # constructors meet arguments that nobody has checked, and fail in any way
        reason = str(error).rstrip(".") or type(error).__name__
        raise ModelFileError(f"{path}: this gpunet cannot read it: {reason}.") from error


def model_from_arrays(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any], *, custom: Custom) -> Model:
    """Rebuild a model from what `Model.to_arrays` returned.

    Raises:
        ModelFileError: no model, or arrays that are missing or of another shape than the layers take; all are listed.
        ValueError: a description of another format.
    """
    known = {name: description[name] for name in _Description.__annotations__ if name in description}
    about = read_as(_Description, known)
    with undrawn(sum(a.size for a in arrays.values()) + SLACK):
        model = layer_from_config(about["model"], custom)
    if not isinstance(model, Model):
        raise ModelFileError("it holds no model")
    model.to(dtype=about["dtype"])
    model.task, model.classes = about["task"], about["classes"]
    if about["schema"] is not None:
        model.schema = TableSchema.from_json(about["schema"])
    leaves = model.leaves()
    for leaf_path in about.get("frozen", ()):
        leaves[leaf_path].trainable = False
    views = {
        f"{which}.{leaf_path}.{name}": (own, name)
        for leaf_path, leaf in leaves.items()
        for which, own in (("params", leaf.params), ("buffers", leaf.buffers))
        for name in own
    }
    check_shapes({key: own[name].shape for key, (own, name) in views.items()}, arrays)
    for key, (own, name) in views.items():
        own[name] = arrays[key]
    for name in ("input_scaler", "target_scaler"):
        if f"{name}.mean" in arrays:
            setattr(model, name, _scaler(arrays, name))
    return model


def check_shapes(expected: Mapping[str, tuple[int, ...]], arrays: Mapping[str, np.ndarray]) -> None:
    """Refuse arrays that are missing, of another shape, or no floats."""
    wrong = [
        f"{name} is missing"
        if name not in arrays
        else f"{name} is {arrays[name].dtype} {arrays[name].shape}, not {shape}"
        for name, shape in expected.items()
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype.kind != "f"
    ]
    if wrong:
        more = f", and {len(wrong) - 20} more" if len(wrong) > 20 else ""
        raise ModelFileError(f"{', '.join(wrong[:20])}{more}")


def _scaler(arrays: Mapping[str, np.ndarray], name: str) -> Standardizer:
    mean = arrays[f"{name}.mean"]
    check_shapes({f"{name}.{part}": mean.shape for part in ("mean", "scale")}, arrays)
    return Standardizer(mean, arrays[f"{name}.scale"])
