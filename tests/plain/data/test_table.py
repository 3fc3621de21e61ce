"""Encoding the columns of a table as features: `TableSchema`, and data sets of tables."""

import json
from datetime import date

import numpy as np
import pandas
import polars
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.data import Column, LabelledTable, ReadOptions, TableOptions, TableSchema, load
from gpunet.errors import ArgumentError, DataError, GpunetWarning

FLOWERS = "length,colour,width,kind\n1.5,red,2,iris\n2.5,blue,3e0,rose\n-1,red,4,iris\n"


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="flowers.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def fitted(target="y", rows=None, *, roles=None, missing="median", columns=(), drop=(), **values):
    """Fit the schema of a data frame with a target."""
    n = len(next(iter(values.values())))
    frame = pandas.DataFrame(values | {"y": np.arange(n) % 2})
    return TableSchema.fit(frame, target, rows, roles=roles, missing=missing, columns=columns, drop=drop), frame


def column(schema, name):
    return next(column for column in schema.columns if column.name == name)


def test_numbers_become_one_feature_and_categories_one_for_each_sorted_value(write):
    data = load(write(FLOWERS))
    assert data.schema.feature_names == ["length", "colour=blue", "colour=red", "width"]
    assert data.X.tolist() == [[1.5, 0, 1, 2], [2.5, 1, 0, 3], [-1, 0, 1, 4]]
    assert data.X.dtype == np.float64
    assert data.y.tolist() == [0, 1, 0]
    assert data.y.dtype == np.int64
    assert data.classes == ("iris", "rose")
    assert (data.name, data.task, len(data)) == ("flowers", "classification", 3)
    assert data.found == "separator ',', decimal point, utf-8, header"


def test_the_target_can_be_any_column(write):
    data = load(write(FLOWERS), "width")
    assert (data.classes, data.task) == (None, "regression")
    assert data.y.tolist() == [2, 3, 4]
    assert data.y.dtype == np.float64
    assert data.schema.feature_names[-2:] == ["kind=iris", "kind=rose"]


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (["3", "3.0", "1e1", "10"], ("3", "10")),
        (["-1", "1", "1", "-1"], ("-1", "1")),
        (["1", "2", "3", "1"], None),  # three values in four rows
        (["0.5", "0.5", "1", "1"], None),
        (["$5", "$7.5", "$5"], None),
        (["1", "x", "1", "1"], ("1", "x")),
        (["true", "false", "true"], ("False", "True")),
        ([str(i % 20) for i in range(60)], tuple(map(str, range(20)))),
        ([str(i % 21) for i in range(60)], None),
    ],
)
def test_few_repeated_integers_are_classes_and_other_numbers_are_regression_targets(write, target, classes):
    path = write("x,y\n" + "".join(f"{i}.5,{value}\n" for i, value in enumerate(target)))
    assert load(path).classes == classes


def test_task_overrides_the_inferred_task(write):
    path = write("x,y\n0,1\n1,2.5\n")
    assert load(path).task == "regression"
    assert load(path, task="classification").classes == ("1", "2.5")
    path = write("x,y\n0,1\n1,1\n2,2\n3,2\n")
    assert load(path).task == "classification"
    assert load(path, task="regression").y.tolist() == [1, 1, 2, 2]
    with pytest.raises(DataError, match=r"column 'y': 'b' \(line 3\) is not a finite number up to 1e150; correct it"):
        load(write("x,y\n0,1\n1,b\n"), task="regression")


def test_text_in_a_numeric_target_is_rejected_unless_the_task_is_classification(write):
    path = write("x,y\n0,1\n1,2\n2,x\n")
    with pytest.raises(DataError, match=r"column 'y': 'x' \(line 4\) is not a number like most others"):
        load(path)
    assert load(path, task="classification").classes == ("1", "2", "x")


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "null", "?", " N/A "])
def test_missing_targets_are_rejected_naming_the_lines(write, missing):
    path = write(f"x,y\n1,a\n2,{missing}\n3,b\n4,{missing}\n")
    with pytest.raises(DataError, match="the target 'y' has no value in line 3, line 5; remove these rows"):
        load(path)


@pytest.mark.parametrize("missing", ["-", "--", ".", "None"])
@pytest.mark.parametrize("task", [None, "classification"])
def test_a_missing_number_marker_in_a_target_is_rejected_naming_the_line(write, missing, task):
    path = write("x,y\n" + "".join(f"{i}.5,{i % 3}\n" for i in range(9)) + f"4,{missing}\n")
    with pytest.raises(DataError, match=r"flowers\.csv: the target 'y' has no value in line 11; remove"):
        load(path, task=task)


def test_constant_and_unique_text_targets_are_rejected(write):
    with pytest.raises(DataError, match="target 'y' is 'yes' in all rows"):
        load(write("x,y\n1,yes\n2,yes\n"))
    rows = "".join(f"{i}.5,name {i}\n" for i in range(50))
    with pytest.raises(DataError, match="'y' has 50 distinct texts in 50 rows, which are no classes"):
        load(write(f"x,y\n{rows}"))


def test_a_missing_target_column_is_reported_with_the_existing_columns(write):
    with pytest.raises(DataError, match=r"no column 'species'; the columns are 'length', 'colour', 'width', 'kind'"):
        load(write(FLOWERS), "species")


