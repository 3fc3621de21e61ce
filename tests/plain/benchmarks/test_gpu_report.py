"""`python -m benchmarks.gpu_report`: sections are independent, the time limit holds, and all findings are saved."""

import json
import os
import sys
import time
from pathlib import Path

import pytest

from gpunet.bench.child import iterate_with_limit

CHECKOUT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _checkout(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)


def fine(setup):
    yield [{"value": 1, "fault": ""}]
    yield [{"value": 2, "fault": ""}, {"value": 3, "fault": ""}]


def finds_a_fault(setup):
    yield [{"value": 4, "fault": "off by one"}]


def raises(setup):
    yield [{"value": 5, "fault": ""}]
    raise ValueError("no such thing")


def hangs(setup):
    yield [{"value": 6, "fault": ""}]
    time.sleep(600)


def exits(setup):
    yield [{"value": 7, "fault": ""}]
    os._exit(3)


def crashes_twice(setup):
    crashes = len(setup.found)
    if crashes == 2:
        yield [{"value": 8, "fault": ""}]
        return
    yield [{"value": crashes, "fault": "crashed: a sticky fault"}]
    raise RuntimeError("it is broken now")


def raises_after_a_finding(setup):
    yield [{"value": 9, "fault": ""}]
    raise RuntimeError("it is broken now")


def asks_for_the_ceilings(setup):
    yield [{"value": setup.ceilings, "fault": ""}]


def measures_ceilings(setup):
    yield [{"ceilings": {"bytes_per_second": 1.0}, "fault": ""}]


def show(rows):
    for row in rows:
        yield f"value {row['value']}"


def section(measure, seconds=10.0):
    from benchmarks.gpu_report.section import Section

    return Section(measure.__name__, seconds, measure, show)


def here(limit, measure, setup):
    return measure(setup)


def ran(out, sections, minutes=1.0, child=here, **options):
    from benchmarks.gpu_report.runner import run
    from benchmarks.gpu_report.section import Setup

    by_name = {each.title: each for each in sections}
    report = run(by_name, Setup("sim"), out, minutes, log=lambda line: None, child=child, **options)
    assert json.loads((out / "report.json").read_text(encoding="utf-8")) == report
    return report["sections"]


def values(entry):
    return [row["value"] for row in entry["rows"]]


def test_a_section_that_raises_hangs_or_exits_is_recorded_and_the_others_run(tmp_path):
    planted = [section(hangs, seconds=3), section(raises), section(exits), section(fine)]
    minutes = sum(each.seconds for each in planted) / 60
    sections = ran(tmp_path, planted, minutes, child=iterate_with_limit)
    assert sections["raises"]["status"].startswith("failed: ")
    assert sections["raises"]["status"].strip().endswith("ValueError: no such thing")
    assert sections["exits"]["status"] == "failed: the child process ended with exit code 3 before the call returned."
    assert sections["hangs"]["status"] == "cut off: it had 3 s"
    assert sections["fine"]["status"] == "done"
    assert [values(entry) for entry in sections.values()] == [[6], [5], [7], [1, 2, 3]]


def test_a_section_that_reports_a_crash_resumes_with_its_findings(tmp_path):
    sections = ran(tmp_path, [section(crashes_twice), section(raises_after_a_finding)])
    assert values(sections["crashes_twice"]) == [0, 1, 8]
    assert sections["crashes_twice"]["status"] == "done"
    assert values(sections["raises_after_a_finding"]) == [9]
    assert sections["raises_after_a_finding"]["status"].startswith("failed: ")


def test_measured_ceilings_are_passed_to_later_sections(tmp_path):
    sections = ran(tmp_path, [section(measures_ceilings), section(asks_for_the_ceilings)])
    assert values(sections["asks_for_the_ceilings"]) == [{"bytes_per_second": 1.0}]


@pytest.mark.parametrize(
    ("body", "may_skip", "said"),
    [
        ("assert True", False, None),
        ("assert 1 == 2", False, "assert 1 == 2"),
        ("__import__('os')._exit(3)", False, "exit code 3"),
        ("__import__('pytest').skip('no GPU')", False, "no GPU"),
        ("__import__('pytest').skip('no GPU')", True, None),
    ],
)
def test_a_test_file_passes_if_it_ran_and_no_test_failed(tmp_path, body, may_skip, said):
    from benchmarks.gpu_report.sections.cuda_tests import outcome

    (tmp_path / "pytest.ini").write_text("[pytest]\naddopts = -rs", encoding="utf-8")
    (tmp_path / "test_planted.py").write_text(f"def test_it():\n    {body}\n", encoding="utf-8")
    found = outcome(tmp_path / "test_planted.py", may_skip=may_skip)
    assert found["fault"] == "" if said is None else said in found["fault"]
    assert found["tests"] == ("_exit" not in body)


