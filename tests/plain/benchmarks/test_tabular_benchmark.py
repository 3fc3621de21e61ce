"""The result tables of `benchmarks.tabular`."""

from pathlib import Path

import pytest


@pytest.fixture
def results(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[3])
    from benchmarks.tabular import results

    return results


def scores(results, method, *losses):
    """Return the scores of a method on two splits of two problems."""
    places = [("wine", 0), ("wine", 1), ("ames", 0), ("ames", 1)]
    return [results.Score(*place, method, loss, 1 - loss, 2.0) for place, loss in zip(places, losses, strict=True)]


def test_averages_are_over_problems_with_the_deviation_over_splits(results):
    ours, theirs = scores(results, "ours", 0.1, 0.1, 0.2, 0.6), scores(results, "theirs", 0.3, 0.3, 0.4, 0.4)
    lines = [*results.tables([*ours, *theirs, *scores(results, "same as ours", 0.1, 0.1, 0.2, 0.6)])]
    assert lines[2] == "| ours | 1.750 ± 0.250 | 0.750 ± 0.250 | 0.750 ± 0.100 | 2.00 |"
    assert lines[3] == "| theirs | 2.500 ± 0.500 | 0.250 ± 0.250 | 0.650 ± 0.000 | 2.00 |"
    assert lines[4] == lines[2].replace("ours", "same as ours")
    assert "| wine | 0.900 ± 0.000 | 0.700 ± 0.000 | 0.900 ± 0.000 |" in lines
    assert "| ames | 0.600 ± 0.200 | 0.600 ± 0.000 | 0.600 ± 0.200 |" in lines


def test_saved_scores_are_read_back(results, tmp_path):
    path = tmp_path / "scores.jsonl"
    assert results.read(path) == {}
    kept = scores(results, "ours", 0.1, 0.2, 0.3, 0.4)
    for score in kept:
        results.append(path, score)
    assert results.read(path)["wine", 0, "ours"] == kept[0]
    assert [*results.read(path).values()] == kept
