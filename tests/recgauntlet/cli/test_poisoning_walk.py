"""docs/extend/poisoning.md, step by step: the documented attack is registered, checked, made and trained on."""

from __future__ import annotations

import os
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import poison_task
import pytest
from command_line import Run

from recgauntlet.core import plugins

PAGE = Path(__file__).resolve().parents[3] / "docs" / "extend" / "poisoning.md"


def block(language: str) -> str:
    (found,) = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
    return str(found)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The attack of the page under the entry point of the page."""
    info = tmp_path / "site" / "newcomers-1.0.dist-info"
    info.mkdir(parents=True)
    (tmp_path / "site" / "newcomers.py").write_text(block("python"), encoding="utf-8")
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: newcomers\nVersion: 1.0\n", encoding="utf-8")
    points = tomllib.loads(block("toml"))["project"]["entry-points"]
    lines = [f"[{group}]\n" + "".join(f"{k} = {v}\n" for k, v in names.items()) for group, names in points.items()]
    (info / "entry_points.txt").write_text("\n".join(lines), encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path / "site")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"), prepend=os.pathsep)
    plugins._entries.cache_clear()
    yield
    plugins._entries.cache_clear()
    sys.modules.pop("newcomers", None)


@pytest.mark.usefixtures("installed")
def test_the_documented_attack_conforms_and_makes_tables(run: Run, tmp_path: Path) -> None:
    lines = [line for line in block("python").splitlines() if line.strip()]
    assert len(lines) <= 25
    card = poison_task.write_task(tmp_path / "task")
    assert "newcomers" in run("poison", "list")
    assert "newcomers medium: 6 accounts" in run("poison", "make", card, "--attacks", "newcomers")
    assert "newcomers" not in sys.modules
    assert "newcomers (poisoning) conforms" in run("check", "newcomers")
