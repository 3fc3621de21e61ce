"""An MLP for the features of a table."""

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
    """Return an MLP that takes the features of a table, as `schema.encode` returns them.

    Where the table has embedded categories an `EntityEmbedding` comes first, with its default sizes. `SoftClip` bounds
    what the MLP sees, so that an outlier does no harm. The biases of the hidden layers begin at N(0, 1), and the
    weights of the output layer at 0, as in RealMLP (Holzmüller et al. 2024, arXiv 2407.04491); what each of these is
    worth, `benchmarks/tabular` tells.

    The model's schema is set; the standardisation is still to come:
    `model.input_scaler = gn.data.Standardizer.fit(X, category_columns=model.category_columns)`.

    Args:
        schema: how the table's columns become features.
        outputs: classes, or values to predict.
        hidden: the sizes of the hidden layers.
        activation: the function after each hidden layer, by name or object.
        dropout: the probability of a zero after each hidden layer, 0 for none.
        seed: the seed of the initial weights.
        batch_norm: whether each hidden layer normalises over the batch.

    Raises:
        ArgumentError: sizes below 1, an unknown activation, or a dropout out of range.
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
