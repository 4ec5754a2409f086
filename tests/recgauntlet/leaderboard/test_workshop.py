"""A workshop: what it makes is what plain reading makes, to the last bit; nothing that was tampered with gets by."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path

import pytest
from made_releases import board, make_release, small
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard import workshop as module
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.crew import Crew
from recgauntlet.leaderboard.kept import Entry, Kept
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.leaderboard.unopened import UnopenedRecord
from recgauntlet.leaderboard.workshop import Workshop
from recgauntlet.records.digest import digest_of
from recgauntlet.records.io import Results, read_records, write_record
from recgauntlet.records.schema import RunRecord

Made = tuple[Results, tuple[TaskTable, ...]]


def write_as_run_does(directory: Path, records: list[RunRecord]) -> None:
    for r in records:
        write_record(r, directory / r.task.id / r.task.track / f"{r.model.name}-{r.defense.name}-{r.seed}.json")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Rows whose records lie side by side, one whose do not, a seed twice, a lost cell, and files that are broken."""
    found = tmp_path / "results"
    write_as_run_does(found, board())
    write_record(make_record(seed=7, failure="lost"), found / "shop" / "standard" / "lost.json")
    again = make_record(seed=1, pairs=60, impressions=40, further=True, finished="2026-02-02T00:00:00Z")
    write_record(again, found / "later" / "nrms-standard-1.json")
    for number, record in enumerate(small(defense="apart", further=True, certified=True)):
        write_record(record, found / f"{number}-of-a-row" / "one.json")
    write_record(small(defense="ties")[0], found / "é.json")
    (found / "cut.json").write_text('{"schema_version": 2, "status"')
    return found


def made(directory: Path, kept: Path | None = None, workers: int = 1) -> Made:
    """What a workshop makes, with what is kept in the directory `kept`."""
    store = None if kept is None else Kept(kept, [directory])
    with Crew(workers) as crew, nullcontext() if store is None else store:
        workshop = Workshop(crew, store)
        results = workshop.read(directory)
        return results, workshop.tables([record for _, record in results.records])


def plainly(directory: Path) -> Made:
    results = read_records(directory)
    return results, build_table([record for _, record in results.records])


