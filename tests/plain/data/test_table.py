import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gpunet.data import Column, TableSchema, load
from gpunet.errors import DataError

FLOWERS = "length,colour,width,kind\n1.5,red,2,iris\n2.5,blue,3e0,rose\n-1,red,4,iris\n"


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="flowers.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def test_numeric_columns_are_features_and_categorical_ones_one_feature_for_each_sorted_value(write):
    data = load(write(FLOWERS))
    assert data.schema.feature_names == ["length", "colour=blue", "colour=red", "width"]
    assert data.X.tolist() == [[1.5, 0, 1, 2], [2.5, 1, 0, 3], [-1, 0, 1, 4]]
    assert data.X.dtype == np.float64
    assert data.y.tolist() == [0, 1, 0]
    assert data.y.dtype == np.int64
    assert data.classes == ("iris", "rose")
    assert (data.name, data.task, len(data)) == ("flowers", "classification", 3)


def test_the_target_may_be_any_column(write):
    data = load(write(FLOWERS), "width")
    assert (data.classes, data.task) == (None, "regression")
    assert data.y.tolist() == [2, 3, 4]
    assert data.y.dtype == np.float64
    assert data.schema.feature_names[-2:] == ["kind=iris", "kind=rose"]


def test_byte_order_mark_quotes_blank_lines_spaces_and_windows_line_ends_are_read(write):
    text = '\ufeff"a, b", "c""d"\r\n\r\n 1 , "x, \r\ny"\r\n2,z\r\n\r\n'
    data = load(write(text))
    assert data.schema.columns == (Column("a, b"),)
    assert data.schema.target == 'c"d'
    assert data.classes == ("x, \r\ny", "z")
    assert data.X.tolist() == [[1], [2]]


@pytest.mark.parametrize(
    ("target", "classes"),
    [
        (["3", "3.0", "1e1", "10"], ("3", "10")),
        (["-1", "1", "1", "-1"], ("-1", "1")),
        (["1", "2", "3", "1"], None),  # three values in four rows
        (["0.5", "0.5", "1", "1"], None),
        (["1", "x", "1", "1"], ("1", "x")),
        ([str(i % 20) for i in range(60)], tuple(map(str, range(20)))),
        ([str(i % 21) for i in range(60)], None),
    ],
)
def test_a_target_of_few_repeated_integers_is_taken_for_classes_and_other_numbers_for_values(write, target, classes):
    path = write("x,y\n" + "".join(f"0,{value}\n" for value in target))
    assert load(path).classes == classes


def test_task_overrides_what_the_target_looks_like(write):
    path = write("x,y\n0,1\n0,2.5\n")
    assert load(path).task == "regression"
    assert load(path, task="classification").classes == ("1", "2.5")
    path = write("x,y\n0,1\n0,1\n")
    assert load(path).task == "classification"
    assert load(path, task="regression").y.tolist() == [1, 1]
    with pytest.raises(DataError, match="line 3, column 'y': 'b' is not a number"):
        load(write("x,y\n0,1\n0,b\n"), task="regression")


@pytest.mark.parametrize("missing", ["", "NA", "NaN", "nan", "null", "?", " N/A "])
@pytest.mark.parametrize("column", ["length", "colour", "kind"])
def test_a_missing_value_is_refused_naming_file_line_and_column(write, missing, column):
    header, *rows = (line.split(",") for line in FLOWERS.splitlines())
    rows[1][header.index(column)] = missing
    path = write("\n".join(",".join(row) for row in [header, *rows]))
    with pytest.raises(DataError, match=rf"flowers\.csv, line 3, column '{column}': .* missing value"):
        load(path)


def test_the_line_named_counts_lines_inside_quotes_and_blank_ones(write):
    with pytest.raises(DataError, match="line 6, column 'x'"):
        load(write('x,y\n1,"a\nb"\n\n2,c\n,d\n'))


@pytest.mark.parametrize("value", ["inf", "-Infinity", "1e999", "+nan"])
def test_numbers_that_are_not_finite_are_refused_naming_the_place(write, value):
    for text, column in ((f"x,y\n1,2\n{value},2\n", "x"), (f"x,y\n1,2\n2,{value}\n", "y")):
        with pytest.raises(DataError, match=rf"line 3, column '{column}': .* is not a finite number"):
            load(write(text))


def test_an_underscore_makes_text_not_a_number(write):
    assert load(write("x,y\n1_0,a\n2_0,b\n")).schema.feature_names == ["x=1_0", "x=2_0"]


def test_text_among_numbers_is_refused_naming_the_place_not_taken_for_a_category(write):
    for text, column in (("x,y\n1,a\n2,b\n1.2.3,b\n", "x"), ("x,y\n1,1\n2,2\n1,1.2.3\n", "y")):
        with pytest.raises(DataError, match=rf"line 4, column '{column}': '1\.2\.3' is not a number, as most"):
            load(write(text))


