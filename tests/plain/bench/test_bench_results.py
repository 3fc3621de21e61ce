"""Result files are read back unchanged, other files are refused, and a comparison considers the spread."""

import dataclasses
import json

import pytest

from gpunet.bench.ceilings import Ceilings
from gpunet.bench.compare import compare
from gpunet.bench.results import Report, Row
from gpunet.bench.table import lines, time_text
from gpunet.bench.timing import Spread
from gpunet.errors import DataError
from gpunet.simulator import Counts

ROW = Row(
    "matmul",
    "NN",
    "64x64x64",
    "float32",
    524288,
    49152,
    "FLOP/s",
    "blas",
    seconds=Spread(1e-3, 9e-4, 2e-3),
    of_ceiling=1.5,
    error=2e-8,
)
OTHERS = (
    dataclasses.replace(ROW, kernel="naive", fault="it is wrong", seconds=None),
    dataclasses.replace(ROW, kernel="tiled", cache="cold", error=None, speedup=Spread(1.5, 1.0, 2.0), of_ceiling=0.5),
    dataclasses.replace(ROW, kernel="shared", seconds=None, counts=Counts(1, 2, 3, 4, 5, 6)),
)


def report(*rows, **environment):
    return Report({"cpu": "a", **environment}, Ceilings(1e10, 1e11), rows)


def words(line):
    return " ".join(line.split())


def timed(low, median, high):
    return report(dataclasses.replace(ROW, seconds=Spread(median, low, high)))


def test_a_result_file_is_read_back_as_it_was_written(tmp_path):
    whole = report(ROW, *OTHERS)
    whole.write(tmp_path / "a.json")
    read = Report.read(tmp_path / "a.json")
    assert (read.environment, read.ceilings, tuple(read.rows)) == (whole.environment, whole.ceilings, whole.rows)


@pytest.mark.parametrize(
    "text",
    ["", "{", "[]", "3", "{}", '{"format": "other"}', "\xff", '{"format": "gpunet bench", "version": 1}',
     '{"format": "gpunet bench", "version": 1, "environment": {}, "ceilings": null, "rows": [{}]}',
     '{"format": "gpunet bench", "version": 1, "environment": {}, "ceilings": null, "rows": 3}'],
)  # fmt: skip
def test_a_file_of_another_format_is_refused_by_name(tmp_path, text):
    path = tmp_path / "other.json"
    path.write_text(text, encoding="latin-1")
    with pytest.raises(DataError, match=r"other\.json: not a result file"):
        Report.read(path)


@pytest.mark.parametrize("work", [{"flops": 0}, {"flops": -1}, {"nbytes": -1}])
def test_results_without_work_are_refused(tmp_path, work):
    report(dataclasses.replace(ROW, **work)).write(tmp_path / "a.json")
    with pytest.raises(DataError, match="FLOPs or bytes is not above 0"):
        Report.read(tmp_path / "a.json")


def test_a_file_of_another_version_is_refused_with_both_versions(tmp_path):
    path = tmp_path / "a.json"
    report(ROW).write(path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"version": 9}))
    with pytest.raises(DataError, match="version 9; this gpunet reads 1"):
        Report.read(path)


@pytest.mark.parametrize(
    ("b", "said"),
    [
        ((0.4, 0.5, 0.6), "2.000x  faster"),
        ((1.4, 2.0, 2.2), "0.500x  slower"),
        ((0.7, 0.8, 0.95), "1.250x  within the spread"),
        ((1.05, 1.25, 1.5), "0.800x  within the spread"),
    ],
)
def test_a_comparison_marks_what_is_beyond_the_spread(b, said):
    *_, line = compare(timed(0.9, 1.0, 1.1), timed(*b))
    assert line.endswith(said)


@pytest.mark.parametrize(
    ("low", "median", "high", "said"),
    [
        (2.1, 2.5, 3.0, "1.5 -> 2.5, faster"),
        (0.5, 0.6, 0.9, "1.5 -> 0.6, slower"),
        (1.9, 2.0, 3.0, "2, within the spread"),
    ],
)
def test_a_comparison_shows_the_ratio_to_the_library_of_each_run(low, median, high, said):
    tiled = OTHERS[1]
    (*_, line) = compare(report(tiled), report(dataclasses.replace(tiled, speedup=Spread(median, low, high))))
    assert "1.000x  within the spread; against the library " in line
    assert line.endswith(said)


def test_a_comparison_says_what_differs_in_the_machine_and_what_is_missing():
    text = "\n".join(compare(report(ROW, OTHERS[0]), report(ROW, OTHERS[2], cpu="b")))
    assert "Different cpu: a, b." in text
    assert "naive" in text.split("only in A")[0]
    assert "shared" in text.split("only in B")[0]


def test_a_comparison_reports_kernels_that_became_wrong_and_changed_counts():
    naive, _, shared = OTHERS
    more = dataclasses.replace(shared, counts=Counts(1, 2, 3, 4, 50, 6))
    (_, went, changed), (_, same) = (
        list(compare(report(dataclasses.replace(ROW, kernel="naive"), shared), report(naive, more))),
        list(compare(report(shared), report(shared))),
    )
    assert went.endswith("right -> WRONG")
    assert "barriers=5, " in changed
    assert "barriers=50, " in changed
    assert same.endswith("the same counts")


def test_a_table_shows_time_speed_ceiling_ratio_and_errors():
    head, blas, naive, tiled = lines((ROW, *OTHERS[:2]), head=True, counted=False)
    assert head.split()[:3] == ["size", "variant", "kernel"]
    assert words(blas) == "64x64x64 NN blas 1 ms (0.9 .. 2) 0.5243 GFLOP/s 150.0% 2e-08 -"
    assert naive.split(maxsplit=3)[3] == "WRONG: it is wrong"
    assert words(tiled) == "64x64x64 NN cold tiled 1 ms (0.9 .. 2) 0.5243 GFLOP/s 50.0% - 1.5 (1 .. 2)"


def test_a_table_of_counts_shows_no_time():
    _, counted = lines(OTHERS[2:], head=True, counted=True)
    assert words(counted) == "64x64x64 NN shared 6 5 1 2 3 4 524,288"


@pytest.mark.parametrize(
    ("seconds", "text"), [(2.5, "2.5 s (2.5 .. 2.5)"), (3e-3, "3 ms (3 .. 3)"), (4e-8, "0.04 µs (0.04 .. 0.04)")]
)
def test_a_time_is_shown_in_the_unit_that_fits(seconds, text):
    assert time_text(Spread(seconds, seconds, seconds)) == text


def test_the_roofline_is_the_lower_ceiling():
    ceilings = Ceilings(bytes_per_second=10, flops_per_second=100)
    assert ceilings.seconds(flops=1000, nbytes=10) == 10
    assert ceilings.seconds(flops=10, nbytes=1000) == 100
