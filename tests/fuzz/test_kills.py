"""A killed training loses nothing, and a folder has one run at a time. `kills.py` kills and starts more of them."""

import pytest
from kills import WIDTH, kill, race


@pytest.mark.parametrize("kind", WIDTH)
def test_a_killed_training_loses_nothing_that_it_saved_and_resumes_bit_for_bit(kind, tmp_path):
    assert kill(kind, "cpu", kills=3, seed=0, folder=tmp_path) > 0


def test_of_two_runs_on_one_folder_one_is_refused_and_the_other_is_whole(tmp_path):
    race("cpu", tmp_path)
