"""Data frames of pandas, polars and pyarrow, accepted wherever arrays are."""

from decimal import Decimal

import numpy as np
import pandas as pd
import polars as pl
import pyarrow as pa
import pytest
from problems import weights

import gpunet as gn
from gpunet.data.checks import host_array
from gpunet.errors import DataError, DTypeError

ROWS = 40
AGE = np.arange(ROWS) % 7
SMOKES = np.arange(ROWS) % 3 == 0
HEIGHT = np.linspace(1.5, 2, ROWS)
X = np.column_stack([AGE, SMOKES, HEIGHT])

FRAMES = {
    "pandas": lambda: pd.DataFrame({"age": AGE, "smokes": SMOKES, "height": HEIGHT}),
    "pandas nullable": lambda: FRAMES["pandas"]().astype({"age": "Int64", "smokes": "boolean", "height": "Float64"}),
    "pandas on arrow": lambda: FRAMES["pandas"]().convert_dtypes(dtype_backend="pyarrow"),
    "pandas objects": lambda: FRAMES["pandas"]().astype(object),
    "polars": lambda: pl.DataFrame({"age": AGE, "smokes": SMOKES, "height": HEIGHT}),
    "pyarrow": lambda: pa.table({"age": AGE, "smokes": SMOKES, "height": HEIGHT}),
    "record batch": lambda: pa.record_batch({"age": AGE, "smokes": SMOKES, "height": HEIGHT}),
}
WITH_A_MISSING = {
    "Int64": pd.Series([1, None, 3], dtype="Int64"),
    "Float64": pd.Series([1, None, 3], dtype="Float64"),
    "float64": pd.Series([1, None, 3], dtype="float64"),
    "boolean": pd.Series([True, None, False], dtype="boolean"),
    "string": pd.Series(["a", None, "b"], dtype="string"),
    "text": pd.Series(["a", None, "b"]),
    "category": pd.Series(["a", None, "b"], dtype="category"),
    "infinite": pd.Series([1, np.inf, 3]),
    "polars integer": pl.Series([1, None, 3]),
    "polars boolean": pl.Series([True, None, False]),
    "polars text": pl.Series(["a", None, "b"]),
    "polars NaN": pl.Series([1.0, np.nan, 3.0]),
    "arrow integer": pa.chunked_array([[1], [None, 3]]),
    "arrow boolean": pa.array([True, None, False]),
    "arrow text": pa.array(["a", None, "b"]),
}
MAKERS = {"pandas": pd.DataFrame, "polars": pl.DataFrame, "pyarrow": pa.table}


def frame_of(**columns):
    """Return a frame of the library that the last column belongs to."""
    library = type(list(columns.values())[-1]).__module__.partition(".")[0]
    return MAKERS[library](columns)


def data(frame):
    """Return a frame, and labels as a column of the same library."""
    made, labels = FRAMES[frame](), AGE % 2
    if frame.startswith("pandas"):
        return made, pd.Series(labels, dtype="Int64" if frame == "pandas nullable" else None)
    return made, pl.Series(labels) if frame == "polars" else pa.chunked_array([labels])


@pytest.mark.parametrize("frame", FRAMES)
def test_a_frame_trains_predicts_and_steps_like_its_array(frame):
    results = []
    for features, labels in (data(frame), (X, AGE % 2)):
        model = gn.MLP([3, 4, 2], seed=0)
        model.input_scaler = gn.data.Standardizer.fit(features)
        trainer = gn.Trainer(model)
        trainer.fit(features, labels, epochs=2, validation=0.2)
        trainer.fit(features, labels, epochs=1, validation=(features, labels), sample_weight=labels)
        loss = float(trainer.step(features, labels))
        answers = trainer.predict(features), model.predict_proba(features), model.input_scaler.apply(features)
        learnt = weights(model).tolist(), *map(np.ndarray.tolist, answers)
        results.append([loss, trainer.evaluate(features, labels), *learnt])
    assert results[0] == results[1]


def test_a_step_accepts_a_column_next_to_arrays():
    labels = AGE % 2
    columns = labels, pd.Series(labels), pd.Series(labels, dtype="Int64"), pl.Series(labels), pa.array(labels)
    trainer = gn.Trainer(gn.MLP([3, 2], seed=0), optimizer=gn.SGD(1e-30))
    losses = [float(trainer.step(features, y)) for y in columns for features in (X, FRAMES["polars"]())]
    assert len(set(losses)) == 1


@pytest.mark.parametrize("frame", FRAMES)
def test_regression_targets_can_be_a_frame(frame):
    trainer = gn.Trainer(gn.MLP([3, 3], seed=0), loss=gn.MSELoss())
    assert trainer.evaluate(X, FRAMES[frame]()) == trainer.evaluate(X, X)


