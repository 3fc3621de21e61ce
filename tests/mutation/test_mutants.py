"""The tests catch a sample of the mutants. `run.py` tries all; GPUNET_MUTANTS=3 draws those of the seed 3.

The default seed draws mutants whose tests are short.
"""

import os
import random
import re
import subprocess
import time
from collections import Counter

import pytest
from mutation.derive import KINDS, derive
from mutation.mutant import ROOT, Mutant, judge, mutated, run_tests
from mutation.run import MUTANTS

SAMPLE = random.Random(int(os.environ.get("GPUNET_MUTANTS", "268"))).sample(MUTANTS, 6)
QUICK = "plain/test_seed_examples::test_products"

EXAMPLE = """// i < 9
__global__ void k(int* a, int n) {
    const int i = at(threadIdx, n);
    if (i < n && a) return;
    __syncthreads();
    atomicAdd(a, n);
    a[0] = i + n;  // + 1
}
"""


EXAMPLE_OF_PYTHON = """def at(a, n):
    if a.ndim == n or n < 0:
        return a  # not n < 1
    return a - 1
"""


def mutant(file: str, old: str, new: str) -> Mutant:
    return Mutant("an example", file, old, new, "", (QUICK,))


@pytest.mark.parametrize("mutant", SAMPLE, ids=lambda mutant: f"{mutant.file}: {mutant.name}")
def test_a_mutant_is_caught_unless_it_is_equivalent(mutant: Mutant) -> None:
    outcome, shown = judge(mutant)
    assert outcome == ("equivalent" if mutant.equivalent else "caught"), shown


def test_every_mutant_changes_its_file_and_names_tests_that_exist() -> None:
    for one in MUTANTS:
        assert mutated(one) != (ROOT / one.file).read_text(encoding="utf-8")
        for test in one.tests:
            file, _, name = re.sub(r"\[.*", "", test).partition("::")
            text = (ROOT / "tests" / f"{file}.py").read_text(encoding="utf-8")
            assert f"def {name.rpartition('::')[2]}(" in text or not name, test
    assert set(Counter((one.file, one.name) for one in MUTANTS).values()) == {1}


@pytest.mark.parametrize(
    ("example", "outcome", "shown"),
    [
        (mutant("gpunet/ops/_matmul.py", "The matrix product and", "The product and"), "survived", QUICK),
        (mutant("gpunet/ops/_matmul.py", "import annotations", "import annotation s"), "broken", "SyntaxError"),
        (mutant("gpunet/ops/_matmul.py", "no such text", ""), "broken", "contains 'no such text' 0 times"),
    ],
    ids=["a change that nothing notices", "a change that is not valid Python", "a text that is not there"],
)
def test_a_mutant_that_proves_nothing_is_not_caught(example: Mutant, outcome: str, shown: str) -> None:
    found, message = judge(example)
    assert found == outcome
    assert shown in message


def test_a_mutant_that_is_said_to_be_equivalent_but_crashes_is_broken() -> None:
    crash = mutant("gpunet/ops/_matmul.py", "import annotations", "import annotations\n\nimport os; os.abort()")
    outcome, shown = judge(crash._replace(equivalent="nothing changes"))
    assert (outcome, "ended by signal 6" in shown) == ("broken", True), shown


CHILD = """import pathlib, subprocess, sys

def test_that_does_not_end():
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pathlib.Path("child").write_text(str(child.pid))
    child.wait()
"""


def test_tests_that_do_not_end_leave_no_process_behind(tmp_path) -> None:
    (tmp_path / "tests").mkdir()
    (tmp_path / "tests" / "test_endless.py").write_text(CHILD)
    with pytest.raises(subprocess.TimeoutExpired):
        run_tests(tmp_path, ["test_endless"], most_seconds=5)
    child = (tmp_path / "child").read_text()
    end = time.monotonic() + 10
    while ran := subprocess.run(["ps", "-o", "stat=", "-p", child], capture_output=True, text=True).stdout.strip():
        if ran.startswith("Z") or time.monotonic() > end:  # it has ended, and waits for its new parent to reap it
            break
        time.sleep(0.05)
    assert ran[:1] in ("", "Z")


def test_every_kind_of_mutant_is_derived_and_comments_are_left_alone(tmp_path) -> None:
    (tmp_path / "example.cu").write_text(EXAMPLE)
    derived = derive("example.cu", (QUICK,), tmp_path)
    assert [one.name for one in derived] == [
        "swapped arguments, line 3",
        "removed guard, line 4",
        "other bound, line 4",
        "other connective, line 4",
        "removed barrier, line 5",
        "no atomic, line 6",
        "swapped arguments, line 6",
        "off by one, line 7",
        "other sign, line 7",
    ]
    assert {one.name.partition(",")[0] for one in derived} == set(KINDS)
    texts = [mutated(one, tmp_path) for one in derived]
    assert EXAMPLE not in texts
    assert EXAMPLE.replace("i < n", "i <= n") in texts
    assert EXAMPLE.replace("atomicAdd(a, n)", "*(a) += n") in texts


def test_a_guard_of_python_is_removed_with_its_line_kept(tmp_path) -> None:
    (tmp_path / "example.py").write_text(EXAMPLE_OF_PYTHON)
    texts = {one.name: mutated(one, tmp_path) for one in derive("example.py", (QUICK,), tmp_path)}
    assert texts["removed guard, line 2"] == EXAMPLE_OF_PYTHON.replace("return a  # not n < 1", "pass")
    assert texts["other connective, line 2"] == EXAMPLE_OF_PYTHON.replace(" or ", " and ")
    assert texts["other sign, line 4"] == EXAMPLE_OF_PYTHON.replace("a - 1", "a + 1")
