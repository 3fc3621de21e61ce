"""Reading table files: the location of errors, rejected files and missing packages."""

import gzip
import io
import os
import sys

import numpy as np
import pandas
import pytest

from gpunet.data import ReadOptions, TableOptions, TableSchema, load, read_table
from gpunet.data.table import opening, parquet, sniffing
from gpunet.errors import ArgumentError, DataError, MissingPackageError


@pytest.fixture
def write(tmp_path):
    def write_file(content, name="data.csv"):
        path = tmp_path / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return path

    return write_file


def test_numeric_columns_are_parsed_as_numbers(write):
    frame = read_table(write("a,b,c,d\n1,1.5,x,\n2,2.5,y,3\n")).frame
    assert [frame[name].dtype for name in "abd"] == [np.int64, np.float64, np.float64]


def test_a_row_is_located_by_its_line_including_quoted_and_blank_lines(write):
    table = read_table(write('# comment\n\nx,y\n1,"a\nb"\n\n2,c\n,\n3,d\n'))
    assert len(table) == 3
    assert [table.place(row) for row in range(3)] == ["line 5", "line 7", "line 9"]
    assert table.take([2]).place(0) == "line 9"


@pytest.mark.skipif(os.name == "nt", reason="Windows has no pipes with names")
@pytest.mark.parametrize("name", ["data.csv", "data.csv.gz", "data.parquet"])
def test_a_pipe_is_refused_without_blocking(name, tmp_path):
    os.mkfifo(tmp_path / name)
    with pytest.raises(DataError, match="not a regular file"):
        read_table(tmp_path / name)


def test_rows_of_a_parquet_file_are_located_by_number(tmp_path):
    pandas.DataFrame({"x": [1.5, 2]}, index=[7, 9]).to_parquet(tmp_path / "data.parquet")
    table = read_table(tmp_path / "data.parquet")
    assert (table.place(1), table.found) == ("row 1", "parquet")


def test_text_columns_keep_their_text(write):
    path = write("a,b\n007,1\nTRUE,2\n1.50,3\n")
    assert read_table(path, text=["a", "elsewhere"]).frame["a"].tolist() == ["007", "TRUE", "1.50"]


def test_a_column_with_text_late_in_a_large_file_is_text(write):
    header, zeros = ",".join(f"x{i}" for i in range(40)), ",0" * 39
    path = write(f"{header}\n" + "".join(f"{row % 7}{zeros}\n" for row in range(20_000)) + f"many{zeros}\n")
    column = read_table(path).frame["x0"]
    assert {type(value) for value in column} == {str}
    assert column.iloc[-1] == "many"


def test_a_short_row_is_found_if_the_last_column_has_blanks(write):
    assert len(read_table(write("x,y\n1,\n2,3\n"))) == 2
    assert len(read_table(write('x,y\n"1",\n2,3\n'))) == 2
    with pytest.raises(DataError, match="line 3: 1 value, the header has 2 columns"):
        read_table(write("x,y\n1,\n2\n"))


def test_a_first_line_longer_than_the_sample_is_read(write):
    names = [f"a column of a long name {i}" for i in range(5000)]
    table = read_table(write(",".join(names) + "\n" + ",".join("1" * 5000) + "\n"))
    assert list(table.frame.columns) == names


def test_a_compression_bomb_is_rejected_before_memory_is_full(write, monkeypatch):
    monkeypatch.setattr(opening, "UNPACKED_FREELY", 2**20)
    packed = gzip.compress(b"x,y\n" + b"1,2\n" * 2**20)
    with pytest.raises(DataError, match="decompresses to more than 200 times its size"):
        read_table(write(packed, "bomb.csv.gz"))


def test_a_compressed_file_with_one_huge_line_is_rejected_before_memory_is_full(write, monkeypatch):
    monkeypatch.setattr(sniffing, "LONGEST_BEGINNING", 2**20)
    with pytest.raises(DataError, match="its first lines have over 1 MiB"):
        read_table(write(gzip.compress(b"0" * 2**24), "bomb.csv.gz"))


def test_a_file_larger_than_memory_is_rejected(write, monkeypatch):
    path, packed = write("x,y\n" + "1,2\n" * 1000), write(gzip.compress(b"x,y\n" + b"1,2\n" * 1000), "data.csv.gz")
    monkeypatch.setattr(opening, "memory", lambda: 1000)
    for source in (path, packed):
        with pytest.raises(DataError, match=r"does not fit into memory .*use a part of its rows"):
            read_table(source)


def test_the_memory_limit_of_the_container_applies(monkeypatch, tmp_path):
    (tmp_path / "memory.max").write_text("12345\n")
    (tmp_path / "unlimited").write_text("max\n")
    monkeypatch.setattr(opening, "CONTAINER_LIMITS", [tmp_path / name for name in ("unlimited", "memory.max", "none")])
    assert opening.memory() == 12345


