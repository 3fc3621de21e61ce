"""`python -m benchmarks.peers`: only equal work is timed, and no framework stops the others."""

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
    """Return a function that makes a framework from the NumPy step with other members."""
    monkeypatch.syspath_prepend(tmp_path)

    def plant(name: str, members: str):
        head = "import os, time\nimport numpy as np\nfrom benchmarks.frameworks import numpy_step\n"
        source = head + "class Steps(numpy_step.Steps):\n" + textwrap.indent(members, "    ")
        (tmp_path / f"{name}.py").write_text(source, encoding="utf-8")
        return peers.Framework(name, "", "numpy")

    return plant


def measured(peers, frameworks, **options):
    """Time two rounds; return the rows by name."""
    return {row["name"]: row for row in peers.measure(peers.Problem.parse(NET), frameworks, rounds=2, **options)}


def command(*arguments):
    line = [sys.executable, "-m", "benchmarks.peers", "--nets", NET, "--rounds", "2", *map(str, arguments)]
    return subprocess.run(line, cwd=CHECKOUT, capture_output=True, text=True, encoding="utf-8")


def test_the_command_times_gpunet_and_numpy_and_saves_the_results(tmp_path):
    done = command("--frameworks", "gpunet", "gpunet-fit", "numpy", "--out", tmp_path / "peers.json")
    assert done.returncode == 0, done.stderr
    report = json.loads((tmp_path / "peers.json").read_text(encoding="utf-8"))
    rows = {row["name"]: row for row in report["nets"][NET]}
    assert [row["status"] for row in rows.values()] == ["ok"] * 3
    assert all(len(row["cores"]) == 2 and 0 < min(row["cores"]) <= max(row["cores"]) < 1.5 for row in rows.values())
    assert rows["gpunet-fit"]["steps_a_round"] % 64 == 0  # whole epochs
    assert all(len(row["seconds"]) == 2 and min(row["seconds"]) > 0 for row in rows.values())
    assert rows["gpunet"]["ratio"] == [1, 1, 1]
    first, second = (rows["numpy"]["seconds"][i] / rows["gpunet"]["seconds"][i] for i in range(2))
    assert rows["numpy"]["ratio"][1] == pytest.approx((first + second) / 2)
    assert report["environment"]["versions"]["numpy"] == np.__version__
    assert report["environment"]["threads"] == 1
    assert report["command"] == (
        f"python -m benchmarks.peers --nets {NET} --frameworks gpunet gpunet-fit numpy --rounds 2"
    )
    assert "One thread, all processes pinned to one core; interleaved rounds" in done.stdout
    assert [path.name for path in tmp_path.iterdir()] == ["peers.json"]
    assert all(text in done.stdout for text in (NET, *rows))


def test_a_framework_that_is_not_installed_has_a_row_that_says_so(peers):
    missing = peers.Framework("benchmarks.frameworks.numpy_step", "", "no_such_framework")
    rows = measured(peers, {"missing": missing, "numpy": peers.FRAMEWORKS["numpy"]})
    assert rows["missing"]["status"] == "not installed"
    assert rows["numpy"]["status"] == "ok"
    assert "not installed" in peers.table(peers.Problem.parse(NET), list(rows.values()))


def test_on_a_gpu_frameworks_prepare_concurrently_if_each_has_a_core(peers, planted, monkeypatch):
    began = []
    monkeypatch.setattr(
        peers, "prepare", lambda row, worker, device: began.append(len(started)) or row.update(status="-")
    )
    started = []
    worker = peers.Worker
    monkeypatch.setattr(
        peers, "Worker", lambda *given: started.append(given[4]) or worker(*given[:4], None, *given[5:])
    )
    monkeypatch.setattr(peers.os, "sched_getaffinity", lambda process: range(4), raising=False)
    measured(peers, {name: planted(name, "pass") for name in ("first_step", "second_step")}, device="cuda")
    assert (began, started) == ([2, 2], [3, 2])
    measured(peers, {name: planted(name, "pass") for name in ("first_step", "second_step")}, device="cpu")
    assert (began[2:], started[2:]) == ([3, 4], [3, 3])


def test_with_several_threads_one_process_at_a_time_runs_all_its_rounds(peers, monkeypatch):
    alive, done = [], []

    class Worker(peers.Worker):
        def __init__(self, *given):
            assert alive == []
            assert given[4] is None  # not pinned
            assert given[6] == peers.SEQUENTIAL
            alive.append(self)
            super().__init__(*given[:6], peers.Rounds(0.001, 3))

        def stop(self):
            super().stop()
            assert not self.process.is_alive()
            alive.remove(self)

    monkeypatch.setattr(peers, "Worker", Worker)
    time_round = peers.time_round
    monkeypatch.setattr(peers, "time_round", lambda row, worker: done.append(row["name"]) or time_round(row, worker))
    rows = measured(peers, {name: peers.FRAMEWORKS[name] for name in ("gpunet-numpy", "gpunet", "numpy")}, threads=2)
    assert done == ["gpunet-numpy"] * 2 + ["gpunet"] * 2 + ["numpy"] * 2
    median = rows["gpunet"]["step"][1]
    assert rows["numpy"]["ratio"] == [value / median for value in rows["numpy"]["step"]]


