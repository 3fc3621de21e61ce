"""Files that were changed at random are read, or refused by one of gpunet's errors. `run.py` draws more of them."""

import pytest
from run import fuzz
from targets import TARGETS, Target

ROUNDS = 2000 // len(TARGETS) + 1


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name.replace(" ", "-"))
def test_a_changed_file_is_read_or_refused_never_anything_else(target: Target, tmp_path, capsys):
    counts = fuzz(target, range(ROUNDS), tmp_path)
    assert not counts["wrong"], capsys.readouterr().out
    assert counts["refused"]
