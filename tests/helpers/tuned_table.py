"""A table of `gpunet tune` in a folder of the test's own."""

import pytest

from gpunet.ops import tuned


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Where the table is, or would be."""
    path = tmp_path / "cache" / "tuned.json"
    monkeypatch.setattr(tuned, "table_path", lambda: path)
    tuned.winners.cache_clear()
    yield path
    tuned.winners.cache_clear()