def test_missing_numbers_are_the_median_of_the_training_rows_with_an_indicator():
    schema, frame = fitted(x=[1.0, 2.0, np.nan, 6.0, 100.0], rows=np.arange(4))
    assert (column(schema, "x").missing, column(schema, "x").fill) == (1, 2)
    assert schema.feature_names == ["x", "x missing"]
    assert schema.encode(frame).tolist() == [[1, 0], [2, 0], [2, 1], [6, 0], [100, 0]]
    assert fitted(x=[1.0, 2.0, np.nan, 6.0], missing="mean")[0].columns[0].fill == 3


def test_a_number_missing_only_at_prediction_is_imputed():
    schema, frame = fitted(x=[1.0, 2.0, 6.0])
    assert schema.feature_names == ["x"]
    assert schema.encode(frame.assign(x=[np.nan, 1, 2])).tolist() == [[2], [1], [2]]


def test_missing_error_rejects_missing_numbers_in_training_and_prediction():
    schema, frame = fitted(x=[1.0, 2.0, 6.0], missing="error")
    with pytest.raises(DataError, match="column 'x' has no value in row 1"):
        schema.encode(frame.assign(x=[1, np.nan, 2]))


def test_missing_drop_removes_rows_from_training_and_evaluation(write):
    path = write("x,y\n1,a\n,b\n3,b\n4,a\n")
    left_out = "left out 1 of 4 rows for lack of a number or a date"
    with pytest.warns(GpunetWarning, match=left_out):
        whole = LabelledTable.read(path, None, None, TableOptions(missing="drop"))
    data = whole.dataset()
    assert (data.X.ravel().tolist(), data.y.tolist()) == ([1, 3, 4], [0, 1, 0])
    with pytest.warns(GpunetWarning, match=left_out):
        X, y = data.schema.read_labelled(path, data.classes)
    assert (X.ravel().tolist(), y.tolist()) == ([1, 3, 4], [0, 1, 0])
    with pytest.raises(DataError, match="column 'x' has no value in line 3"):
        data.schema.read(path)


def test_missing_text_is_a_separate_category_if_training_rows_have_it():
    schema, frame = fitted(x=["a", None, "b", "a"])
    assert schema.feature_names == ["x=(missing)", "x=a", "x=b"]
    assert schema.encode(frame).tolist() == [[0, 1, 0], [1, 0, 0], [0, 0, 1], [0, 1, 0]]
    schema, frame = fitted(x=["a", "c", "b", "a"])
    assert schema.encode(frame.assign(x=["a", None, "new", "c"])).tolist() == [
        [1, 0, 0],
        [0, 0, 0],
        [0, 0, 0],
        [0, 0, 1],
    ]


def test_more_than_eight_categories_become_an_index_in_the_last_features():
    town = [f"town {i % 9}" for i in range(30)]
    schema, frame = fitted(town=town, x=np.linspace(0, 1, 30))
    assert schema.feature_names == ["x", "town"]
    assert schema.category_sizes == [9]
    np.testing.assert_array_equal(schema.encode(frame)[:, 1], np.arange(30) % 9)
    asked = frame.assign(town=["nowhere", None, *town[2:]])
    assert schema.encode(asked)[:3, 1].tolist() == [-1, -1, 2]


def test_a_category_in_a_single_training_row_is_unknown_so_that_unknown_is_trained():
    town = [f"town {i % 9}" for i in range(30)] + ["hamlet"]
    schema, frame = fitted(town=town)
    assert schema.category_sizes == [9]
    assert schema.encode(frame)[-1].tolist() == [-1]


def test_a_table_of_unique_text_is_rejected():
    with pytest.raises(DataError, match="no text occurs in two training rows"):
        fitted(x=[*"abcdefghij"] * 2, rows=np.arange(10))


def test_categories_come_only_from_the_training_rows():
    schema, frame = fitted(x=["a", "b", "a", "c"], rows=np.array([0, 1, 2]))
    assert schema.feature_names == ["x=a", "x=b"]
    assert schema.encode(frame)[3].tolist() == [0, 0]


def test_dates_become_days_and_the_position_in_the_year():
    when = [date(1970, 1, 1), date(1971, 1, 1), date(1970, 7, 2)]
    for values in (pandas.to_datetime(when), [day.isoformat() for day in when], [f"{d:%d.%m.%Y}" for d in when]):
        schema, frame = fitted(when=values)
        X = schema.encode(frame)
        assert schema.feature_names == ["when days", "when sin", "when cos"]
        assert X[:, 0].tolist() == [0, 365, 182]
        np.testing.assert_allclose(X[:, 1:], [[0, 1], [0, 1], [0, -1]], atol=0.02)


def test_dates_with_a_time_and_a_zone_count_in_fractions_of_days():
    schema, frame = fitted(when=["1970-01-02 12:00", "1970-01-01T00:00:00Z", "1970-01-01T06:00+06:00"])
    assert schema.encode(frame)[:, 0].tolist() == [1.5, 0, 0]


def test_identifiers_and_constants_are_ignored_with_a_warning_that_says_why():
    n = 12
    with pytest.warns(
        GpunetWarning, match="'id' .consecutive numbers.; 'name' .all texts differ, such as 'name 0'.; 'same' .*'x'"
    ):
        schema, frame = fitted(
            id=range(1, 1 + n),
            name=[f"name {i}" for i in range(n)],
            same=["x"] * n,
            none=[None] * n,
            v=np.arange(n) / 3,
        )
    assert [c.role for c in schema.columns] == ["ignored"] * 4 + ["number"]
    assert schema.feature_names == ["v"]
    assert schema.encode(frame[["v"]]).shape == (n, 1)  # nobody needs the others


