"""A table of `gpunet tune` in a temporary folder."""

import pytest

from gpunet.ops import tuned


@pytest.fixture
def table(tmp_path, monkeypatch):
    """Yield the path of the table, which does not exist yet."""
    path = tmp_path / "cache" / "tuned.json"
    monkeypatch.setattr(tuned, "table_path", lambda: path)
    tuned.winners.cache_clear()
    yield path
    tuned.winners.cache_clear()
