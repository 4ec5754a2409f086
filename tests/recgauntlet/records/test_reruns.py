"""Cells that were run again: the file beside a release counts where lot and numbers fit the records."""

from __future__ import annotations

import json
import zlib
from base64 import b64decode, b64encode
from pathlib import Path

import numpy as np
import pytest
from made_releases import make_release, small
from synthetic_popular import with_popular
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.release.verify import verify_release
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.digest import digest_of
from recgauntlet.records.io import read_records
from recgauntlet.records.reruns import Rerun, add_rerun, confirmed, drawn, numbers_of, records_within, reruns_path
from recgauntlet.records.schema import RunRecord

LOT = 7


@pytest.fixture
def release(tmp_path: Path) -> Path:
    return make_release(tmp_path, records=small())


def drawn_record(release: Path, lot: int = LOT) -> RunRecord:
    records = records_within(release, read_records(release))
    return records[drawn(records, lot)]


def entry(record: RunRecord, lot: int = LOT, **changes: object) -> Rerun:
    made = {"finished": "2026-11-30T03:00:00Z", "recgauntlet": "0.1.0", "commit": "abc", "device": "CPU, 1 thread"}
    return Rerun(record=record.digest, lot=lot, numbers=numbers_of(record), **made).model_copy(update=changes)


def test_a_cell_with_equal_numbers_counts(release: Path) -> None:
    results = read_records(release)
    assert confirmed(release, results) == {}
    record = drawn_record(release)
    path = add_rerun(release, entry(record))
    assert path == release.with_name("2026.1.reruns.json") == reruns_path(release)
    assert set(confirmed(release, results)) == {record.digest}
    other = next(lot for lot in range(100) if drawn_record(release, lot).digest != record.digest)
    add_rerun(release, entry(drawn_record(release, other), other))
    assert len(confirmed(release, results)) == 2
    assert verify_release(release) == ()
    # a directory above reads it as no broken record
    assert not read_records(release.parent).broken


def test_other_numbers_and_findings_do_not_count(release: Path) -> None:
    record = drawn_record(release)
    add_rerun(release, entry(record, numbers="0" * 64))
    add_rerun(release, entry(record, findings=("clean.scores: differ",)))
    assert confirmed(release, read_records(release)) == {}


def test_a_record_that_is_not_there_or_that_the_lot_does_not_fall_on_is_refused(release: Path) -> None:
    results = read_records(release)
    stranger = make_record(seed=9)
    add_rerun(release, entry(stranger))
    with pytest.raises(RecordError, match="which is not there") as caught:
        confirmed(release, results)
    assert (caught.value.where, caught.value.field) == (str(reruns_path(release)), "reruns.0.record")
    assert "--rerun" in caught.value.remedy
    reruns_path(release).unlink()
    record = drawn_record(release)
    wrong = next(lot for lot in range(100) if drawn_record(release, lot).digest != record.digest)
    add_rerun(release, entry(record, wrong))
    with pytest.raises(RecordError, match="falls on another record"):
        confirmed(release, results)
    (finding,) = verify_release(release)
    assert finding.field == "reruns.0.lot"


def test_a_file_that_was_edited_is_refused(release: Path) -> None:
    path = add_rerun(release, entry(drawn_record(release), numbers="0" * 64))
    content = json.loads(path.read_text())
    content["reruns"][0]["numbers"] = numbers_of(drawn_record(release))
    path.write_text(json.dumps(content))
    with pytest.raises(RecordError, match="was changed after it was written"):
        confirmed(release, read_records(release))
    content["reruns"][0]["record"] = "no hash"
    path.write_text(json.dumps({**content, "digest": digest_of(content)}))
    with pytest.raises(RecordError, match=r"reruns\.0\.record"):
        confirmed(release, read_records(release))


def test_numbers_are_all_that_was_measured_and_no_time() -> None:
    record = with_popular(make_record(further=True, certified=True))
    assert record.clean is not None
    assert record.clean.popular is not None
    first = numbers_of(record)
    assert numbers_of(record.model_copy(update={"started": "2027-01-01T00:00:00Z", "seed": 5, "cost": None})) == first
    # the same values in another compression
    raw = zlib.decompress(b64decode(record.clean.scores.data))
    again = record.clean.scores.model_copy(update={"data": b64encode(zlib.compress(raw, 0)).decode()})
    assert again != record.clean.scores
    assert numbers_of(record.model_copy(update={"clean": record.clean.model_copy(update={"scores": again})})) == first

    def turned(column: FloatColumn) -> FloatColumn:
        return FloatColumn.of(-column.to_float())

    popular = record.clean.popular.model_copy(update={"scores": turned(record.clean.popular.scores)})
    tier = record.threats[0].tiers[0]
    worse = tier.model_copy(update={"robust": BitColumn.of(np.zeros(tier.robust.n, dtype=np.bool_))})
    threat = record.threats[0].model_copy(update={"tiers": (worse, *record.threats[0].tiers[1:])})
    lists = record.ranking[0].model_copy(update={"scores": turned(record.ranking[0].scores)})
    changes = (
        {"weights_sha256": "0" * 64},
        {"clean": record.clean.model_copy(update={"scores": turned(record.clean.scores)})},
        {"clean": record.clean.model_copy(update={"impression_scores": turned(record.clean.impression_scores)})},
        {"clean": record.clean.model_copy(update={"popular": popular})},
        {"threats": (threat, *record.threats[1:])},
        {"ranking": (lists, *record.ranking[1:])},
        {"certified": ()},
    )
    assert len({first, *(numbers_of(record.model_copy(update=change)) for change in changes)}) == 1 + len(changes)