def test_shuffled_identifiers_are_recognised_by_name_and_years_are_kept():
    rng = np.random.default_rng(0)
    ids = rng.permutation(100)[:20]
    with pytest.warns(GpunetWarning, match="all numbers differ, and the name is that of an identifier"):
        schema, _ = fitted(PassengerId=ids, customer_id=ids, paid=ids, amount=ids, year=range(2000, 2020))
    assert [c.role for c in schema.columns] == ["ignored", "ignored", "number", "number", "number"]


def test_roles_override_the_inferred_ones():
    n = 12
    schema, _ = fitted(zip=[10, 20, 10] * 4, id=range(n), x=np.arange(n) / 2, roles={"zip": "category", "id": "number"})
    assert schema.feature_names == ["zip=10", "zip=20", "id", "x"]
    schema, _ = fitted(a=np.arange(n) / 2, b=np.arange(n) / 3, roles={"a": "ignored"})
    assert schema.feature_names == ["b"]
    with pytest.raises(ArgumentError, match="role 'text'"):
        fitted(a=[1, 2], roles={"a": "text"})
    with pytest.raises(DataError, match=r"column 'a': 'x' .row 0., 'y' .row 1. are not a finite number"):
        fitted(a=["x", "y"], roles={"a": "number"})
    with pytest.raises(DataError, match=r"column 'a': '1' .row 0., '2' .row 1. are not a date"):
        fitted(a=[1, 2], roles={"a": "date"})


def test_columns_and_drop_select_the_features():
    values = {"a": [1.5, 2, 3], "b": [2.5, 3, 4], "c": [3.5, 4, 5]}
    assert fitted(**values, columns=["a", "c"])[0].feature_names == ["a", "c"]
    assert fitted(**values, drop=["b"])[0].feature_names == ["a", "c"]
    with pytest.raises(DataError, match=r"no column 'd', 'e'; the columns are 'a', 'b', 'c', 'y'"):
        fitted(**values, columns=["d"], drop=["e"])
    with pytest.raises(ArgumentError, match="target 'y' cannot be dropped"):
        fitted(**values, drop=["y"])


@pytest.mark.parametrize(
    ("texts", "numbers"),
    [
        (["$5", "$1,234.50", "-$3"], [5, 1234.5, -3]),
        (["3%", "4.5 %", "0%"], [3, 4.5, 0]),
        (["1,234", "5,678,901", "7"], [1234, 5678901, 7]),
        (["\u22125", "3", "\u22120.5"], [-5, 3, -0.5]),
        (["5,1", "7,25", "1"], [5.1, 7.25, 1]),
        (["5,1", "1,234", "1"], [5.1, 1.234, 1]),  # a comma of one, of all
        (["1.234,5", "2,5", "3"], [1234.5, 2.5, 3]),
        (["1 234", "5\u00a0678", "9"], [1234, 5678, 9]),
        (["1'234", "5", "9"], [1234, 5, 9]),
        (["€ 5", "6 €", "7"], [5, 6, 7]),
        (["+5$", "1e3$", "2E-2$"], [5, 1000, 0.02]),
        (["(1,234.50)", "7", "( 2.5 )"], [-1234.5, 7, -2.5]),
        (["($ 5)", "$ (6)", "$7"], [-5, -6, 7]),
        (["(5)", "(6)", "(7.5)"], [-5, -6, -7.5]),
        (["5.2 kg", "1,200.5 kg", "(3) kg"], [5.2, 1200.5, -3]),
        (["5,2kg", "1.200,5kg", "3kg"], [5.2, 1200.5, 3]),
        (["3.1M", "0.2M", "4M"], [3.1, 0.2, 4]),
        (["-5 °C", "20 °C", "7.5 °C"], [-5, 20, 7.5]),
        (["5 m2", "6 m2", "7 m2"], [5, 6, 7]),
        (["50 km/h", "60 km/h", "70.5 km/h"], [50, 60, 70.5]),
    ],
)
def test_numbers_with_units_and_separators_are_parsed(texts, numbers):
    schema, frame = fitted(x=texts)
    assert column(schema, "x").role == "number"
    assert schema.encode(frame).ravel().tolist() == numbers


@pytest.mark.parametrize(
    "texts", [["5 kg", "6 g", "7 kg"], ["3.1M", "200k", "4M"], ["5 kg", "6", "7 kg"], ["1st", "2nd", "3rd"], ["$5 USD"]]
)
def test_text_without_one_unit_behind_all_numbers_is_a_category(texts):
    assert column(fitted(x=[*texts, *texts[::-1], "-"])[0], "x").role == "category"


def test_a_unit_that_is_missing_in_some_rows_is_that_of_the_others():
    schema, frame = fitted(x=["5 kg", None, "-", "8 kg"])
    assert schema.encode(frame).tolist() == [[5, 0], [6.5, 1], [6.5, 1], [8, 0]]


