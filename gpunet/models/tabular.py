"""An MLP for the features of a table."""

from __future__ import annotations

from collections.abc import Sequence

from gpunet.data import TableSchema
from gpunet.layers import EntityEmbedding
from gpunet.models.sequential import MLP, Sequential
from gpunet.ops.activations import ActivationFunction


def tabular_mlp(
    schema: TableSchema,
    outputs: int,
    hidden: Sequence[int] = (128,),
    activation: str | ActivationFunction = "relu",
    dropout: float = 0.0,
    seed: int = 0,
) -> Sequential:
    """Return an MLP that takes the features of a table, as `schema.encode` returns them.

    Where the table has embedded categories an `EntityEmbedding` comes first, with its default sizes. The model's schema
    is set; the standardisation is still to come:
    `model.input_scaler = gn.data.Standardizer.fit(X, category_columns=model.category_columns)`.

    Args:
        schema: how the table's columns become features.
        outputs: classes, or values to predict.
        hidden: the sizes of the hidden layers.
        activation: the function after each hidden layer, by name or object.
        dropout: the probability of a zero after each hidden layer, 0 for none.
        seed: the seed of the initial weights.

    Raises:
        ArgumentError: sizes below 1, an unknown activation, or a dropout out of range.
    """
    sizes = schema.category_sizes
    features = len(schema.feature_names)
    model: Sequential
    if sizes:
        embedding = EntityEmbedding(features - len(sizes), sizes, rng=seed)
        (features,) = embedding.output_shape((features,))
        model = Sequential(embedding, *MLP([features, *hidden, outputs], activation, dropout, seed).layers)
    else:
        model = MLP([features, *hidden, outputs], activation, dropout, seed)
    model.schema = schema
    return model
