"""`gn.tabular_mlp`: an MLP for the features of a table."""

from __future__ import annotations

import numpy as np
import pandas
import pytest

import gpunet as gn
from gpunet.errors import DataError, DTypeError

ROWS = 240


@pytest.fixture(scope="module")
def sales() -> pandas.DataFrame:
    """A table whose target depends on a category with 12 values, one with 2, and a number with missing values."""
    rng = np.random.default_rng(0)
    shop, kind, area = rng.integers(12, size=ROWS), rng.integers(2, size=ROWS), rng.uniform(1, 3, ROWS)
    frame = pandas.DataFrame({"shop": [f"shop {i}" for i in shop], "kind": np.array(["a", "b"])[kind], "area": area})
    frame["sold"] = rng.uniform(1, 9, 12)[shop] + 3 * kind + area
    frame.loc[::10, "area"] = np.nan
    return frame


def fitted(
    frame: pandas.DataFrame, executor: str = "auto", epochs: int = 30
) -> tuple[gn.Sequential, np.ndarray, float]:
    schema = gn.data.TableSchema.fit(frame, "sold")
    X, y = schema.encode(frame), frame["sold"].to_numpy()
    model = gn.tabular_mlp(schema, 1, hidden=[16])
    model.input_scaler = gn.data.Standardizer.fit(X, category_columns=model.category_columns)
    model.target_scaler = gn.data.Standardizer.fit(y)
    trainer = gn.Trainer(model, loss="mse", optimizer=gn.Adam(0.02), executor=executor)
    trainer.fit(X, y, epochs=epochs, batch_size=40)
    return model, X, trainer.evaluate(X, y)["r2"]


def test_categories_of_many_values_are_embedded_before_the_mlp(sales):
    model, X, r2 = fitted(sales)
    embedding, *layers = model.layers
    assert (embedding.numbers, embedding.categories) == (4, [12])  # area, area missing, kind=a, kind=b; shop
    assert [type(layer) for layer in layers] == [gn.Activation, gn.Linear, gn.Linear]
    assert layers[1].in_features == 4 + embedding.dims[0]
    assert r2 > 0.95
    assert X.shape == (ROWS, 5)


def test_a_table_without_embedded_categories_gets_an_mlp_behind_a_soft_clip(sales):
    schema = gn.data.TableSchema.fit(sales, "sold", drop=["shop"])
    model = gn.tabular_mlp(schema, 3, [8, 4], "tanh", 0.5, seed=2)
    assert repr(model) == repr(gn.Sequential(gn.SoftClip(), *gn.MLP([4, 8, 4, 3], "tanh", 0.5).layers))
    assert model.schema is schema


def test_every_executor_of_the_cpu_trains_the_same_parameters(sales):
    eager = fitted(sales, "eager", 2)[0].parameters()
    for executor in ("numpy", "auto"):
        for name, a in fitted(sales, executor, 2)[0].parameters().items():
            np.testing.assert_allclose(a, eager[name], rtol=2e-3, atol=1e-4, err_msg=f"{executor}, {name}")


def test_a_data_frame_of_raw_columns_is_encoded_by_the_schema_in_any_order(sales):
    schema = gn.data.TableSchema.fit(sales, "sold")
    model, raw = gn.tabular_mlp(schema, 1), sales.drop(columns="sold")
    model.layers[-1].params["weight"] = np.ones(model.layers[-1].params["weight"].shape)
    X = schema.encode(raw)
    expected = model.predict(X)
    np.testing.assert_array_equal(model.predict(raw[raw.columns[::-1]]), expected)
    np.testing.assert_array_equal(model.predict(pandas.DataFrame(X, columns=schema.feature_names)), expected)
    with pytest.raises(DataError, match="no column"):
        model.predict(raw[raw.columns[1:]])
    model.schema = None
    with pytest.raises(DTypeError, match=r"get_dummies"):
        model.predict(raw)


def test_the_file_of_the_model_has_the_schema(sales, tmp_path):
    model, X, _ = fitted(sales, epochs=1)
    model.save(tmp_path / "model.safetensors")
    loaded = gn.load(tmp_path / "model.safetensors")
    assert loaded.schema == model.schema
    new = pandas.DataFrame({"kind": ["a", "new"], "area": [None, 2], "shop": ["shop 3", "nowhere"], "more": [1, 2]})
    np.testing.assert_array_equal(loaded.predict(loaded.schema.encode(new)), model.predict(model.schema.encode(new)))
    np.testing.assert_array_equal(loaded.predict(X), model.predict(X))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, "table schema is of version 1, not 2; train again"),
        ({"missing": "mode"}, "missing"),
        ({"columns": [{"name": "x", "role": "text"}]}, "role"),
        ({"target": None}, "target"),
    ],
)
def test_a_file_with_a_schema_of_another_format_is_refused_saying_what_is_wrong(
    sales, tmp_path, monkeypatch, change, message
):
    model = fitted(sales, epochs=1)[0]
    changed = model.schema.to_json() | change
    monkeypatch.setattr(gn.data.TableSchema, "to_json", lambda self: changed)
    model.save(tmp_path / "model.safetensors")
    with pytest.raises(gn.errors.ModelFileError, match=message):
        gn.load(tmp_path / "model.safetensors")