def test_the_description_names_the_unit_and_the_negative_numbers():
    schema, _ = fitted(weight=["5.2 kg", "3 kg", "4 kg"], gain=["(5)", "6", "7"], roles={"weight": "number"})
    assert "as requested in kg" in schema.describe()
    assert "numbers such as '(5)'; () is negative" in schema.describe()
    assert "numbers in kg such as '5.2 kg'" in fitted(weight=["5.2 kg", "3 kg", "4 kg"])[0].describe()


@pytest.mark.parametrize("texts", [["5 kg", "10 kg"], ["(1)", "(2)"], ["5", "(5)"]])
def test_classes_keep_their_unit_and_their_parentheses(write, texts):
    rows = "".join(f"{i}.5,{texts[i % 2]}\n" for i in range(20))
    data = load(write(f"x,y\n{rows}"))
    assert data.classes == tuple(sorted(texts))
    assert data.schema.read_labelled(write(f"x,y\n1.5,{texts[0]}\n"), data.classes)[1] == data.classes.index(texts[0])


def test_values_with_a_unit_are_predicted_in_this_unit(write):
    rows = "".join(f"{i}.5,{i}.25 EUR\n" for i in range(30))
    schema = load(write(f"x,y\n{rows}")).schema
    assert schema.target_form == ".EUR"
    assert schema.read_labelled(write("x,y\n1.5,2.5 EUR\n"), None)[1] == 2.5
    with pytest.raises(DataError, match=r"'2\.5 USD' \(line 2\) is not a finite number in EUR"):
        schema.read_labelled(write("x,y\n1.5,2.5 USD\n"), None)


def test_the_decimal_mark_of_training_is_used_for_prediction():
    schema, frame = fitted(x=["5,1", "7,25", "1"])
    assert schema.encode(frame.assign(x=["1,234", "2,500", "3"])).ravel().tolist() == [1.234, 2.5, 3]


def test_one_invalid_cell_is_rejected_with_its_line_and_does_not_change_the_decimal_mark(write):
    rows = "".join(f'"${1000 + 37 * i:,}",{"ab"[i % 2]}\n' for i in range(300))
    with pytest.raises(DataError, match=r"column 'x': '\$12,5' \(line 302\) is not a number"):
        load(write(f'x,y\n{rows}"$12,5",a\n'))
    schema = load(write(f"x,y\n{rows}")).schema
    with pytest.raises(DataError, match=r"column 'x' holds a number in \$, not '\$12,5' \(line 2\)"):
        schema.read(write('x\n"$12,5"\n"$7,5"\n', "asked.csv"))


def test_the_decimal_mark_of_the_training_file_is_that_of_new_files(write):
    schema = load(write("x;n;y\n3.114,51;1,5;a\n2.000,25;2;b\n")).schema
    assert schema.reading.decimal == ","
    assert schema.read(write("x;n\n4.900;3\n", "asked.csv")).tolist() == [[4900, 3]]
    assert schema.read(write("x;n\n4.900;$3,25\n", "asked.csv")).tolist() == [[4900, 3.25]]
    assert schema.read(write("x;n\n4.9;3\n", "asked.csv")).tolist() == [[4.9, 3]]  # all cells prove the point
    with pytest.raises(DataError, match=r"column 'x' holds a number, not '4\.9' \(line 3\)"):
        schema.read(write("x;n\n4.900;3\n4.9;3\n", "asked.csv"))
    path = write("", "asked.parquet")
    pandas.DataFrame({"x": [4900.0], "n": [3]}).to_parquet(path)
    assert schema.read(path).tolist() == [[4900, 3]]


def test_a_decimal_comma_that_one_cell_proves_outweighs_points_between_thousands(write):
    rows = "".join(f"{i}.{100 + i};{i};{'ab'[i % 2]}\n" for i in range(1, 30))
    data = load(write(f"x;n;y\n{rows}3;14,07;a\n"))
    assert "decimal comma" in data.found
    assert data.X[0].tolist() == [1101, 1]
    assert data.X[-1].tolist() == [3, 14.07]


@pytest.mark.parametrize("text", ["1_0", "$", "%", "1,23,4", "--5", "5-", "0x10", "1.2.3", "five", "$-+5"])
def test_anything_but_a_number_is_text(text):
    assert column(fitted(x=[text, "b"])[0], "x").role == "category"


def test_text_among_numbers_is_rejected_naming_the_lines(write):
    message = r"column 'x': '1\.2\.3' \(line 4\) is not a number like most others; correct it, or use --as x=category"
    with pytest.raises(DataError, match=message):
        load(write("x,y\n1,a\n2,b\n1.2.3,b\n"))
    rows = "".join(f"{i}.5,a\n" for i in range(50))
    with pytest.raises(
        DataError, match=r"'x0' \(line 52\), 'x1' \(line 53\), 'x2' \(line 54\) and 2 more are not a number"
    ):
        load(write(f"x,y\n{rows}x0,b\nx1,b\nx2,b\nx3,b\nx4,b\n"))
    data = load(write("x,y\n1,a\n2,b\n3+,b\n"), table=TableOptions(roles={"x": "category"}))
    assert data.schema.feature_names == ["x=1", "x=2", "x=3+"]


