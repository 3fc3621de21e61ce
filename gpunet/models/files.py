"""Read the files of models."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gpunet.data import Standardizer, TableSchema
from gpunet.errors import ArgumentError, ModelFileError, ShapeError
from gpunet.files import read_arrays
from gpunet.initializers import undrawn
from gpunet.models.configs import layer_from_config
from gpunet.models.model import Model
from gpunet.registry import Custom, checked


def load(path: str | Path, *, custom: Custom | None = None) -> Model:
    """Read a model that `save` wrote, onto the current device. No code in the file is run: it has none.

    Args:
        path: the file.
        custom: classes of layers of your own by the names in the file, where they are not registered (`gn.register`).

    Raises:
        ArgumentError: `custom` is no mapping.
        FileNotFoundError: there is no such file.
        ModelFileError: the file is truncated, altered, of another program, version or kind, or it has a layer of a
            class that is not known.
    """
    return model_from_arrays(*read_arrays(path, "model"), source=str(path), custom=checked(custom))


def model_from_arrays(
    arrays: dict[str, np.ndarray], description: dict[str, Any], *, source: str, custom: Custom
) -> Model:
    """Rebuild a model from what `Model.to_arrays` returned."""
    try:
        with undrawn():
            model = layer_from_config(description["model"], custom)
        if not isinstance(model, Model):
            raise ModelFileError(f"{source}: holds no model.")
        model.to(dtype=description["dtype"])
        model.task = description["task"]
        model.classes = description["classes"] and tuple(description["classes"])
        model.schema = description["schema"] and TableSchema.from_json(description["schema"])
        leaves = model.leaves()
        for leaf_path in description.get("frozen", ()):  # older files don't say
            leaves[leaf_path].trainable = False
        for leaf_path, leaf in leaves.items():
            for which, views in (("params", leaf.params), ("buffers", leaf.buffers)):
                for name in views:
                    views[name] = arrays[f"{which}.{leaf_path}.{name}"]
        for name in ("input_scaler", "target_scaler"):
            if f"{name}.mean" in arrays:
                setattr(model, name, Standardizer(arrays[f"{name}.mean"], arrays[f"{name}.scale"]))
    except (KeyError, TypeError, AttributeError, ArgumentError, ShapeError) as error:
        raise ModelFileError(
            f"{source}: the description of the model is not one that this gpunet reads: {error}"
        ) from None
    return model
