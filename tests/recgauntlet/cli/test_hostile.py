"""What a stranger wrote into a record is shown on a terminal as text, and nothing in it is obeyed."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner
from synthetic_records import failed_gate, make_record

from recgauntlet.cli import cli
from recgauntlet.records.io import write_record

HOSTILE = "\x1b[2J\x1b]0;owned\x07[red]boo[/red]\u202egnp.exe"


@pytest.mark.parametrize("failure", ["", HOSTILE])
def test_show_obeys_nothing_in_a_record(tmp_path: Path, failure: str) -> None:
    gate = failed_gate().model_copy(update={"name": HOSTILE, "explanation": HOSTILE})
    record = make_record(model=HOSTILE, defense=HOSTILE, gates=(gate,), failure=failure)
    write_record(record, tmp_path / "record.json")
    shown = CliRunner().invoke(cli, ["show", str(tmp_path / "record.json")], catch_exceptions=False)
    assert shown.exit_code == 0
    assert not {"\x1b", "\x07", "\u202e"} & set(shown.output)
    assert "[red]boo[/red]" in shown.output