def test_text_among_dates_is_rejected_naming_the_lines(write):
    rows = "".join(f"2020-01-{i:02},{i % 2}\n" for i in range(1, 20))
    with pytest.raises(DataError, match=r"'soon' \(line 21\) is not a date like most others, ISO"):
        load(write(f"x,y\n{rows}soon,1\n"))


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e999", "1e300"])
def test_infinite_or_too_large_numbers_are_rejected_naming_the_place(write, value):
    with pytest.raises(DataError, match=r"column 'x': .* \(line 3\) is not a finite number up to 1e150"):
        load(write(f"x,y\n1,2\n{value},3\n"))
    with pytest.raises(DataError, match=r"column 'y': .* \(line 3\) is not a finite number"):
        load(write(f"x,y\n1,2\n2,{value}\n"), task="regression")


def test_prediction_finds_columns_by_name_in_any_order_and_ignores_others(write):
    schema = load(write(FLOWERS)).schema
    asked = write("note,width,colour,length\n,7,blue,0.5\nfine,8,red,1\n", "asked.csv")
    assert schema.read(asked).tolist() == [[0.5, 1, 0, 7], [1, 0, 1, 8]]


def test_reading_the_training_file_again_gives_the_same_features_and_targets(write):
    path = write(FLOWERS)
    data = load(path)
    np.testing.assert_array_equal(data.schema.read(path), data.X)
    X, y = data.schema.read_labelled(path, data.classes)
    np.testing.assert_array_equal(X, data.X)
    np.testing.assert_array_equal(y, data.y)
    assert y.dtype == np.int64


def test_a_file_without_a_header_predicts_by_position_with_or_without_the_target(write):
    path = write("1.5,red,a,2\n2.5,blue,b,3\n3.5,red,a,4\n")
    data = load(path, "column 3")
    assert data.found.endswith("no header")
    assert data.schema.feature_names == ["column 1", "column 2=blue", "column 2=red", "column 4"]
    np.testing.assert_array_equal(data.schema.read(path), data.X)
    assert data.schema.read(write("9,blue,8\n", "asked.csv")).tolist() == [[9, 1, 0, 8]]
    with pytest.raises(DataError, match="no column 'column 4'"):
        data.schema.read(write("9,blue\n", "asked.csv"))


def test_a_file_with_a_header_in_training_has_one_in_prediction(write):
    schema = load(write(FLOWERS)).schema
    with pytest.raises(DataError, match="no column 'length', 'colour', 'width'; the columns are '1', 'red', '2'"):
        schema.read(write("1,red,2\n3,red,4\n", "asked.csv"))


def test_numeric_and_boolean_categories_and_labels_match_in_any_notation(write):
    schema = TableSchema((Column("x", "category", categories=("3", "True")), Column("z")), "y")
    assert schema.read(write("x,z,y\n3.0,1,a\nTRUE,1,a\n3,1,b\n")).tolist() == [[1, 0, 1], [0, 1, 1], [1, 0, 1]]
    path = write("z,y\n1,3.0\n1,1e1\n1,3\n")
    schema = TableSchema((Column("z"),), "y")
    assert schema.read_labelled(path, ("3", "10"))[1].tolist() == [0, 1, 0]
    values = schema.read_labelled(path, None)[1]
    assert values.tolist() == [3, 10, 3]
    assert values.dtype == np.float64


def test_leading_zeros_distinguish_categories(write):
    options = TableOptions(roles={"zip": "category"})
    data = load(write("zip,y\n007,a\n7,b\n007,a\n"), table=options)
    assert data.schema.feature_names == ["zip=007", "zip=7"]
    assert data.schema.read(write("zip\n007\n7\n", "asked.csv")).tolist() == [[1, 0], [0, 1]]


def test_every_mismatch_with_the_schema_is_listed_in_one_error(write):
    path = write("a,b,c,d,y\n1.5,2020-01-01,3,x,p\n2,2021-01-01,4,y,q\n")
    schema = load(path).schema
    with pytest.raises(DataError) as error:
        schema.read(write("b,c\nsoon,4\n2020-01-01,many\n", "asked.csv"))
    message = str(error.value)
    assert "asked.csv: no column 'a', 'd'; the columns are 'b', 'c'; " in message
    assert "column 'b' holds a date such as 2024-12-31, not 'soon' (line 2)" in message
    assert "column 'c' holds a number, not 'many' (line 3)" in message


def test_evaluation_rejects_a_missing_target_and_an_unknown_class(write):
    data = load(write(FLOWERS))
    with pytest.raises(DataError, match="no column 'kind'"):
        data.schema.read_labelled(write("length,width,colour\n1,1,red\n"), data.classes)
    message = r"column 'kind': 'fern' \(line 2\) is not among the classes 'iris', 'rose'"
    with pytest.raises(DataError, match=message):
        data.schema.read_labelled(write("length,width,colour,kind\n1,1,red,fern\n"), data.classes)
    with pytest.raises(DataError, match="the target 'kind' has no value in line 3"):
        data.schema.read_labelled(write("length,width,colour,kind\n1,1,red,iris\n1,1,red,\n"), data.classes)