def test_classes_may_mix_text_and_numbers_where_the_task_is_given(write):
    path = write("x,y\n0,1\n0,2\n0,x\n")
    assert load(path, task="classification").classes == ("1", "2", "x")


def test_a_column_of_as_many_texts_as_numbers_is_categorical(write):
    data = load(write("x,y\n1,a\nmany,b\n1,b\n"))
    assert data.schema.feature_names == ["x=1", "x=many"]


def test_more_texts_than_make_sense_as_categories_are_refused(write):
    rows = "".join(f"id {i},a\n" for i in range(1500))
    with pytest.raises(DataError, match=r"flowers\.csv, column 'x': 1500 distinct texts are too many"):
        load(write(f"x,y\n{rows}"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "no data"),
        ("x,y\n", "no data"),
        ("x,y\n1,2\n1,2,3\n", "line 3: 3 values, the header has 2 columns"),
        ("x,y\n1,2\n1\n", "line 3: 1 values, the header has 2 columns"),
        ("x,y,x\n1,2,3\n", "names column 'x' twice"),
        (",x,y\n0,1,2\n", r"column 1 has no name.*index=False"),
        ("x;y\n1;2\n", "separated by commas"),
        ('x,y\n1,"2\n', "line 2: not CSV"),
        (b"x,y\n1,\xe9t\xe9\n", "not UTF-8 text"),
    ],
)
def test_a_file_that_is_no_table_is_refused_saying_why(write, content, message):
    with pytest.raises(DataError, match=message):
        load(write(content))


def test_a_missing_target_is_named_with_the_columns_that_there_are(write):
    with pytest.raises(DataError, match=r"no column 'species'; the columns are 'length', 'colour', 'width', 'kind'"):
        load(write(FLOWERS), "species")


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


def test_labels_of_numbers_are_found_however_they_are_written(write):
    schema = TableSchema((Column("x"),), "y")
    path = write("x,y\n1,3.0\n1,1e1\n1,3\n")
    assert schema.read_labelled(path, ("3", "10"))[1].tolist() == [0, 1, 0]
    values = schema.read_labelled(path, None)[1]
    assert values.tolist() == [3, 10, 3]
    assert values.dtype == np.float64


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("width,colour\n1,red\n", "no column 'length'; the columns are 'width', 'colour'"),
        ("length,width,colour\n1,1,red\n1,1,green\n", "line 3, column 'colour': 'green' .* known are 'blue', 'red'"),
        ("length,width,colour\n1,wide,red\n", "line 2, column 'width': 'wide' is not a number"),
        ("length,width,colour\n1,?,red\n", "line 2, column 'width': .*missing"),
    ],
)
def test_a_table_that_does_not_fit_the_schema_is_refused_naming_the_place(write, content, message):
    with pytest.raises(DataError, match=message):
        load(write(FLOWERS)).schema.read(write(content, "asked.csv"))


def test_evaluation_refuses_a_missing_target_and_an_unknown_class(write):
    data = load(write(FLOWERS))
    with pytest.raises(DataError, match="no column 'kind'"):
        data.schema.read_labelled(write("length,width,colour\n1,1,red\n"), data.classes)
    with pytest.raises(DataError, match="line 2, column 'kind': 'fern' is an unknown class; known are 'iris', 'rose'"):
        data.schema.read_labelled(write("length,width,colour,kind\n1,1,red,fern\n"), data.classes)


names = st.text("ab1,;\"'=é漢", min_size=1, max_size=4)
columns = st.builds(Column, names, st.none() | st.lists(names, min_size=1, max_size=3, unique=True).map(tuple))


@settings(deadline=None, derandomize=True)
@given(st.lists(columns, max_size=4).map(tuple), names)
def test_a_schema_survives_json(columns, target):
    schema = TableSchema(columns, target)
    assert TableSchema.from_json(json.loads(json.dumps(schema.to_json()))) == schema


numbers = st.floats(width=32, allow_nan=False, allow_infinity=False)
words = names.map("#{}".format)  # never a number, never a sign of a missing value


@settings(deadline=None, derandomize=True)
@given(X=st.lists(st.tuples(numbers, words), min_size=1, max_size=9))
def test_any_table_that_loads_gives_back_its_values(tmp_path_factory, X):
    path = tmp_path_factory.mktemp("tables") / "any.csv"
    quoted = [(number, '"' + text.replace('"', '""') + '"') for number, text in X]
    path.write_text("n,t\n" + "".join(f"{number!r},{text}\n" for number, text in quoted), encoding="utf-8")
    data = load(path, task="classification")
    np.testing.assert_array_equal(data.X[:, 0], np.array([number for number, _ in X], np.float32))
    assert [data.classes[i] for i in data.y] == [text for _, text in X]
