"""The script that measures what models under defenses keep of attacks on training data, on a tiny task."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType
from typing import Any

import poison_task
import pytest
from scripts import loaded


@pytest.fixture
def script(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> ModuleType:
    module = loaded("tools/poisoning_matrix.py")
    monkeypatch.setattr(module, "FILE", tmp_path / "poisoning.json")
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tmp_path / "cache"))
    module.FILE.write_text("[]", encoding="utf-8")
    return module


def test_rows_are_measured_and_replaced_one_by_one(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    poison_task.write_active_task(tmp_path)
    command = [str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "out"), "--models", "most-popular"]

    def rows() -> list[dict[str, Any]]:
        return list(json.loads(script.FILE.read_text(encoding="utf-8")))

    assert script.main([*command, "--defenses", "suspicious-users,none,apr"]) == 0
    found = rows()
    assert [row["defense"] for row in found] == ["standard", "apr", "suspicious-users"]
    plain = found[0]
    assert (plain["task"], plain["threat"], plain["model"], plain["seeds"]) == ("tiny", "brushing", "most-popular", [0])
    assert plain["pairs_robust"][0] < plain["pairs_clean"][0]
    assert plain["pairs_clean"][1] <= plain["pairs_clean"][0] <= plain["pairs_clean"][2]
    assert plain["win_worst"] > plain["win_clean"]
    assert plain["worst"] in plain["attacks"]
    assert plain["filtered"] == []
    monkeypatch.setattr("recgauntlet.runner.poison_look.train_cell", None)
    assert script.main([*command, "--defenses", "none"]) == 0  # from the journal
    assert rows()[0] == plain
    assert len(rows()) == 3
    assert script.main([*command, "--defenses", "not-there,none"]) == 1
    assert "there is no defense named 'not-there'" in capsys.readouterr().err
    assert rows()[0] == plain