def test_a_frame_of_dummies_trains():
    table = pd.get_dummies(pd.DataFrame({"color": ["red", "blue"] * 20, "size": HEIGHT}))
    gn.Trainer(gn.MLP([3, 2])).fit(table, pd.Series(["yes", "no"] * 20, dtype="category"), epochs=1)


def test_category_indices_can_be_a_frame():
    trainer = gn.Trainer(gn.Sequential(gn.Embedding(7, 2), gn.Flatten(), gn.Linear(4, 2)))
    trainer.fit(pd.DataFrame({"a": AGE, "b": AGE}, dtype="Int64"), SMOKES, epochs=1)


@pytest.mark.parametrize(
    ("column", "dtype"),
    [
        (pd.Series([1, 2], dtype="Int8"), "int8"),
        (pd.Series([1, 2], dtype="category"), "int64"),
        (pd.arrays.SparseArray([0, 1]), "int64"),
        (pd.Series([True, False], dtype=object), "bool"),
        (pd.Series([True, 2.5], dtype=object), "float64"),
        (pd.Series([Decimal("1.5"), 2]), "float64"),
        (pl.Series([Decimal("1.5")]), "float64"),
        (pl.Series([1], dtype=pl.UInt16), "uint16"),
        (pa.array([np.float16(1)]), "float16"),
    ],
)
def test_a_column_of_numbers_keeps_its_precision(column, dtype):
    assert host_array(column, "y").dtype == dtype


@pytest.mark.parametrize("missing", WITH_A_MISSING)
def test_a_missing_value_raises_with_its_row_and_column(missing):
    column = WITH_A_MISSING[missing]
    with pytest.raises(DataError, match=r"^y is (nan|<NA>|None|inf) at row 1; remove"):
        host_array(column, "y")
    frame = frame_of(whole=[1, 2, 3], holey=column)
    with pytest.raises(DataError, match=r"^X is (nan|<NA>|None|inf) at row 1, column 'holey'; remove"):
        gn.MLP([2, 2]).predict(frame)


@pytest.mark.parametrize(
    ("column", "said"),
    [
        (pd.Series(["a", "b"]), "column 'odd' holds text; expected real numbers. Encode it first"),
        (pl.Series(["a", "b"]), "column 'odd' holds text"),
        (pa.array(["a", "b"]), "column 'odd' holds text"),
        (pd.Series(["a", "b"], dtype="category"), "column 'odd' holds text"),
        (pd.Series(["a", 1], dtype=object), "X is 'a' at row 0, column 'odd'; expected real numbers"),
        (pd.Series(pd.to_datetime(["2020-01-01"] * 2)), "column 'odd' holds datetime64"),
        (pd.Series([1j, 2]), "column 'odd' holds complex128"),
        (pl.Series([[1], [2]]), r"X is array\(\[1\]\) at row 0, column 'odd'"),
    ],
)
def test_a_column_without_numbers_raises_with_its_name(column, said):
    frame = frame_of(whole=[1, 2], odd=column)
    trainer = gn.Trainer(gn.MLP([2, 2]))
    for ask in (
        lambda: trainer.fit(frame, [0, 1]),
        lambda: trainer.predict(frame),
        lambda: trainer.step(frame, [0, 1]),
    ):
        with pytest.raises(DTypeError, match=said):
            ask()


def test_columns_with_the_same_name_are_distinguished():
    frame = pd.DataFrame([[1, True], [2.5, False]], columns=["a", "a"])
    np.testing.assert_array_equal(host_array(frame, "X"), [[1, 1], [2.5, 0]])


def test_a_frame_without_columns_or_rows_is_empty():
    for frame in (pd.DataFrame(index=range(3)), pd.DataFrame({"a": []})):
        with pytest.raises(DataError, match="X is empty"):
            gn.MLP([1, 2]).predict(frame)


@pytest.mark.parametrize("kind", [pd.DataFrame, pl.DataFrame])
@pytest.mark.parametrize(
    "labels", [np.arange(60) % 3, np.array(["a", "b", "c"])[np.arange(60) % 3]], ids=["ints", "text"]
)
def test_labels_can_be_a_frame_of_one_column(kind, labels):
    X = np.random.default_rng(0).standard_normal((60, 5))
    histories = []
    for y in (labels, kind({"kind": labels})):
        trainer = gn.Trainer(gn.MLP([5, 4, 3], seed=0))
        row = trainer.fit(X, y, epochs=2, validation=0.2).last
        histories.append([row["loss"], row["val_accuracy"], trainer.evaluate(X, y)["loss"]])
    assert histories[0] == histories[1]


def test_a_lazy_frame_raises_with_advice_to_collect():
    frame = pl.DataFrame({"a": [1.0, 2.0]}).lazy()
    with pytest.raises(DTypeError, match=r"X is a LazyFrame; collect it first, with X.collect\(\)"):
        gn.MLP([1, 2]).predict(frame)
