"""Rows of the first test pairs alone: on the board with a note, compared on the pairs that they share, never ranked."""

from __future__ import annotations

from pathlib import Path

import pytest
from synthetic_records import cut, make_record

from recgauntlet.leaderboard.address import RowAt, locate
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.citation import sentence
from recgauntlet.leaderboard.compare import against_twins, compare
from recgauntlet.leaderboard.dataframe import load
from recgauntlet.leaderboard.paired import CLEAN, Quantity, beside, better, paired, twin_of
from recgauntlet.leaderboard.paper_table import build_paper_tables
from recgauntlet.leaderboard.release.freeze import Wanted, freeze
from recgauntlet.leaderboard.release.verify import verify_release
from recgauntlet.leaderboard.selection import Selection
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.records.io import write_record

PAIRS, ALL = 60, 200
STUFFING = Quantity("stuffing")


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ranked twin and defense on all pairs, one more defense on the first ones, and one whose twin has both."""
    directory = tmp_path_factory.mktemp("board")
    records = []
    for seed in range(3):
        strong = {"stuffing": (0.74, 0.73, 0.72), "embedding": (0.7, 0.6, 0.5)}
        records += [make_record(seed=seed), make_record(seed=seed, defense="pgd", ratio=1.4)]
        records += [cut(make_record(seed=seed, defense="fgm", ratio=1.4, clean=0.8, threats=strong))]
        records += [make_record(seed=seed, model="gpt"), cut(make_record(seed=seed, model="gpt"))]
        records += [cut(make_record(seed=seed, model="gpt", defense="fgm", ratio=1.2))]
    for number, record in enumerate(records):
        write_record(record, directory / f"{number}.json")
    return directory


def rows(directory: Path) -> dict[tuple[str, str, bool], RowAt]:
    found = locate(str(directory)).rows
    return {(at.row.model.name, at.row.defense.name, at.row.first_pairs is not None): at for at in found}


def test_it_stands_in_the_same_table_with_a_note_and_without_a_rank(board: Path) -> None:
    at = rows(board)
    assert len({id(each.table) for each in at.values()}) == 1
    table = at["nrms", "fgm", True].table
    assert (table.examples, table.impressions) == (2 * ALL, 40)
    for (_, _, is_first), each in at.items():
        titles = [flag.title for flag in each.row.flags if flag.blocks_rank]
        assert titles == (["first 60 of 200 test pairs"] if is_first else [])
        assert (each.row.rank is None) == is_first
    assert not [flag for each in at.values() for flag in each.row.flags if flag.kind == "other-source"]
    assert len({each.anchor for each in at.values()}) == len({each.address for each in at.values()}) == 6
    alone = locate(at["gpt", "standard", True].address).row
    assert alone is not None
    assert alone.row.first_pairs is not None


def test_it_is_compared_on_the_pairs_that_both_have(board: Path) -> None:
    at = rows(board)
    first, twin = at["nrms", "fgm", True], at["nrms", "standard", False]
    assert twin_of(first.table, first.row) is twin.row
    for quantity in (CLEAN, STUFFING):
        (line,) = paired(first.records, twin.records, [quantity])
        assert line.bits.shape == (3, PAIRS)
        (same,) = paired(first.records, [cut(record) for record in twin.records], [quantity])
        assert (line.difference, line.p, line.b) == (same.difference, same.p, same.b)
        both = beside(first.row, twin.row, quantity)
        assert both == pytest.approx((line.a, line.b), abs=1e-12)
        assert both[1] != pytest.approx(twin.row.clean.value if quantity == CLEAN else 0.5, abs=1e-3)
        other_way = beside(twin.row, first.row, quantity)
        assert other_way == pytest.approx(both[::-1], abs=1e-12)
        values = (line.a, line.b) if line.a > line.b else (line.b, line.a)
        assert values[0] > values[1]
    found = compare(first, twin)
    assert found.examples == 2 * PAIRS
    assert any("compared on its first 60 test pairs" in caution for caution in found.cautions)
    assert against_twins(first.board, first.table, first.table, [CLEAN])
    assert "120 test examples" in sentence(first)


def test_ranks_of_rows_of_unlike_pairs_agree_with_the_paired_test(board: Path) -> None:
    at = rows(board)
    first, twin, pgd = at["nrms", "fgm", True], at["nrms", "standard", False], at["nrms", "pgd", False]
    some = [first.records, twin.records, pgd.records]
    found = better(some, [STUFFING] * 3)
    assert found.any()
    for i, own in enumerate(some):
        for j, other in enumerate(some):
            if i != j:
                (line,) = paired(own, other, [STUFFING])
                assert found[i, j] == (line.told_apart and line.difference.value > 0)


def test_a_twin_with_the_same_pairs_goes_first(board: Path) -> None:
    at = rows(board)
    first = at["gpt", "fgm", True]
    assert twin_of(first.table, first.row) is at["gpt", "standard", True].row
    assert twin_of(first.table, at["gpt", "standard", True].row) is None


def test_tables_files_and_releases_cope(board: Path, tmp_path: Path) -> None:
    at = rows(board)
    frame = load(board)
    own = frame[(frame.model == "nrms") & (frame.defense == "fgm")]
    assert set(own.examples) == {2 * PAIRS}
    assert set(frame[(frame.model == "nrms") & (frame.defense == "pgd")].examples) == {2 * ALL}
    assert len(load(board, examples=True)) > 0
    (table,) = {id(each.table): each.table for each in at.values()}.values()
    assert build_table([record for each in at.values() for record in each.records]) == (table,)
    papers = build_paper_tables(at["nrms", "fgm", True].board, Selection())
    assert any("400 or 120 test examples" in note for paper in papers for note in paper.notes)
    lines = to_csv((table,)).decode().splitlines()
    assert sum(",120," in line for line in lines) == 3
    frozen = freeze(Wanted("2027.1", (board,), tmp_path))
    assert verify_release(frozen) == ()


def test_a_board_of_first_pairs_alone_ranks_nothing() -> None:
    (table,) = build_table([cut(make_record(seed=seed)) for seed in range(3)])
    assert (table.examples, table.rows[0].rank) == (2 * ALL, None)
