"""docs/extend/task.md: its commands run the example of own data, and it has every field of a card."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from recgauntlet.core import card as cards
from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TaskCard, TextThreat
from recgauntlet.records.io import read_records

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "extend" / "task.md").read_text(encoding="utf-8")
EXAMPLE = ROOT / "examples" / "own-data"
BLOCKS = [tomllib.loads(block) for block in re.findall(r"^```toml\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)]


def walk(lines: list[str], tmp_path: Path) -> str:
    """What the commands print, run in order in a directory that holds the example alone."""
    shutil.copytree(EXAMPLE, tmp_path / "examples" / "own-data", dirs_exist_ok=True)
    script = tmp_path / "recgauntlet"
    script.write_text(f"#!{sys.executable}\nfrom recgauntlet.cli import main\nmain()\n")
    script.chmod(0o755)
    path = f"{tmp_path}{os.pathsep}{os.environ['PATH']}"
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", "\n".join(lines)],
        cwd=tmp_path,
        env=os.environ | {"PATH": path, "RECGAUNTLET_CACHE": str(tmp_path / "cache"), "COLUMNS": "160"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout


def commands() -> list[str]:
    (block,) = re.findall(r"^```sh\n(.*?)^```", PAGE, flags=re.DOTALL | re.MULTILINE)
    lines: list[str] = block.splitlines()
    assert {line.split()[1] for line in lines} == {"data", "check", "run", "table", "site"}
    return lines


def test_the_example_is_fetched_and_conforms(tmp_path: Path) -> None:
    printed = walk(commands()[:2], tmp_path)
    assert "80 items, 60 users" in printed
    assert re.search(r"conforms: \d+ passed", printed)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_all_commands_of_the_page_run_the_example(tmp_path: Path) -> None:
    assert "bookshop (version 1, demo track)" in walk(commands(), tmp_path)
    for out, track in (("trial", "demo"), ("mine", "standard")):
        found = read_records(tmp_path / "results" / out)
        assert found.broken == ()
        assert [(record.task.track, record.defense.name) for _, record in found.records] == [
            (track, "pgd"),
            (track, "standard"),
        ]
    page = (tmp_path / "results" / "mine-site" / "tasks" / "bookshop-standard.html").read_text(encoding="utf-8")
    assert "Given the books a reader borrowed before, will they borrow this one?" in page


def fields(model: type[BaseModel]) -> set[str]:
    return set(model.model_fields)


@pytest.mark.parametrize("name", ["TaskCard", "TrackCard", "Source", "Split", "Negatives", "TableCard"])
def test_the_page_explains_every_field_of_a_card(name: str) -> None:
    missing = {field for field in fields(getattr(cards, name)) if not re.search(rf"`(tracks\.)?{field}`", PAGE)}
    assert missing <= ({"threats", "tracks"} if name == "TaskCard" else set())


def test_the_page_shows_every_field_of_every_threat_and_the_card_takes_them() -> None:
    threats: list[dict[str, Any]] = [threat for block in BLOCKS for threat in block.get("threats", ())]
    content = tomllib.loads((EXAMPLE / "bookshop.toml").read_text(encoding="utf-8"))
    read = TaskCard.model_validate(content | {"threats": threats}).threats
    for kind in (HistoryThreat, TextThreat, EmbeddingThreat):
        shown = {field for threat in read if isinstance(threat, kind) for field in threat.model_fields_set}
        assert shown == fields(kind)