@pytest.mark.parametrize("kind", ["pandas", "polars", "pyarrow"])
def test_data_frames_are_accepted_as_tables(kind):
    frame = pandas.DataFrame({"x": [1.5, None, 2], "c": ["a", "b", None], "y": [0, 1, 1]})
    given = {"pandas": frame, "polars": polars.from_pandas(frame), "pyarrow": polars.from_pandas(frame).to_arrow()}[
        kind
    ]
    schema = TableSchema.fit(given, "y")
    assert schema.feature_names == ["x", "x missing", "c=(missing)", "c=a", "c=b"]
    assert schema.encode(given).tolist() == [[1.5, 0, 0, 1, 0], [1.75, 1, 0, 0, 1], [2, 0, 1, 0, 0]]
    with pytest.raises(ArgumentError, match="expected a data frame or a table, got list"):
        schema.encode([[1, 2]])


def test_columns_of_any_dtype_are_read():
    frame = pandas.DataFrame(
        {
            "whole": pandas.array([1, None, 3], dtype="Int64"),
            "truth": pandas.array([True, None, False], dtype="boolean"),
            "kind": pandas.Categorical(["b", "a", "b"], categories=["b", "a", "unused"]),
            "day": pandas.to_datetime(["1970-01-03", None, "1970-01-05"]),
            "mixed": [1, "a", date(2020, 1, 2)],
            "y": [0, 1, 1],
        }
    )
    schema = TableSchema.fit(frame, "y")
    assert [c.role for c in schema.columns] == ["number", "category", "category", "date", "category"]
    X = dict(zip(schema.feature_names, schema.encode(frame).T.tolist(), strict=True))
    assert X["whole"] == [1, 2, 3]
    assert X["whole missing"] == [0, 1, 0]
    assert (X["truth=(missing)"], X["truth=False"], X["truth=True"]) == ([0, 1, 0], [0, 0, 1], [1, 0, 0])
    assert (X["kind=a"], X["kind=b"]) == ([0, 1, 0], [1, 0, 1])
    assert X["day days"] == [2, 3, 4]
    assert (X["mixed=1"], X["mixed=a"], X["mixed=2020-01-02"]) == ([1, 0, 0], [0, 1, 0], [0, 0, 1])


def test_nested_values_and_duplicate_columns_are_rejected():
    with pytest.raises(DataError, match="column 'x' holds nested values"):
        fitted(x=[[1], [2, 3]])
    with pytest.raises(DataError, match="two columns are named 'a'"):
        TableSchema.fit(pandas.DataFrame([[1, 2, 3]], columns=["a", "a", "y"]))


def test_the_description_has_a_line_for_each_column_shortened_to_fit():
    n = 12
    with pytest.warns(GpunetWarning):
        schema, _ = fitted(
            **{"a very long name of a column that says all of it": [1.5, None] * 6},
            id=range(n),
            town=[f"town {i % 3}" for i in range(n)],
        )
    header, *lines = schema.describe().splitlines()
    assert header.split() == ["column", "role", "why", "missing"]
    assert lines[0].split("  ")[0] == "a very long name of a c…"
    assert "number" in lines[0]
    assert "median and indicator" in lines[0]
    assert lines[0].endswith("6")
    assert "ignored" in lines[1]
    assert "consecutive numbers" in lines[1]
    assert "'town 0', 'town 1', 'town 2'; one-hot" in lines[2]
    assert lines[3].split() == ["y", "target"]


def test_the_description_of_many_columns_counts_the_rest():
    schema, _ = fitted(**{f"x{i}": [i, i + 1.5, 2] for i in range(300)})
    lines = schema.describe().splitlines()
    assert len(lines) == 43
    assert lines[-2] == "and 260 number"


names = st.text("ab1,;\"'=é漢", min_size=1, max_size=4)
columns = st.builds(
    Column,
    name=names,
    role=st.sampled_from(["number", "category", "date", "ignored"]),
    form=st.sampled_from(["", ",", "%d.%m.%Y"]),
    fill=st.floats(-1e9, 1e9),
    categories=st.lists(names, max_size=3, unique=True).map(tuple),
)


@settings(deadline=None, derandomize=True)
@given(st.lists(columns, max_size=4).map(tuple), names)
def test_a_schema_round_trips_through_json(columns, target):
    schema = TableSchema(columns, target, "mean", ReadOptions(";", ",", "latin-1", False))
    assert TableSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema
    assert TableSchema.from_json(schema.to_json()) == schema


def test_a_schema_of_another_version_is_rejected():
    with pytest.raises(ArgumentError, match="version 1, not 2"):
        TableSchema.from_json({"columns": [{"name": "x", "categories": None}], "target": "y"})


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
words = names.map("#{}".format)  # never a number, never a sign of a missing value


@settings(deadline=None, derandomize=True)
@given(
    X=st.lists(st.tuples(numbers, words), min_size=2, max_size=9, unique_by=(lambda row: row[0], lambda row: row[1]))
)
def test_a_written_table_is_read_back(tmp_path_factory, X):
    path = tmp_path_factory.mktemp("tables") / "any.csv"
    quoted = [(number, '"' + text.replace('"', '""') + '"') for number, text in X]
    path.write_text("n,t\n" + "".join(f"{number!r},{text}\n" for number, text in quoted), encoding="utf-8")
    data = load(path, task="classification")
    np.testing.assert_array_equal(data.X[:, 0].astype(np.float32), np.array([number for number, _ in X], np.float32))
    assert [data.classes[i] for i in data.y] == [text for _, text in X]


