"""What a plan reads of a record."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
from synthetic_records import cut, make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.records.io import read_outline, read_outlines, read_record, write_record
from recgauntlet.records.outline import RecordOutline, lacks_curves, lacks_high_tier, lacks_perplexities
from recgauntlet.records.schema import Gate

NAN = Gate(name="determinism", threat="", passed=False, value=math.nan, limit=0.0, explanation="scores are no numbers")


@pytest.mark.parametrize("ending", [".json", ".json.xz"])
def test_an_outline_says_what_the_record_says(ending: str, tmp_path: Path) -> None:
    record = cut(make_record(gates=(NAN,)), 50)
    path = tmp_path / f"one{ending}"
    write_record(record, path)
    found = read_outline(path)
    assert isinstance(found, RecordOutline)
    for name in set(RecordOutline.model_fields) - {"threats", "poisoning"}:
        assert getattr(found, name) == getattr(record, name), name
    assert [[one.tier for one in threat.tiers] for threat in found.threats] == [
        [one.tier for one in threat.tiers] for threat in record.threats
    ]
    assert not lacks_high_tier(found)
    assert lacks_curves(found) is lacks_curves(record)
    assert lacks_perplexities(found), "it has edits of texts, and nothing that measured them"


FAULTS: dict[str, Callable[[str], str]] = {
    "cut off": lambda text: text[: len(text) // 2],
    "cut off by a byte": lambda text: text.rstrip()[:-1],
    "empty": lambda text: "",
    "no object": lambda text: "[1, 2]",
    "no record": lambda text: '{"schema_version": 2}',
    "of another schema": lambda text: text.replace('"schema_version": 2', '"schema_version": 3'),
    "with another status": lambda text: text.replace('"status": "ok"', '"status": "good"'),
    "with another tier": lambda text: text.replace('"tier": "high"', '"tier": "higher"'),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_broken_file_is_told_as_by_whom_reads_all_of_it(fault: str, tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    write_record(make_record(), path)
    text = path.read_text(encoding="utf-8")
    assert FAULTS[fault](text) != text
    path.write_text(FAULTS[fault](text), encoding="utf-8")
    with pytest.raises(RecordError) as outline:
        read_outline(path)
    with pytest.raises(RecordError) as whole:
        read_record(path)
    assert str(outline.value) == str(whole.value)
    assert not [*read_outlines(tmp_path)]


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="cannot be read"):
        read_outline(tmp_path / "none.json")


def test_an_outline_leaves_the_digest_to_whom_reads_the_numbers(tmp_path: Path) -> None:
    path = tmp_path / "one.json"
    write_record(make_record(seed=0), path)
    path.write_text(path.read_text(encoding="utf-8").replace('"seed": 0', '"seed": 5'), encoding="utf-8")
    assert read_outline(path).status == "ok"
    with pytest.raises(RecordError, match="was changed after it was written"):
        read_record(path)
