"""Rows have addresses: short, stable, and refused with a hint where they name nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.address import locate, locate_rows, open_board, row_anchor, row_id
from recgauntlet.leaderboard.compare import check_comparable
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import RunRecord

SWAP = {"swap": (0.6, 0.5, 0.4)}


def fill(directory: Path, records: list[RunRecord]) -> Path:
    for number, record in enumerate(records):
        write_record(record, directory / f"{number}.json")
    return directory


@pytest.fixture
def root(tmp_path: Path) -> Path:
    records = [make_record(seed=seed, defense=defense) for seed in range(2) for defense in ("standard", "pgd")]
    records += [make_record(task="film", threats=SWAP), make_record(task="film", track="demo", threats=SWAP)]
    records += [make_record(task="film", model="a/b", defense="x~y", threats=SWAP)]
    records += [make_record(defense="fgm", hyperparameters={"epsilon": e}) for e in (0.1, 0.2)]
    fill(tmp_path / "results" / "first", records)
    return tmp_path / "results"


def test_a_row_is_found_by_its_address_by_name_and_by_path(root: Path) -> None:
    by_name = locate_rows("first/shop/nrms/pgd", root=root)[0]
    assert (by_name.table.task, by_name.row.defense.name, by_name.row.seeds) == ("shop", "pgd", (0, 1))
    assert [record.seed for record in by_name.records] == [0, 1]
    by_path = locate_rows(f"{root}/first/shop/nrms/pgd", root=root)[0]
    assert by_path.anchor == by_name.anchor
    assert locate_rows(by_name.address, root=root)[0].anchor == by_name.anchor
    assert locate_rows(by_path.address, root=root)[0].anchor == by_name.anchor


def test_an_address_may_stop_early(root: Path) -> None:
    assert len(locate("first", root).rows) == 7
    assert len(locate("first/shop", root).rows) == 4
    assert len(locate("first/shop/nrms/", root).rows) == 4
    with pytest.raises(RecordError, match="names no single row"):
        locate_rows("first/shop/nrms", root=root)[0]


def test_the_standard_track_is_meant_unless_another_is_named(root: Path) -> None:
    assert {at.table.track for at in locate("first/film", root).rows} == {"standard"}
    demo = locate_rows("first/film:demo/nrms/standard", root=root)[0]
    assert demo.table.track == "demo"
    assert demo.address == "first/film:demo/nrms/standard"


def test_rows_of_one_name_are_told_apart_by_the_beginning_of_their_ids(root: Path) -> None:
    with pytest.raises(RecordError, match="2 of 2 rows") as told:
        locate("first/shop/nrms/fgm", root)
    rows = [at for at in locate("first/shop", root).rows if at.row.defense.name == "fgm"]
    for at in rows:
        assert at.address in told.value.remedy
        assert locate_rows(at.address, root=root)[0].row.defense.hyperparameters == at.row.defense.hyperparameters
    with pytest.raises(RecordError, match="none of 2 rows"):
        locate("first/shop/nrms/fgm~zz", root)


def test_names_with_slashes_and_tildes_have_addresses_too(root: Path) -> None:
    at = locate_rows("first/film/a%2Fb/x~y", root=root)[0]
    assert (at.row.model.name, at.row.defense.name) == ("a/b", "x~y")
    assert locate_rows(at.address, root=root)[0].anchor == at.anchor


@pytest.mark.parametrize(
    ("address", "problem", "hint"),
    [
        ("frist/shop/nrms/pgd", "is no release", "first"),
        ("first/shpo/nrms/pgd", "no task 'shpo'", "shop"),
        ("first/shop/nmrs/pgd", "no model 'nmrs'", "nrms"),
        ("first/shop/nrms/pdg", "no defense 'pdg'", "pgd"),
        ("first/shop:demo/nrms/pgd", "no track 'demo'", "standard"),
        ("first/shop/nrms/pgd/x", "no", ""),
        ("", "names no release", "RELEASE/TASK"),
    ],
)
def test_an_address_of_nothing_is_refused_with_what_is_close(root: Path, address: str, problem: str, hint: str) -> None:
    with pytest.raises(RecordError, match=problem) as told:
        locate(address, root)
    assert hint in str(told.value)
    assert told.value.exit_code == 2


def test_a_release_without_records_is_refused(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RecordError, match="holds no record"):
        locate("empty", tmp_path)


def test_a_rows_id_depends_on_what_it_is_and_not_on_seeds_or_neighbours(root: Path, tmp_path: Path) -> None:
    here = locate_rows("first/shop/nrms/pgd", root=root)[0]
    alone = fill(tmp_path / "alone", [make_record(seed=7, defense="pgd")])
    there = locate_rows(f"{alone}/shop/nrms/pgd")[0]
    assert there.anchor == here.anchor
    ids = [row_id(at.table, at.row) for at in locate("first", root).rows]
    assert len(set(ids)) == len(ids)
    newer = fill(tmp_path / "newer", [make_record(defense="pgd", suite_fingerprint="0" * 64)])
    assert locate_rows(f"{newer}/shop/nrms/pgd")[0].anchor != here.anchor
    assert row_anchor(here.table, here.row).startswith("shop-standard-nrms-pgd-")


def test_a_directory_that_run_filled_is_the_release_and_not_what_is_above_or_below_it(tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    write_record(make_record(), mine / "shop" / "standard" / "nrms-standard-0.json")
    for address in (str(mine), f"{mine}/shop", f"{mine}/shop/nrms", f"{mine}/shop/nrms/standard"):
        assert locate(address).board.directory == mine
    assert len(locate(f"{mine}/shop").rows) == 1


def test_an_unfrozen_board_has_a_digest_of_its_records(root: Path) -> None:
    board = open_board("first", root)
    assert not board.frozen
    again = open_board(root / "first", root)
    assert again.digest == board.digest
    (root / "first" / "0.json").unlink()
    assert open_board("first", root).digest != board.digest


def test_rows_of_other_tasks_suites_or_data_are_not_compared(root: Path, tmp_path: Path) -> None:
    here = locate_rows("first/shop/nrms/pgd", root=root)[0]
    check_comparable(here, locate_rows("first/shop/nrms/standard", root=root)[0])
    with pytest.raises(RecordError, match=r"another task \(shop and film\)"):
        check_comparable(here, locate_rows("first/film/nrms/standard", root=root)[0])
    other = fill(tmp_path / "other", [make_record(data_fingerprint="0" * 64, suite_fingerprint="1" * 64, pairs=50)])
    with pytest.raises(RecordError, match=r"other data.*attack suite.*other test examples"):
        check_comparable(here, locate_rows(f"{other}/shop/nrms/standard")[0])