@pytest.mark.parametrize(
    ("trained", "asked", "said"),
    [
        (["5%", "6%", "7%"], ["5%", "0.05"], r"column 'x' holds a number in %, not '0.05' \(row 1\)"),
        (["5%", "6%", "7%"], [5.0, 6.0], r"column 'x' holds a number in %, not '5.0' \(row 0\)"),
        (["$5", "$6", "$7"], ["€5", "$6"], r"column 'x' holds a number in \$, not '€5' \(row 0\)"),
        ([5.5, 6.5, 7], ["5%", "6"], r"column 'x' holds a number, not '5%' \(row 0\)"),
        (["5 kg", "6 kg", "7 kg"], ["5 g", "6 kg"], r"column 'x' holds a number in kg, not '5 g' \(row 0\)"),
        (["5 kg", "6 kg", "7 kg"], ["5", "6"], r"column 'x' holds a number in kg, not '5' \(row 0\), '6' \(row 1\)"),
        (["5 kg", "6 kg", "7 kg"], [5.0, 6.0], r"column 'x' holds a number in kg, not '5.0' \(row 0\)"),
        ([5.5, 6.5, 7], ["5 kg", "6"], r"column 'x' holds a number, not '5 kg' \(row 0\)"),
    ],
)
def test_numbers_in_another_unit_than_in_training_are_rejected(trained, asked, said):
    schema = TableSchema.fit(pandas.DataFrame({"x": trained, "y": ["a", "b", "a"]}))
    with pytest.raises(DataError, match=said):
        schema.encode(pandas.DataFrame({"x": asked}))


def test_a_number_without_currency_has_that_of_training():
    schema = TableSchema.fit(pandas.DataFrame({"x": ["$5", "$6", "7"], "y": ["a", "b", "a"]}))
    np.testing.assert_array_equal(schema.encode(pandas.DataFrame({"x": ["8", "$9"]})), [[8], [9]])


def test_a_number_that_does_not_vary_in_the_training_rows_never_moves_a_prediction():
    frame = pandas.DataFrame(
        {"a": [1.5, 2, 3, 4], "b": [7, 7, 8, 9], "c": [7, np.nan, 8, 9], "y": ["p", "q", "p", "q"]}
    )
    with pytest.warns(GpunetWarning, match=r"'b' \(has one value in the training rows\)"):
        schema = TableSchema.fit(frame, rows=np.array([0, 1]))
    assert schema.feature_names == ["a", "c", "c missing"]
    np.testing.assert_array_equal(schema.encode(frame)[:, 1:], [[7, 0], [7, 1], [7, 0], [7, 0]])


def test_a_column_without_a_value_or_with_one_category_in_the_training_rows_is_ignored():
    frame = pandas.DataFrame({"a": [1.5, 2, 3], "b": [np.nan, np.nan, 8], "c": ["u", "u", "v"], "y": ["p", "q", "p"]})
    with pytest.warns(GpunetWarning, match=r"'b' \(has no value in the training rows\); 'c' \(has one value in the"):
        assert TableSchema.fit(frame, rows=np.array([0, 1])).feature_names == ["a"]


def test_categories_are_found_however_a_number_or_truth_value_is_written():
    trained = pandas.DataFrame({"a": ["1.0", "2.0", "1.0"], "b": ["TRUE", "FALSE", "TRUE"], "y": ["p", "q", "p"]})
    schema = TableSchema.fit(trained, roles={"a": "category"})
    asked = pandas.DataFrame({"a": [1.0, 2.0, 1.0], "b": [True, False, True]})
    np.testing.assert_array_equal(schema.encode(asked), schema.encode(trained))


def test_categories_that_are_mostly_unknown_give_a_warning():
    schema = TableSchema.fit(pandas.DataFrame({"sex": ["Male", "Female", "Male"], "y": ["p", "q", "p"]}))
    said = r"column 'sex': most values are unknown: 'male' \(row 0\), 'male' \(row 1\); known are 'Female', 'Male'"
    with pytest.warns(GpunetWarning, match=said):
        schema.encode(pandas.DataFrame({"sex": ["male", "male", "Male"]}))


def test_a_date_column_without_a_value_is_filled_in():
    schema = TableSchema.fit(pandas.DataFrame({"d": ["2020-01-01", "2020-01-03", ""], "y": ["p", "q", "p"]}))
    X = schema.encode(pandas.DataFrame({"d": [np.nan]}))
    np.testing.assert_array_equal(X[0, [0, 3]], [18263, 1])


@pytest.mark.parametrize(
    ("dates", "said"),
    [
        (["01/02/2023", "01/03/2023"], "read as %m/%d/%Y, but %d/%m/%Y is possible too"),
        (["27/07/53", "13/08/61"], "years of two digits are read as 1969 to 2068"),
    ],
)
def test_ambiguous_dates_give_a_warning(dates, said):
    with pytest.warns(GpunetWarning, match=f"column 'd': its {said}|column 'd': its dates are {said}"):
        TableSchema.fit(pandas.DataFrame({"d": dates, "y": ["p", "q"]}))


def test_the_target_is_read_in_the_unit_of_training(write):
    labelled = LabelledTable.read(write("x,y\n1,5%\n2,6%\n3,7%\n4,8.5%\n"), None, None)
    schema = labelled.dataset().schema
    with pytest.raises(DataError, match=r"column 'y': '0.05' \(line 2\), .* are not a finite number in %"):
        schema.read_labelled(write("x,y\n1,0.05\n2,0.06\n"), None)
    assert schema.read_labelled(write("x,y\n1,5%\n2,6.5%\n"), None)[1].tolist() == [5, 6.5]


