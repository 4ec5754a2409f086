"""An unopened record stands wherever a whole one does."""

from __future__ import annotations

import copy
import json
import pickle
from pathlib import Path

import pytest
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard import unopened as module
from recgauntlet.leaderboard.outline import Outline
from recgauntlet.leaderboard.unopened import LEFT_OUT, Origin, Shelf, UnopenedRecord, outline_of
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import write_record
from recgauntlet.records.places import Place
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.validate import check_record


def unopened(path: Path, shelf: Shelf | None = None) -> UnopenedRecord:
    place = Place(path)
    whole = place.read()
    assert isinstance(whole, RunRecord)
    words = UnopenedRecord.model_construct(**{name: value for name, value in whole if name not in LEFT_OUT})
    return words.lying_at(Origin(place, place.sum(place.content())), Outline.of(whole), shelf or Shelf())


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write_record(make_record(further=True, certified=True), tmp_path / "one.json")
    return tmp_path / "one.json"


def test_it_has_every_field_of_the_whole_record_and_is_equal_to_it(path: Path) -> None:
    record, whole = unopened(path), make_record(further=True, certified=True)
    for name in RunRecord.model_fields:
        assert getattr(record, name) == getattr(whole, name)
    assert record == whole
    assert whole == record
    assert record == unopened(path)
    assert record != make_record(seed=1)
    assert record.proved("stuffing", "low") is not None
    with pytest.raises(AttributeError, match="nothing"):
        _ = record.nothing  # type: ignore[attr-defined]


def test_all_that_is_done_with_a_record_is_done_with_the_whole(path: Path) -> None:
    record, whole = unopened(path), make_record(further=True, certified=True)
    assert to_bytes(record) == to_bytes(whole)
    assert json.loads(record.model_dump_json()) == json.loads(whole.model_dump_json())
    assert record.sealed() == whole
    assert record.model_copy(update={"seed": 5}) == whole.model_copy(update={"seed": 5})
    assert dict(record) == dict(whole)
    check_record(record)
    for again in (pickle.loads(pickle.dumps(record)), copy.deepcopy(record), copy.copy(record)):  # noqa: S301
        assert again == whole
    assert type(pickle.loads(pickle.dumps(record))) is RunRecord  # noqa: S301


def test_its_words_and_outline_need_no_file(path: Path) -> None:
    record, whole = unopened(path), make_record(further=True, certified=True)
    path.unlink()
    for name in set(RunRecord.model_fields) - LEFT_OUT:
        assert getattr(record, name) == getattr(whole, name)
    assert outline_of(record) == outline_of(whole)
    with pytest.raises(RecordError, match="cannot be read"):
        _ = record.threats


def test_it_is_read_once_for_all_its_fields(path: Path) -> None:
    record = unopened(path)
    assert record.clean is not None
    path.unlink()
    assert record.threats
    assert record.gates == ()


def test_a_shelf_keeps_a_few_records_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_OPEN", 2)
    shelf, records = Shelf(), []
    for seed in range(3):
        write_record(make_record(seed=seed), tmp_path / f"{seed}.json")
        records.append(unopened(tmp_path / f"{seed}.json", shelf))
    assert records[0].threats
    assert records[1].threats
    assert records[0].threats  # asked for last
    assert records[2].threats
    for seed in range(3):
        (tmp_path / f"{seed}.json").unlink()
    assert records[0].clean is not None
    with pytest.raises(RecordError):
        _ = records[1].clean