def test_pandas_running_out_of_memory_raises_the_same_error(write, monkeypatch):
    def full(*arguments, **options):
        raise MemoryError

    path = write("x,y\n1,2\n")
    monkeypatch.setattr(pandas, "read_csv", full)
    with pytest.raises(DataError, match="does not fit into memory"):
        read_table(path)


@pytest.mark.parametrize("data", [b"x,y\n1,2\n", gzip.compress(b"x,y\n1,2\n", mtime=0)], ids=["text", "packed"])
def test_standard_input_is_read_once(monkeypatch, data):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    table = read_table("-")
    assert table.name == "standard input"
    assert table.frame.to_numpy().tolist() == [[1, 2]]
    assert table.place(0) == "line 2"


def test_nested_parquet_columns_raise_with_their_name_unless_dropped(tmp_path):
    path = tmp_path / "nested.parquet"
    pandas.DataFrame({"x": [1, 2], "l": [[1], [2]], "s": [{"a": 1}] * 2, "y": ["p", "q"]}).to_parquet(path)
    for dropped, name in (("s", "l"), ("l", "s")):
        with pytest.raises(DataError, match=f"column '{name}' holds nested values .*; flatten or drop"):
            load(path, table=TableOptions(drop=[dropped]))
    for options in (TableOptions(drop=["l", "s"]), TableOptions(columns=["x"])):
        data = load(path, table=options)
        assert data.schema.feature_names == ["x"]
        assert data.schema.read(path).tolist() == [[1], [2]]


def test_a_parquet_file_larger_than_memory_is_rejected_before_reading(tmp_path, monkeypatch):
    pandas.DataFrame({"x": np.zeros(10_000), "y": "a"}).to_parquet(tmp_path / "data.parquet")
    monkeypatch.setattr(parquet, "memory", lambda: 200_000)
    monkeypatch.setattr(pandas, "read_parquet", None)
    with pytest.raises(DataError, match="does not fit into memory"):
        read_table(tmp_path / "data.parquet")


@pytest.mark.parametrize("content", [b"", b"PAR1 no more", b"x,y\n1,2\n"])
def test_an_invalid_parquet_file_is_rejected(write, content):
    with pytest.raises(DataError, match=r"data\.parquet: cannot be read as parquet"):
        read_table(write(content, "data.parquet"))


def test_a_parquet_file_without_rows_or_with_text_options_is_rejected(tmp_path):
    path = tmp_path / "data.parquet"
    pandas.DataFrame({"x": [], "y": []}).to_parquet(path)
    with pytest.raises(DataError, match="no data"):
        read_table(path)
    with pytest.raises(ArgumentError, match="header are for text files, not for parquet"):
        read_table(path, ReadOptions(sep=";"))


def test_a_missing_file_and_a_folder_are_rejected(tmp_path):
    for source in (tmp_path / "nowhere.csv", tmp_path):
        with pytest.raises(DataError, match="cannot be read"):
            read_table(source)
    with pytest.raises(DataError, match="cannot be read"):
        read_table(tmp_path / "nowhere.parquet")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sep": ";;"}, "sep=';;': give one character"),
        ({"sep": ""}, "sep='': give one character"),
        ({"sep": '"'}, "give one character"),
        ({"decimal": "x"}, "decimal='x': use '.' or ','"),
        ({"encoding": "klingon"}, "encoding='klingon': unknown"),
    ],
)
def test_invalid_options_are_rejected(options, message):
    with pytest.raises(ArgumentError, match=message):
        ReadOptions(**options)


@pytest.mark.parametrize("sep", ["tab", "\\t", "\t"])
def test_a_tab_can_be_written_in_a_shell(write, sep):
    path = write("x,z\ty\n1,5\t2\n")
    assert list(read_table(path, ReadOptions(sep=sep)).frame.columns) == ["x,z", "y"]


@pytest.mark.parametrize(
    ("package", "name"), [("pandas", "data.csv"), ("pandas", "data.parquet"), ("pyarrow", "data.parquet")]
)
def test_a_missing_package_is_named_with_the_install_command(write, monkeypatch, package, name):
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=f"{package}: pip install .*{package}>="):
        read_table(write("x,y\n1,2\n", name))


def test_other_files_can_have_another_format_than_the_training_file(tmp_path):
    path = tmp_path / "data.csv"
    rows = "".join(f"{city},{i}.5,{'ab'[i % 2]}\n" for i, city in enumerate(["Zürich", "Genève", "Zürich", "Genève"]))
    path.write_text(f"city,x,y\n{rows}", encoding="latin-1")
    schema = TableSchema.fit(read_table(path), reading=ReadOptions(sep=",", encoding="latin-1", header=True))
    expected = schema.read(path)
    path.write_text(f"city,x,y\n{rows}", encoding="utf-8")
    np.testing.assert_array_equal(schema.read(path), expected)
    path.write_text(f"city,x,y\n{rows}".replace(",", ";"), encoding="utf-8")
    np.testing.assert_array_equal(schema.read(path), expected)
    path.write_text(f"city,x,y\n{rows}", encoding="latin-1")
    np.testing.assert_array_equal(schema.read(path), expected)
