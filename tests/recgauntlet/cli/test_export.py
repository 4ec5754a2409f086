"""`recgauntlet export` from a results directory: the card is that of the row."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from command_line import Run
from command_line import call as call
from command_line import run as run

from recgauntlet.leaderboard.address import locate_rows
from recgauntlet.serving.export import ExportCard


@pytest.fixture
def mine(finished_cells: Path, tmp_path: Path) -> Path:
    shutil.copytree(finished_cells, tmp_path / "mine")
    return tmp_path / "mine"


def checkpoint(out: Path) -> Path:
    (found,) = (out / "checkpoints").rglob("*pgd-0*.safetensors")
    return found


def test_the_card_repeats_the_row_of_the_leaderboard(run: Run, mine: Path, tiny_card: Path, tmp_path: Path) -> None:
    said = run("export", checkpoint(mine), "--to", "onnx", "--out", "out", "--task", tiny_card, "--offline")
    card = ExportCard.model_validate_json((tmp_path / "out" / "card.json").read_text(encoding="utf-8"))
    (at,) = locate_rows(f"{mine}/tiny/nrms/pgd")
    row = card.model.row
    assert row is not None
    assert row.clean == at.row.clean
    assert {(one.threat, kept.tier): kept.robust for one in row.threats for kept in one.tiers} == {
        (cells.threat, cell.tier): cell.robust for cells in at.row.threats for cell in cells.cells
    }
    assert [flag.title for flag in row.flags] == [flag.title for flag in at.row.flags]
    assert "few" in " ".join(flag.title for flag in row.flags)
    assert row.in_short in said
    files = [path.read_bytes() for path in (tmp_path / "out").iterdir()]
    assert not any(str(tmp_path).encode() in content for content in files), "no path of this machine"


def test_an_address_is_a_checkpoint_too(run: Run, mine: Path, tiny_card: Path, tmp_path: Path) -> None:
    address = f"{mine}/tiny/nrms/pgd/0"
    run("export", address, "--to", "safetensors", "--out", "out", "--task", tiny_card, "--offline")
    assert (tmp_path / "out" / "model.safetensors").read_bytes() == checkpoint(mine).read_bytes()


def test_weights_without_a_record_are_not_exported(run: Run, mine: Path, tiny_card: Path, tmp_path: Path) -> None:
    alone = tmp_path / "alone.safetensors"
    shutil.copy(checkpoint(mine), alone)
    words = ("--to", "torch-export", "--out", "out", "--task", tiny_card, "--offline")
    assert "--results" in run("export", alone, *words, code=2)
    run("export", alone, "--results", mine, *words)
    shutil.rmtree(tmp_path / "out")
    for record in (mine / "tiny").rglob("*pgd-0*.json"):
        record.unlink()
    assert "no record of these weights" in run("export", alone, "--results", mine, *words, code=2)
    assert not (tmp_path / "out").exists()


def test_what_is_no_checkpoint_is_refused(run: Run, tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"\x08\0\0\0\0\0\0\0nonsense")
    assert "no readable checkpoint" in run("export", "x.safetensors", "--to", "onnx", "--out", "out", code=2)
    assert not (tmp_path / "out").exists()
