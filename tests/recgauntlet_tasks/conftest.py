from __future__ import annotations

from pathlib import Path

import pytest

from recgauntlet.core.task import SourceOptions


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """The user's directory of raw files, empty."""
    (tmp_path / "files").mkdir()
    return tmp_path / "files"


@pytest.fixture
def here(tmp_path: Path, files: Path, monkeypatch: pytest.MonkeyPatch) -> SourceOptions:
    """Offline, with an empty cache, the directory of raw files, and no shared copies above."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("recgauntlet_tasks.online_retail.SHARED", Path("no", "such", "copy.parquet"))
    return SourceOptions(files, tmp_path / "cache", offline=True)