def test_each_worker_gets_the_number_of_threads(peers):
    for threads in (1, 2):
        variables = peers.variables(threads)
        assert {variables[name] for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "GPUNET_THREADS")} == {
            str(threads)
        }
        assert variables["XLA_FLAGS"].endswith(str(threads > 1).lower())
    assert "ratios to gpunet's median" in peers.protocol(2)


def test_a_round_is_whole_epochs_of_at_least_the_minimum_time_after_warm_up(peers):
    from benchmarks.frameworks.worker import Rounds, choose_round

    class Steps:
        epoch, done = 6, []

        def seconds(self, order):
            self.done.append(len(order))
            return 0.02 * len(order)

    assert len(choose_round(Steps(), Rounds(min_seconds=0.5, warmups=3))) == 42  # at least 0.75 s, in whole epochs
    assert Steps.done == [6] * 4 + [42] * 4


@pytest.mark.parametrize(
    ("ratio", "said"),
    [
        ([1.5, 1.52, 1.55], "1.52x slower (1.50 .. 1.55)"),
        ([0.4, 0.5, 0.8], "2.00x faster (1.25 .. 2.50)"),
        ([0.98, 1.001, 1.02], "same speed (0.98 .. 1.02)"),
    ],
)
def test_a_ratio_is_printed_as_slower_or_faster(peers, ratio, said):
    assert peers.versus(ratio) == said


def test_epochs_of_equal_work_are_compared(peers):
    rows = [
        {"name": name, "status": "ok", "note": "", "seconds": [seconds] * 3, "cores": [1.0], "steps_a_round": 64}
        for name, seconds in (("gpunet", 1e-5), ("gpunet-fit", 2e-5), ("jax-scan", 3e-5))
    ]
    for row in rows:
        peers.summarise(row, rows, paired=True)
    text = peers.table(peers.Problem.parse(NET), rows)
    assert "jax-scan vs gpunet-fit, equal work: 1.50x slower (1.50 .. 1.50)" in text
    assert "3.00x slower (3.00 .. 3.00)" in text


def test_an_epoch_has_64_steps_or_fewer_with_large_batches(peers):
    steps = {text: peers.Problem.parse(text).epoch for text in peers.NETS}
    assert list(steps.values()) == [64, 41, 20, 8]
    problem = peers.Problem.parse(NET)
    X, y = problem.data()
    assert (len(X), len(y)) == (256, 256)
    for i, (own_X, own_y) in enumerate(problem.batches()):
        np.testing.assert_array_equal(X[4 * i : 4 * i + 4], own_X)
        np.testing.assert_array_equal(y[4 * i : 4 * i + 4], own_y)


@pytest.mark.parametrize("framework", ["gpunet-fit", "jax-scan"])
def test_an_epoch_reads_every_row_of_its_data_once(peers, framework):
    pytest.importorskip(peers.FRAMEWORKS[framework].package)
    from importlib import import_module

    problem = peers.Problem.parse(NET)
    row = peers.FRAMEWORKS[framework]
    steps = import_module(row.module).Steps(problem, row.mode, "cpu")
    twice = import_module(row.module).Steps(problem, row.mode, "cpu")
    assert steps.seconds([0] * 64) > 0
    assert twice.seconds([0] * 128) > 0
    if framework == "gpunet-fit":
        assert (steps.trainer.epoch, twice.trainer.epoch) == (2, 3)
        assert steps.trainer.optimizer.counter.value == 128
    else:
        assert (float(steps.state[0]), float(twice.state[0])) == (128, 192)


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
def test_a_framework_with_a_wrong_step_is_not_timed(peers, planted, members):
    row = measured(peers, {"wrong": planted("wrong_step", members)})["wrong"]
    assert row["status"].startswith("differs")
    assert row["seconds"] == []
    assert "ratio" not in row


LATER = """
last, calls = None, 0
def run(self, order):  # an order runs twice while the round is chosen, then once in every round
    self.last, self.calls = order, self.calls + 1 if order is self.last else 1
    return os._exit(4) if self.calls == 4 else super().run(order)
"""


def test_workers_that_hang_crash_or_raise_do_not_affect_others(peers, planted):
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
        (["--nets", "784"], "'784' is not a net"),
        (["--rounds", "0"], "is not an integer >= 1"),
        (["--frameworks", "keras"], "invalid choice: 'keras'"),
        (["--threads", "0"], "is not an integer >= 1"),
        (["--threads", "1000"], "--threads: only "),
        (["--threads", "2", "--device", "cuda"], "--threads: only the CPU supports more than one"),
        (["--out", "no/such/folder/peers.json"], "the folder no/such/folder is missing or not writable"),
    ],
)
def test_invalid_arguments_are_reported_before_anything_runs(peers, capsys, arguments, said):
    with pytest.raises(SystemExit) as ended:
        peers.main(arguments)
    assert ended.value.code == 2
    assert said in capsys.readouterr().err
