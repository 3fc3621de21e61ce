"""An MLP for tabular data."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gpunet.data import TableSchema
from gpunet.layers import Activation, EntityEmbedding, Layer, Linear
from gpunet.models.sequential import MLP, Sequential
from gpunet.ops.activations import ActivationFunction, SoftClip


def tabular_mlp(
    schema: TableSchema,
    outputs: int,
    hidden: Sequence[int] = (128, 128),
    activation: str | ActivationFunction = "selu",
    dropout: float = 0.0,
    seed: int = 0,
    *,
    batch_norm: bool = False,
) -> Sequential:
    """Return an MLP for the features that `schema.encode` returns.

    The first layer is an `EntityEmbedding` if the table has embedded categories. A `SoftClip` limits outliers. The
    biases of the hidden layers are initialised from N(0, 1) and the weights of the output layer with 0, as in RealMLP
    (Holzmüller et al. 2024, arXiv 2407.04491).

    The function sets the model's schema, but not its standardisation; set it with
    `model.input_scaler = gn.data.Standardizer.fit(X, category_columns=model.category_columns)`.

    Args:
        outputs: number of classes, or of values to predict.
        hidden: sizes of the hidden layers.
        activation, dropout, batch_norm: as for `MLP`.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"size": [1.0, 2.0, 3.0, 4.0], "color": ["red", "blue"] * 2, "y": [0, 1, 0, 1]})
        >>> schema = gn.data.TableSchema.fit(frame, target="y")
        >>> gn.tabular_mlp(schema, outputs=2, hidden=[16])
        Sequential(Activation(SoftClip(limit=3.0)), Linear(3, 16, activation=SELU()), Linear(16, 2))
    """
    sizes = schema.category_sizes
    features = len(schema.feature_names)
    first: list[Layer] = [EntityEmbedding(features - len(sizes), sizes, rng=seed)] if sizes else []
    for embedding in first:
        (features,) = embedding.output_shape((features,))
    mlp = MLP([features, *hidden, outputs], activation, dropout, seed, batch_norm=batch_norm, output_init="zeros")
    rng = np.random.default_rng((seed, 1))
    for layer in mlp.layers[:-1]:
        if isinstance(layer, Linear):
            layer.params["bias"] = rng.standard_normal(layer.out_features)
    model = Sequential(*first, Activation(SoftClip()), *mlp.layers)
    model.schema = schema
    return model
