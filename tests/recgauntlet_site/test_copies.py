"""Copies of records are the files themselves, or what a packed record unpacks to, whoever makes them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from synthetic_records import make_record

from recgauntlet.leaderboard.crew import Crew
from recgauntlet.leaderboard.release.freezable import Wanted
from recgauntlet.leaderboard.release.freeze import freeze
from recgauntlet.leaderboard.workshop import Workshop
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.io import Results, read_records, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.copies import copies_of
from recgauntlet_site.work import in_turn


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("copies")
    for seed in range(3):
        record = make_record(seed=seed, pairs=60, impressions=40, further=True)
        write_record(record, folder / "records" / f"{seed}.json")
    return freeze(Wanted("2099.1", (folder / "records",), folder / "results"))


def named(results: Results) -> list[tuple[str, Path, RunRecord]]:
    return [(path.name, path, record) for path, record in results.records]


def test_the_copy_of_a_file_is_that_file(tmp_path: Path) -> None:
    write_record(make_record(), tmp_path / "one.json")
    content = (tmp_path / "one.json").read_bytes()
    assert list(copies_of(named(read_records(tmp_path)), in_turn)) == [("one.json", content)]


def test_packed_records_are_unpacked_by_whoever_is_free(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("recgauntlet_site.copies._BATCH", 2)
    whole = read_records(release)
    wanted = {path.name: to_bytes(record) for path, record in whole.records}
    assert dict(copies_of(named(whole), in_turn)) == wanted
    given: list[int] = []

    def work(function: Callable[[Any], Any], items: Sequence[Any], *, worth: bool) -> Iterator[Any]:
        given.append(len(items))
        return in_turn(function, items, worth=worth)

    with Crew(1) as crew:
        assert dict(copies_of(named(Workshop(crew, None).read(release)), work)) == wanted
    assert given == [2, 1]
