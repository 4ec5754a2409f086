"""The script that searches trained rows exhaustively, on the weights of a tiny task."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from scripts import ROOT, loaded
from tiny_task import make_spec

from recgauntlet.runner.trained import Setup


def test_every_row_has_its_gap_once_and_broken_weights_stop_no_other(
    tiny_card: Path,
    tiny_cache: Path,
    finished_cells: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    script = loaded("tools/exhaustive_rows.py")
    monkeypatch.setattr(script, "FILE", tmp_path / "rows.json")
    monkeypatch.setattr(script, "cache_root", lambda: tiny_cache)
    spec = make_spec(tiny_card, finished_cells, tiny_cache, "pgd")
    # the task is known by its card's path alone
    monkeypatch.setattr(script, "Setup", lambda sources, device: Setup(sources, task=str(tiny_card), device=device))
    broken = tmp_path / "broken.safetensors"
    broken.write_bytes(b"no weights")
    for _ in range(2):
        monkeypatch.setattr("sys.argv", ["exhaustive_rows", str(broken), str(spec.checkpoint_path), "--examples", "6"])
        assert script.main() == 2, "one could not be read"
    rows = json.loads((tmp_path / "rows.json").read_text())
    assert {(row["defense"], row["edits"], row["examples"]) for row in rows} == {("pgd", 1, 6)}
    assert len({row["threat"] for row in rows}) == len(rows) > 0
    for row in rows:
        assert row["together"] <= row["suite"] <= row["clean"]
        assert row["weights"]
    assert str(broken) in capsys.readouterr().err
