"""How many threads a native program may use: what was asked for, and at most what the process may use."""

import sys

import pytest

from gpunet.errors import ArgumentError
from gpunet.native import threads


@pytest.fixture(autouse=True)
def _eight_processors(monkeypatch, tmp_path):
    """A machine of eight processors, BLAS with four threads, and an environment that says nothing."""
    for name in ("GPUNET_THREADS", "OMP_NUM_THREADS", *threads.LOCAL_RANKS):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(sys, "platform", "linux")
    monkeypatch.setattr("os.sched_getaffinity", lambda process: set(range(8)), raising=False)
    monkeypatch.setattr(threads, "CGROUP_LIMITS", ())
    monkeypatch.setattr(threads, "_blas_threads", lambda: 4)


def count(monkeypatch, **environment):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    return threads.thread_count.__wrapped__()


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({}, 4),
        ({"OMP_NUM_THREADS": "3"}, 3),
        ({"OMP_NUM_THREADS": "6,2"}, 6),
        ({"OMP_NUM_THREADS": ""}, 4),
        ({"GPUNET_THREADS": "5", "OMP_NUM_THREADS": "3"}, 5),
        ({"GPUNET_THREADS": "100"}, 8),
        ({"MPI_LOCALNRANKS": "4"}, 2),
        ({"OMPI_COMM_WORLD_LOCAL_SIZE": "3", "GPUNET_THREADS": "8"}, 2),
        ({"MPI_LOCALNRANKS": "20"}, 1),
    ],
)
def test_what_was_asked_for_comes_first_and_the_ranks_share_the_processors(environment, expected, monkeypatch):
    assert count(monkeypatch, **environment) == expected


@pytest.mark.parametrize("given", ["0", "-1", "two", "1.5", ""])
def test_a_number_of_threads_that_is_none_is_refused(given, monkeypatch):
    with pytest.raises(ArgumentError, match="GPUNET_THREADS"):
        count(monkeypatch, GPUNET_THREADS=given)


def test_without_a_blas_setting_all_processors_are_used(monkeypatch):
    monkeypatch.setattr(threads, "_blas_threads", lambda: 0)
    assert count(monkeypatch) == 8


@pytest.mark.parametrize(
    ("limits", "expected"),
    [
        (["200000 100000"], 2),
        (["max 100000"], 8),
        (["50000 100000"], 1),
        (["350000", "100000"], 3),
        (["-1", "100000"], 8),
        ([None], 8),
        (["nonsense"], 8),
    ],
)
def test_a_containers_quota_is_the_number_of_processors(limits, expected, monkeypatch, tmp_path):
    files = []
    for number, text in enumerate(limits):
        files.append(tmp_path / str(number))
        if text is not None:
            files[-1].write_text(text + "\n")
    monkeypatch.setattr(threads, "CGROUP_LIMITS", (tuple(map(str, files)),))
    assert threads.available_cores() == expected