def test_a_target_of_dates_is_rejected(write):
    rows = "".join(f"{i},2024-01-{i:02}\n" for i in range(1, 10))
    with pytest.raises(DataError, match="the target 'when' holds dates, such as '2024-01-01'"):
        load(write(f"x,when\n{rows}"))


def test_an_explicitly_selected_column_is_not_an_identifier():
    frame = pandas.DataFrame({"id": range(12), "a": np.arange(12) ** 2, "y": ["p", "q"] * 6})
    assert TableSchema.fit(frame, columns=["id", "a"]).feature_names == ["id", "a"]


def test_a_categorical_dtype_is_a_category():
    frame = pandas.DataFrame({"c": pandas.Categorical([1, 2, 1]), "y": ["p", "q", "p"]})
    assert TableSchema.fit(frame).feature_names == ["c=1", "c=2"]


def test_a_named_index_of_a_parquet_file_is_a_column(tmp_path):
    frame = pandas.DataFrame({"x": [5, 6.5, 7], "y": ["p", "q", "p"]}, index=pandas.Index([1.5, 2, 3], name="t"))
    frame.to_parquet(tmp_path / "data.parquet")
    assert load(tmp_path / "data.parquet").schema.feature_names == ["t", "x"]


def test_classes_keep_names_that_are_digits_but_no_numbers(write):
    assert load(write("x,y\n" + "1.5,01\n2.5,02\n3.5,10\n" * 3)).classes == ("01", "02", "10")
    ids = ("9007199254740992", "9007199254740993")
    assert load(write("x,y\n" + f"1.5,{ids[0]}\n2.5,{ids[1]}\n" * 3)).classes == ids


def test_ambiguous_dates_of_a_requested_column_give_a_warning():
    frame = pandas.DataFrame({"d": ["01/02/2023", "01/03/2023"], "y": ["p", "q"]})
    with pytest.warns(GpunetWarning, match="column 'd': its dates are read as"):
        TableSchema.fit(frame, roles={"d": "date"})


def test_a_schema_from_before_its_latest_fields_is_read():
    schema = TableSchema.fit(pandas.DataFrame({"a": [1.5, 2, 3], "y": ["p", "q", "p"]}))
    data = schema.to_json()
    del data["target_form"], data["columns"][0]["constant"]
    np.testing.assert_array_equal(TableSchema.from_json(data).encode(pandas.DataFrame({"a": [4.5]})), [[4.5]])


@pytest.mark.parametrize("value", [1e151, "-1e200", np.inf])
def test_a_number_that_is_too_large_at_prediction_is_refused_with_the_limit(value):
    schema = TableSchema.fit(pandas.DataFrame({"x": [1.5, 2, 7], "y": ["p", "q", "p"]}))
    with pytest.raises(DataError, match=r"column 'x' holds a number up to 1e150, not .* \(row 1\)"):
        schema.encode(pandas.DataFrame({"x": [1.5, value, 2]}))


def test_texts_that_differ_only_in_case_or_blanks_give_a_warning(write):
    towns = ["Bern", "BERN", "New  York", "New York", "Oslo", " Oslo"]
    rows = "".join(f'{i}.5,"{towns[i % 6]}",{("Yes", "no", "yes")[i % 3]}\n' for i in range(30))
    with pytest.warns(GpunetWarning) as caught:
        load(write(f"x,town,bought\n{rows}"))
    (town,) = (str(each.message) for each in caught if "'town'" in str(each.message))
    assert "'BERN', 'Bern' differ only in case or blanks (and 1 more such group), and are kept apart" in town
    (bought,) = (str(each.message) for each in caught if "'bought'" in str(each.message))
    assert "'Yes', 'yes' differ only in case" in bought


def test_distinct_texts_and_one_truth_value_in_two_spellings_give_no_warning(write, recwarn):
    rows = "".join(f"{i}.5,{('Bern', 'Oslo')[i % 2]},{('true', 'FALSE', 'True')[i % 3]}\n" for i in range(30))
    load(write(f"x,town,bought\n{rows}"))
    assert not recwarn.list


def test_a_date_in_another_format_than_in_training_is_answered_with_an_example(write):
    schema = load(write("d,y\n31.12.2020,a\n30.11.2020,b\n29.10.2020,a\n")).schema
    with pytest.raises(DataError, match=r"holds a date such as 31\.12\.2024, not '2020-12-31' \(line 2\)"):
        schema.read(write("d\n2020-12-31\n", "asked.csv"))


def test_no_role_is_suggested_for_columns_without_two_values(write):
    with pytest.warns(GpunetWarning, match=r"ignored columns: 'e' \(has no value\); 'f' \(has one value, 7\)\.$"):
        load(write("x,e,f,y\n1.5,,7,a\n2.5,,7,b\n3.5,,7,a\n"))


@pytest.mark.parametrize("unit", ["kg", "€"])
def test_a_target_of_numbers_in_several_spellings_gives_no_warning(write, recwarn, unit):
    rows = "".join(f"{i * i % 17}.5;{i // 2}.25{' ' * (1 + i % 2)}{unit}\n" for i in range(30))
    assert load(write(f"x;weight\n{rows}")).classes is None
    assert not recwarn.list