def same(one: Made, other: Made) -> None:
    assert repr(one[1]) == repr(other[1])
    assert one[1] == other[1]
    assert [path for path, _ in one[0].records] == [path for path, _ in other[0].records]
    assert all(a == b for (_, a), (_, b) in zip(one[0].records, other[0].records, strict=True))
    assert [(path, str(error)) for path, error in one[0].broken] == [(p, str(error)) for p, error in other[0].broken]
    assert one[0].best_known == other[0].best_known


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    """How many files are read and rows are made, with one worker."""
    counts = {"files": 0, "rows": 0}
    look, make_row = module._look, module.make_row

    def looking(group: module._Group) -> object:
        counts["files"] += len(group.places)
        return look(group)

    def making(*arguments: object) -> object:
        counts["rows"] += 1
        return make_row(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr(module, "_look", looking)
    monkeypatch.setattr(module, "make_row", making)
    return counts


def test_what_is_made_fresh_kept_and_found_again_is_the_same(directory: Path, tmp_path: Path) -> None:
    kept, expected = tmp_path / "kept", plainly(directory)
    same(made(directory), expected)
    same(made(directory, kept), expected)
    same(made(directory, kept), expected)


def test_two_workers_make_what_one_makes(directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_WORTH", 1)
    kept, expected = tmp_path / "kept", plainly(directory)
    same(made(directory, workers=2), expected)
    same(made(directory, kept, workers=2), expected)
    same(made(directory, kept, workers=2), expected)


def test_what_may_be_done_meanwhile_is_done_where_others_read(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_WORTH", 10)
    called: list[str] = []
    for kept in ("first", "again"):
        with Crew(2) as crew, Kept(tmp_path, [directory]) as store:
            Workshop(crew, store, meanwhile=lambda kept=kept: called.append(kept)).read(directory)  # type: ignore[misc]
    assert called == ["first"]


def test_nothing_is_done_again_where_nothing_changed(directory: Path, tmp_path: Path, counted: dict[str, int]) -> None:
    kept = tmp_path / "kept"
    _, tables = made(directory, kept)
    rows = sum(len(table.rows) for table in tables)
    assert counted["rows"] >= rows
    counted.update(files=0, rows=0)
    shutil.copytree(directory, tmp_path / "elsewhere")  # another place, other times
    made(tmp_path / "elsewhere", kept)
    assert counted == {"files": 1, "rows": 0}  # the file that is cut off is no record to be kept


def test_a_changed_record_is_read_and_its_row_made_and_no_other(
    directory: Path, tmp_path: Path, counted: dict[str, int]
) -> None:
    kept = tmp_path / "kept"
    made(directory, kept)
    counted.update(files=0, rows=0)
    changed = small(3, defense="pgd", ratio=1.7, hyperparameters={"epsilon": 0.1}, further=True)[1]
    write_record(changed, directory / "shop" / "standard" / "nrms-pgd-1.json")
    found = made(directory, kept)
    assert counted == {"files": 2, "rows": 1}
    same(found, plainly(directory))


def test_a_row_whose_records_changed_but_one_is_made_once(
    directory: Path, tmp_path: Path, counted: dict[str, int]
) -> None:
    kept = tmp_path / "kept"
    made(directory, kept)
    counted.update(files=0, rows=0)
    write_as_run_does(directory, small(2, defense="masked", clean=0.8))
    same(made(directory, kept), plainly(directory))
    assert counted == {"files": 3, "rows": 1}


@pytest.mark.parametrize(
    "other",
    [
        {"seed": 9, "failure": "lost"},  # a mark on the row
        {"seed": 1, "clean": 0.9, "finished": "2020-01-01T00:00:00Z"},  # two of one seed, the older counts for nothing
        {"seed": 0, "model": "other", "threats": {"stuffing": (0.6, 0.5, 0.4), "swap": (0.6, 0.5, 0.4)}},  # a column
    ],
)
def test_a_record_that_changes_a_row_without_being_of_it_is_noticed(
    directory: Path, tmp_path: Path, other: dict[str, object]
) -> None:
    kept = tmp_path / "kept"
    before = made(directory, kept)
    options = {"defense": "pgd", "hyperparameters": {"epsilon": 0.1}, "pairs": 60, "impressions": 40}
    write_record(make_record(**{**options, **other}), directory / "other" / "one.json")  # type: ignore[arg-type]
    after = made(directory, kept)
    same(after, plainly(directory))

    def told(tables: tuple[TaskTable, ...]) -> list[str]:
        return [
            repr(row) for table in tables for row in table.rows if (row.model.name, row.defense.name) == ("nrms", "pgd")
        ]

    assert told(after[1]) != told(before[1])


def test_a_new_seed_changes_its_row_alone(directory: Path, tmp_path: Path, counted: dict[str, int]) -> None:
    kept = tmp_path / "kept"
    made(directory, kept)
    counted.update(files=0, rows=0)
    write_as_run_does(directory, small(4, defense="few")[3:])
    found = made(directory, kept)
    assert counted == {"files": 2, "rows": 1}
    same(found, plainly(directory))


@pytest.mark.parametrize("position", [0.1, 0.5, 0.9])
def test_a_record_that_was_tampered_with_is_told_though_its_size_and_time_are_as_before(
    directory: Path, tmp_path: Path, position: float
) -> None:
    kept = tmp_path / "kept"
    before, _ = made(directory, kept)
    path = directory / "shop" / "standard" / "nrms-pgd-1.json"
    times, content = path.stat(), bytearray(path.read_bytes())
    place = next(i for i in range(int(position * len(content)), len(content)) if chr(content[i]).isdigit())
    content[place] = ord("1") if content[place] != ord("1") else ord("2")
    path.write_bytes(content)
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    after, tables = made(directory, kept)
    assert path in dict(before.records)
    assert path not in dict(after.records)
    assert path in dict(after.broken)
    (row,) = (row for table in tables for row in table.rows if row.defense.name == "pgd")
    assert row.seeds == (0, 2)


def test_a_record_that_contradicts_itself_is_told_though_its_digest_is_right(directory: Path, tmp_path: Path) -> None:
    kept = tmp_path / "kept"
    made(directory, kept)
    path = directory / "shop" / "standard" / "nrms-pgd-1.json"
    content = json.loads(path.read_text())
    content["threats"][0]["tiers"][0]["robust"] = content["clean"]["labels"]
    content["digest"] = digest_of(content)
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    found, _ = made(directory, kept)
    assert "wrong on the clean input" in str(dict(found.broken)[path])


def spoil(kept: Path, change: Callable[[bytes], bytes]) -> None:
    (path,) = kept.iterdir()
    path.write_bytes(change(path.read_bytes()))


@pytest.mark.parametrize(
    "change",
    [
        lambda content: content[: len(content) // 2],
        lambda content: b"",
        lambda content: content.replace(b"0.5", b"0.9").replace(b"pgd", b"bad"),
        lambda content: content[65:],
        lambda content: b"\x80\x04cos\nsystem\n.",
    ],
)
def test_a_broken_cache_costs_time_and_no_result(
    directory: Path, tmp_path: Path, change: Callable[[bytes], bytes]
) -> None:
    kept, expected = tmp_path / "kept", plainly(directory)
    made(directory, kept)
    spoil(kept, change)
    same(made(directory, kept), expected)
    same(made(directory, kept), expected)


def test_entries_under_each_others_names_are_not_believed(directory: Path, tmp_path: Path) -> None:
    def exchanged(content: bytes) -> bytes:
        names, texts = zip(*(line.split(b" ", 1) for line in content.split(b"\n")), strict=True)
        return b"\n".join(name + b" " + text for name, text in zip(names, [*texts[1:], texts[0]], strict=True))

    kept, expected = tmp_path / "kept", plainly(directory)
    made(directory, kept)
    spoil(kept, exchanged)
    same(made(directory, kept), expected)


def test_a_row_that_is_kept_under_the_name_of_another_is_not_believed(
    directory: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Written by whoever knows how names are made: still the records that it says it is of must be those wanted."""
    kept, expected = tmp_path / "kept", plainly(directory)
    row = expected[1][0].rows[0]
    keep = Kept.keep

    def forge(store: Kept, kind: type[Entry], text: bytes, *parts: object) -> None:
        keep(store, kind, module._text(row) if kind is module._KeptRow else text, *parts)

    monkeypatch.setattr(Kept, "keep", forge)
    made(directory, kept)
    monkeypatch.undo()
    same(made(directory, kept), expected)


def test_a_release_is_read_by_its_sums_and_what_was_changed_in_it_is_told(tmp_path: Path) -> None:
    release, kept = make_release(tmp_path), tmp_path / "kept"
    expected = plainly(release)
    same(made(release), expected)
    same(made(release, kept), expected)
    same(made(release, kept), expected)
    cell = next(release.rglob("*.cell"))
    content = bytearray(cell.read_bytes())
    content[-1] ^= 1
    cell.write_bytes(content)
    found, _ = made(release, kept)
    assert "was changed after it was frozen" in str(dict(found.broken)[cell])
    assert cell not in dict(found.records)


def test_what_a_manifest_vouches_for_is_checked_where_there_is_no_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release, kept = make_release(tmp_path), tmp_path / "kept"
    assert made(release, kept)[0].records
    shutil.copytree(release, tmp_path / "loose", ignore=shutil.ignore_patterns("manifest.json"))

    def refuse(record: RunRecord, *_: object) -> None:
        raise RecordError("does not check out", remedy="none")

    monkeypatch.setattr("recgauntlet.records.places.check_record", refuse)
    assert made(release, kept)[0].records
    found, _ = made(tmp_path / "loose", kept)
    assert not found.records
    assert len(found.broken) == len(made(release, kept)[0].records)


def test_records_are_unopened_and_told_if_they_change_before_they_are_opened(directory: Path) -> None:
    with Crew(1) as crew:
        found = dict(Workshop(crew, None).read(directory).records)
    path = directory / "shop" / "standard" / "nrms-pgd-1.json"
    record = found[path]
    assert isinstance(record, UnopenedRecord)
    write_record(make_record(seed=1), path)
    assert record.seed == 1
    assert record.defense.name == "pgd"
    with pytest.raises(RecordError, match="changed after it was read"):
        _ = record.clean
