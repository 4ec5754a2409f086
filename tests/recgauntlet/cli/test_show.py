"""`recgauntlet show` prints what a record says, whoever wrote it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from hostile import HOSTILE
from synthetic_records import make_record

from recgauntlet.cli import cli
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import Gate

MARKUP = "\x1b[2J\x1b]0;owned\x07[red]boo[/red]\u202egnp.exe"


@pytest.mark.parametrize("name", [*HOSTILE[:14], MARKUP])
@pytest.mark.parametrize("failure", [False, True])
def test_names_move_nothing_on_a_terminal(name: str, failure: bool, tmp_path: Path) -> None:
    gate = Gate(name=name, threat=name, passed=False, value=1, limit=0, explanation=name)
    record = make_record(model=name, defense=name, gates=(gate,), failure=name if failure else "")
    threats = tuple(threat.model_copy(update={"id": name}) for threat in record.threats[:1])
    write_record(record.model_copy(update={"threats": threats}), tmp_path / "r.json")
    result = CliRunner().invoke(cli, ["show", str(tmp_path / "r.json")], catch_exceptions=False)
    assert result.exit_code == 0
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]", result.output)
    assert name != MARKUP or "[red]boo[/red]" in result.output


def test_training_of_a_small_model_is_not_shown_as_nothing(tmp_path: Path) -> None:
    record = make_record(defense="pgd", ratio=2.67)
    assert record.cost is not None
    small = record.cost.model_copy(update={"flops": 23_400_000, "flops_ratio": 2.67, "peak_memory_bytes": 81_920})
    write_record(record.model_copy(update={"cost": small}), tmp_path / "r.json")
    output = CliRunner().invoke(cli, ["show", str(tmp_path / "r.json")], catch_exceptions=False).output
    assert "23.4 MFLOP (2.67 x)" in output
    assert "peak memory 81.9 kB" in output
    assert not re.search(r"\b0 \w*(FLOP|B)\b", output)
