"""A killed training loses nothing, and a folder has one run at a time. `kills.py` kills and starts more of them."""

import kills
import pytest
from kills import WIDTH, kill, race

CANNOT_RESUME = """
import runpy, sys
from pathlib import Path

if Path(sys.argv[-1]).exists():
    sys.exit(1)
runpy.run_path({kills!r}, run_name="__main__")
"""


@pytest.mark.parametrize("kind", WIDTH)
def test_a_killed_training_loses_nothing_that_it_saved_and_resumes_bit_for_bit(kind, tmp_path):
    assert kill(kind, "cpu", kills=3, seed=0, folder=tmp_path) > 0


def test_a_training_that_cannot_be_resumed_is_noticed(tmp_path, monkeypatch):
    (tmp_path / "kills.py").write_text(CANNOT_RESUME.format(kills=kills.__file__))
    monkeypatch.setattr(kills, "__file__", str(tmp_path / "kills.py"))
    with pytest.raises(AssertionError, match="kill 1: the training ended by itself"):
        kill("training", "cpu", kills=2, seed=0, folder=tmp_path)


def test_of_two_runs_on_one_folder_one_is_refused_and_the_other_is_whole(tmp_path):
    race("cpu", tmp_path)
