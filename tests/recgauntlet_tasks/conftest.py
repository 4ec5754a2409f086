from __future__ import annotations

from pathlib import Path

import pytest

from recgauntlet.core.task import SourceOptions


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SourceOptions:
    """Offline, with an empty cache, a directory of the user's, and no shared copies above."""
    (tmp_path / "files").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recgauntlet_tasks.online_retail.SHARED", Path("no", "such", "copy.parquet"))
    return SourceOptions(tmp_path / "files", tmp_path / "cache", offline=True)