# time


class Clock:
    """A clock that each section advances by its seconds, up to its limit."""

    def __init__(self, **takes):
        self.time, self.takes, self.limits = 100.0, takes, {}

    def __call__(self):
        return self.time

    def child(self, limit, measure, setup):
        self.limits[measure.__name__] = limit
        self.time += min(self.takes[measure.__name__], limit)
        yield from measure(setup)


def test_a_section_can_use_time_that_earlier_ones_left_but_not_the_share_of_later_ones(tmp_path):
    clock = Clock(fine=1, raises=1000, finds_a_fault=10, exits=1000)
    planted = [section(fine), section(finds_a_fault, 20), section(asks_for_the_ceilings, 30)]
    clock.takes["asks_for_the_ceilings"] = 1000
    ran(tmp_path, planted, minutes=2, now=clock, child=clock.child)  # twice the seconds of the sections
    assert clock.limits == {"fine": 20, "finds_a_fault": 20 + 40 - 1, "asks_for_the_ceilings": 120 - 11}
    assert clock.time == 100 + 120


def test_a_section_is_not_run_without_time(tmp_path):
    clock = Clock(fine=300)

    def late(limit, measure, setup):
        clock.time += 300  # a process that takes long to kill
        yield from measure(setup)

    sections = ran(tmp_path, [section(fine), section(finds_a_fault)], minutes=1, now=clock, child=late)
    assert sections["finds_a_fault"]["status"] == "not run: no time was left"
    assert sections["finds_a_fault"]["rows"] == []


def test_a_killed_run_leaves_its_findings(tmp_path):
    def killed(limit, measure, setup):
        yield from measure(setup)
        if measure is finds_a_fault:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        ran(tmp_path, [section(fine), section(finds_a_fault), section(exits)], child=killed)
    sections = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["sections"]
    assert [entry["status"] for entry in sections.values()] == ["done", "cut off", "not run: no time was left"]
    assert values(sections["finds_a_fault"]) == [4]
    assert "value 4" in (tmp_path / "report.md").read_text(encoding="utf-8")


# output


def test_the_markdown_is_made_from_the_json(tmp_path):
    from benchmarks.gpu_report.render import markdown

    planted = {each.title: each for each in (section(fine), section(finds_a_fault))}
    ran(tmp_path, planted.values())
    text = (tmp_path / "report.md").read_text(encoding="utf-8")
    report = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))
    assert markdown(report, planted) == text
    assert all(f"value {value}" in text for value in (1, 2, 3, 4))
    report["sections"]["fine"]["rows"][0]["value"] = "changed"
    assert "value changed" in markdown(report, planted)


def test_findings_that_cannot_be_shown_do_not_end_a_run(tmp_path):
    sections = ran(tmp_path, [section(measures_ceilings), section(fine)])  # "ceilings" have no "value" to show
    assert [entry["status"] for entry in sections.values()] == ["done", "done"]
    assert "cannot be shown (KeyError: 'value')" in (tmp_path / "report.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("planted", "expected"), [(fine, True), (finds_a_fault, False), (raises_after_a_finding, False)]
)
def test_a_report_passes_if_every_section_completed_without_a_fault(tmp_path, planted, expected):
    from benchmarks.gpu_report.runner import passed

    assert passed({"sections": ran(tmp_path, [section(planted)])}) is expected


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--out", "{file}/report"], "file/report is not writable"),
        (["--out", "{file}"], "file is not writable"),
        (["--out", "{folder}", "--minutes", "0"], "invalid minutes value: '0'"),
        (["--out", "{folder}", "--minutes", "soon"], "invalid minutes value: 'soon'"),
        (["--out", "{folder}", "--device", "cpu"], "invalid choice: 'cpu'"),
        (["--out", "{folder}"], "--device: cuda: CuPy is not installed"),
        ([], "--out"),
    ],
)
def test_invalid_arguments_are_reported_before_anything_runs(tmp_path, monkeypatch, capsys, arguments, said):
    from benchmarks.gpu_report import __main__ as command

    monkeypatch.setattr(command, "run", None)
    monkeypatch.setitem(sys.modules, "cupy", None)
    (tmp_path / "file").touch()
    places = {"file": tmp_path / "file", "folder": tmp_path}
    with pytest.raises(SystemExit) as ended:
        command.main([argument.format(**places) for argument in arguments])
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["file"]
