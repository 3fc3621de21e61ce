"""Read model files."""

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
from gpunet.initializers import initialized_with_zeros
from gpunet.losses import Task
from gpunet.models.configs import layer_from_config
from gpunet.models.model import Model
from gpunet.registry import Custom, checked

MODEL = "model.safetensors"
"""Name of the model's file in the folder of a run of `gpunet train`."""

SLACK = 2**20
"""Elements that a model may have beyond those in its file while it is built; afterwards all shapes are compared."""


class _Required(TypedDict):
    """The description of a model in its file, or in a checkpoint, as JSON."""

    model: dict[str, Any]
    dtype: Literal["float32", "float64"]
    task: Task | None
    classes: tuple[str, ...] | None
    schema: dict[str, Any] | None


class _Description(_Required, total=False):
    """The description with the keys that older files lack."""

    frozen: list[str]


def load(path: str | Path, *, custom: Custom | None = None, allow_nan: bool = False) -> Model:
    """Load a model that `Model.save` wrote, onto the current device. Files contain no code, so none is run.

    Args:
        custom: your own layer classes by their names in the file, if they are not registered (`gn.register`).
        allow_nan: whether to accept NaN and infinity, as after a training that diverged.

    Raises:
        FileNotFoundError: there is no such file.
        ModelFileError: the file is truncated, altered, or of another program, version or kind; a layer's class is
            unknown; parameters do not match the layers or are not finite.

    Example:
        >>> gn.MLP([4, 8, 3]).save("model.safetensors")
        >>> gn.load("model.safetensors")
        Sequential(Linear(4, 8, activation=ReLU()), Linear(8, 3))
    """
    classes = checked(custom)
    if (inside := Path(path) / MODEL).is_file():
        raise ModelFileError(f"{path} is a folder; load {inside}.")
    arrays, description = read_arrays(path, "model")
    with refused_as(path):
        model = model_from_arrays(arrays, description, custom=classes)
        if extra := arrays.keys() - model.host_arrays().keys():
            raise ModelFileError(f"it has {listing(sorted(extra))}, which belong to no layer")
    not_finite = [name for name, a in arrays.items() if not np.isfinite(a).all()]
    if not_finite and not allow_nan:
        raise ModelFileError(
            f"{path}: NaN or infinity in {listing(not_finite)}, as after a training that diverged; load it with "
            "gn.load(path, allow_nan=True)."
        )
    return model


@contextmanager
def refused_as(path: str | Path) -> Iterator[None]:
    """Turn any error while an object is rebuilt from a file into a `ModelFileError`."""
    try:
        yield
    except DeviceError:
        raise
    except Exception as error:  # constructors get unchecked arguments and may raise anything
        reason = str(error).rstrip(".") or type(error).__name__
        raise ModelFileError(f"{path}: this version of gpunet cannot read the file: {reason}.") from error


def model_from_arrays(arrays: Mapping[str, np.ndarray], description: Mapping[str, Any], *, custom: Custom) -> Model:
    """Rebuild a model from the results of `Model.to_arrays`.

    Raises:
        ModelFileError: the description is not of a model, or arrays are missing or misshaped; all are listed.
        ValueError: the description has another format.
    """
    known = {name: description[name] for name in _Description.__annotations__ if name in description}
    about = read_as(_Description, known)
    with initialized_with_zeros(sum(a.size for a in arrays.values()) + SLACK):
        model = layer_from_config(about["model"], custom)
    if not isinstance(model, Model):
        raise ModelFileError("it contains no model")
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
    """Refuse arrays that are missing, have another shape, or are not floats."""
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
