"""`python -m benchmarks.peers`: equal work or no figure, and no framework stops the others."""

import json
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest

CHECKOUT = Path(__file__).parents[3]
NET = "8-8-3/4"


@pytest.fixture
def peers(monkeypatch):
    monkeypatch.syspath_prepend(CHECKOUT)
    from benchmarks import peers

    return peers


@pytest.fixture
def planted(peers, monkeypatch, tmp_path):
    """Return a function that gives a framework: the NumPy step with other members."""
    monkeypatch.syspath_prepend(tmp_path)

    def plant(name: str, members: str):
        head = "import os, time\nimport numpy as np\nfrom benchmarks.frameworks import numpy_step\n"
        source = head + "class Steps(numpy_step.Steps):\n" + textwrap.indent(members, "    ")
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return peers.Framework(name, "", "numpy")

    return plant


def measured(peers, frameworks, **options):
    """Return the rows of two rounds by name."""
    return {row["name"]: row for row in peers.measure(peers.Problem.parse(NET), frameworks, rounds=2, **options)}


def command(*arguments):
    line = [sys.executable, "-m", "benchmarks.peers", "--nets", NET, "--rounds", "2", *map(str, arguments)]
    return subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, encoding="utf-8")


def test_the_command_times_gpunet_and_numpy_and_keeps_the_figures(tmp_path):
    done = command("--frameworks", "gpunet", "gpunet-fit", "numpy", "--out", tmp_path / "peers.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in report["nets"][NET]}
    assert [row["status"] for row in rows.values()] == ["ok"] * 3
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows.values())
    assert rows["gpunet"]["ratio"] == [1, 1, 1]
    first, second = (rows["numpy"]["seconds"][i] / rows["gpunet"]["seconds"][i] for i in range(2))
    assert rows["numpy"]["ratio"][1] == pytest.approx((first + second) / 2)
    assert report["environment"]["versions"]["numpy"] == np.__version__
    assert [path.name for path in tmp_path.iterdir()] == ["peers.json"]
    assert all(text in done.stdout for text in (NET, *rows))


def test_a_framework_that_is_not_installed_is_a_row_that_says_so(peers):
    missing = peers.Framework("benchmarks.frameworks.numpy_step", "", "no_such_framework")
    rows = measured(peers, {"missing": missing, "numpy": peers.FRAMEWORKS["numpy"]})
    assert rows["missing"]["status"] == "not installed"
    assert rows["numpy"]["status"] == "ok"
    assert "not installed" in peers.table(peers.Problem.parse(NET), list(rows.values()))


def test_on_a_gpu_frameworks_get_ready_side_by_side_where_there_is_a_core_for_each(peers, planted, monkeypatch):
    began = []
    monkeypatch.setattr(
        peers, "prepare", lambda row, worker, device: began.append(len(started)) or row.update(status="-")
    )
    started = []
    worker = peers.Worker
    monkeypatch.setattr(peers, "Worker", lambda *given: started.append(given[4]) or worker(*given[:4], None, given[5]))
    monkeypatch.setattr(peers.os, "sched_getaffinity", lambda process: range(4), raising=False)
    measured(peers, {name: planted(name, "pass") for name in ("first_step", "second_step")}, device="cuda")
    assert (began, started) == ([2, 2], [3, 2])
    measured(peers, {name: planted(name, "pass") for name in ("first_step", "second_step")}, device="cpu")
    assert (began[2:], started[2:]) == ([3, 4], [3, 3])


@pytest.mark.parametrize(
    "members",
    [
        "lr = 1.1e-3",
        "def read(self, loss): return 1.001 * float(loss)",
        "def read(self, loss): return float('nan')",
        "def parameters(self): return [*super().parameters()[:-1], np.zeros(3)]",
        "def parameters(self): return [a + float('nan') for a in super().parameters()]",
    ],
    ids=["learning rate", "loss", "NaN loss", "one bias", "NaN weights"],
)
def test_a_framework_whose_step_is_wrong_differs_and_is_not_timed(peers, planted, members):
    row = measured(peers, {"wrong": planted("wrong_step", members)})["wrong"]
    assert row["status"].startswith("differs")
    assert row["seconds"] == []
    assert "ratio" not in row


LATER = """
last, calls = None, 0
def run(self, order):  # a round's order is run twice to settle on it, then once in every round
    self.last, self.calls = order, self.calls + 1 if order is self.last else 1
    return os._exit(4) if self.calls == 4 else super().run(order)
"""


def test_workers_that_hang_crash_or_raise_end_their_rows_alone(peers, planted):
    frameworks = {
        "hangs": planted("hanging_step", "def run(self, order): time.sleep(600)"),
        "crashes": planted("crashing_step", "def run(self, order): os._exit(3)"),
        "raises": planted("raising_step", "def run(self, order): raise ValueError('no such thing')"),
        "crashes later": planted("later_step", LATER),
        "numpy": peers.FRAMEWORKS["numpy"],
    }
    rows = measured(peers, frameworks, patience=5)
    assert rows["hangs"]["status"] == "hangs: no answer for 5 s"
    assert rows["crashes"]["status"] == "crashed: exit code 3"
    assert rows["raises"]["status"] == "failed: ValueError: no such thing"
    assert rows["crashes later"]["status"] == "crashed: exit code 4"
    assert len(rows["crashes later"]["seconds"]) == 1
    assert rows["numpy"]["status"] == "ok"
    assert len(rows["numpy"]["seconds"]) == 2


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--nets", "784"], "'784' is no net"),
        (["--rounds", "0"], "no whole number of at least 1"),
        (["--frameworks", "keras"], "invalid choice: 'keras'"),
        (["--out", "no/such/folder/peers.json"], "no file can be written in the folder"),
    ],
)
def test_bad_arguments_are_named_before_anything_runs(peers, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        peers.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
