"""Rows beside each other: on common seeds, and by one paired test that ranks, comparisons and stars share."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from itertools import combinations, permutations
from pathlib import Path

import numpy as np
import pytest
from page_reader import read_page
from rank_simulation import simulation
from synthetic_records import make_record

from recgauntlet.core.files import CURRENT
from recgauntlet.leaderboard.address import Board, RowAt, locate, open_board, row_id
from recgauntlet.leaderboard.citation import sentence
from recgauntlet.leaderboard.compare import compare
from recgauntlet.leaderboard.paired import (
    CLEAN,
    Quantity,
    beside,
    better,
    outcomes,
    paired,
    rank_ranges,
    ranks_of,
    twin_of,
)
from recgauntlet.leaderboard.paper_table import build_paper_tables
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.leaderboard.selection import Selection
from recgauntlet.metrics.bootstrap import RankRange, resampled_means
from recgauntlet.metrics.significance import LEVEL
from recgauntlet.records.io import read_records, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.render import render_site

RELEASE = Path(__file__).parents[3] / "results" / CURRENT
STUFFING = Quantity("stuffing")


def renamed(record: RunRecord, defense: str) -> RunRecord:
    """The same results under another defense."""
    return record.model_copy(update={"defense": record.defense.model_copy(update={"name": defense})}).sealed()


@pytest.fixture(scope="module")
def same(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A twin of three unlike seeds and a defense of one seed that equals it there bit for bit."""
    twins = [
        make_record(seed=seed, clean=clean, threats={"stuffing": (robust,) * 3, "embedding": (0.4, 0.3, 0.2)})
        for seed, (clean, robust) in enumerate([(0.8, 0.7), (0.7, 0.5), (0.6, 0.4)])
    ]
    directory = tmp_path_factory.mktemp("same")
    for number, record in enumerate([*twins, renamed(twins[0], "copy"), make_record(seed=7, defense="apart")]):
        write_record(record, directory / f"{number}.json")
    return directory


def rows(directory: Path) -> dict[str, RowAt]:
    return {at.row.defense.name: at for at in locate(str(directory)).rows}


def test_a_defense_that_equals_its_twin_differs_from_it_in_nothing(same: Path) -> None:
    at = rows(same)
    copy, twin = at["copy"], at["standard"]
    assert copy.row.clean.value - twin.row.clean.value > 0.05  # over all seeds they differ
    for quantity in (CLEAN, STUFFING, Quantity("embedding", "low")):
        found = beside(copy.row, twin.row, quantity)
        assert found is not None
        assert found[0] == found[1]
    (line,) = paired(copy.records, twin.records, [STUFFING])
    assert (line.difference.value, line.difference.low, line.difference.high, line.p) == (0, 0, 0, 1)
    assert {d.difference.value for d in compare(copy, twin).differences} == {0}


def test_its_citation_gives_both_the_same_numbers(same: Path) -> None:
    text = sentence(rows(same)["copy"])
    clean, robust = (f"{100 * value:.1f} %" for value in beside_twin(rows(same)["copy"]))
    assert f"copy gets {clean}" in text
    assert f"its undefended twin, on seed 0 as well, gets {clean} and keeps" in text
    assert text.count(robust) == 2


def beside_twin(at: RowAt) -> tuple[float, float]:
    cell = at.row.worst_cell
    assert cell is not None
    return at.row.clean.value, cell.robust.value


def test_its_pages_show_no_difference(same: Path) -> None:
    files = dict(render_site([("mine", same, read_records(same))], cards=lambda table: None))
    for page in ("defenses/copy.html", "models/nrms.html"):
        (line,) = [row for row in read_page(files[page]).all("tr") if "copy" in row.text()]
        assert [part.text() for part in line.all("i") if "(" in part.text()] == ["(+0.0)"] * 3
    (line,) = [row for row in read_page(files["defenses/apart.html"]).all("tr") if "apart" in row.text()]
    assert "(" not in line.text()  # no common seed, no difference


def test_without_a_common_seed_nothing_is_compared(same: Path) -> None:
    at = rows(same)
    assert beside(at["apart"].row, at["standard"].row) is None
    assert paired(at["apart"].records, at["standard"].records, [CLEAN]) == []
    assert "its undefended twin has no seed in common" in sentence(at["apart"])


def test_a_citation_gives_the_rows_numbers_on_the_common_seeds_where_these_are_not_all(tmp_path: Path) -> None:
    for seed, defense in ((0, "standard"), (1, "standard"), (1, "pgd"), (2, "pgd")):
        write_record(make_record(seed=seed, defense=defense), tmp_path / f"{defense}{seed}.json")
    at = rows(tmp_path)
    both = beside(at["pgd"].row, at["standard"].row)
    assert both is not None
    assert f"on seed 1 as well, where it gets {100 * both[0]:.1f} % and keeps" in sentence(at["pgd"])
    assert f", gets {100 * both[1]:.1f} % and keeps" in sentence(at["pgd"])


def made(defense: str, robust: float, seeds: Sequence[int] = (0, 1, 2), pairs: int = 200) -> list[RunRecord]:
    threats = {"stuffing": (robust, robust, robust)}
    return [make_record(defense=defense, seed=seed, threats=threats, pairs=pairs) for seed in seeds]


def test_each_two_rows_are_compared_on_the_seeds_that_they_share() -> None:
    sets = {"a": (0, 1, 2), "b": (0, 1, 2, 3, 4), "c": (2, 3, 4), "d": (5, 6, 7)}
    values = {"a": 0.7, "b": 0.6, "c": 0.3, "d": 0.1}
    found = [made(name, values[name], sets[name]) for name in sets]
    over = better(found, [STUFFING] * 4)
    assert over.tolist() == [
        [False, True, False, False],  # one common seed with c, none with d
        [False, False, True, False],
        [False, False, False, False],
        [False, False, False, False],
    ]
    for own, other in permutations(range(4), 2):
        lines = paired(found[own], found[other], [STUFFING])
        told = bool(lines) and lines[0].told_apart and lines[0].difference.value > 0
        assert over[own, other] == told


def test_retained_shares_are_told_apart_by_robust_and_clean_together() -> None:
    """Both rows keep all that they have clean, so neither retains more, though one has more."""
    found = [
        [make_record(defense=name, seed=s, clean=clean, threats={"stuffing": (1.0,) * 3}) for s in range(3)]
        for name, clean in (("a", 0.8), ("b", 0.6))
    ]
    assert better(found, [STUFFING] * 2)[0, 1]
    assert not better(found, [replace(STUFFING, part="retained")] * 2).any()


def test_a_row_without_the_quantity_is_an_error() -> None:
    with pytest.raises(ValueError, match="no robust accuracy under swap"):
        better([made("a", 0.5), made("b", 0.5)], [Quantity("swap")] * 2)


def test_a_row_that_varies_more_is_not_ranked_above_one_with_a_larger_mean() -> None:
    """Seeds of the last row are far apart, so nothing is better than it by the test; it still shares the rank of the
    row above it."""
    exact = [made(name, robust, pairs=1000) for name, robust in (("a", 0.62), ("b", 0.52))]
    spread = [made("c", robust, (seed,), pairs=1000)[0] for seed, robust in enumerate((0.7, 0.52, 0.3))]
    found = [*exact, spread]
    values = [float(np.mean([r.tier("stuffing", "standard").robust.to_bool().mean() for r in row])) for row in found]  # type: ignore[union-attr]
    assert values == sorted(values, reverse=True)
    over = better(found, [STUFFING] * 3)
    assert over[0, 1]
    assert not over[:, 2].any()
    assert ranks_of(values, found, [STUFFING] * 3) == (1, 2, 2)


@pytest.fixture(scope="module")
def release() -> Board:
    return open_board(RELEASE)


def ranked_pairs(board: Board) -> list[tuple[TaskTable, RowAt, RowAt]]:
    return [
        (table, RowAt(board, table, a), RowAt(board, table, b))
        for table in board.tables
        for a, b in combinations([row for row in table.rows if row.rank is not None], 2)
    ]


def test_board_and_comparison_agree_on_every_pair_of_the_release(release: Board) -> None:
    """A row that `compare` tells from another ranks before it, the interval of their difference does not contain 0, and
    no row ranks before one with a higher value."""
    pairs = ranked_pairs(release)
    assert len(pairs) > 50
    told = 0
    for _, a, b in pairs:
        assert a.row.worst == b.row.worst is not None
        assert a.row.worst_cell
        assert b.row.worst_cell
        line = compare(a, b, threats=[a.row.worst]).differences[1]
        assert line.quantity == Quantity(a.row.worst)
        assert line.told_apart == (line.difference.low > 0 or line.difference.high < 0)
        ranks = [at.row.rank for at in (a, b) if at.row.rank is not None]  # rows stand in order of rank, then of value
        assert ranks == sorted(ranks)
        assert line.difference.value >= 0
        assert not line.told_apart or ranks[0] < ranks[1]
        told += line.told_apart
    assert told >= 20


def test_ranks_of_the_release_count_the_rows_that_are_better(release: Board) -> None:
    for table in release.tables:
        ranked = [RowAt(release, table, row) for row in table.rows if row.rank is not None]
        over = better([at.records for at in ranked], [Quantity(at.row.worst or "") for at in ranked])
        assert [at.row.rank for at in ranked] == (1 + over.sum(axis=0)).tolist()


def test_stars_of_the_release_are_what_compare_tells_apart(release: Board) -> None:
    papers = {paper.title.split(" ")[0]: paper for paper in build_paper_tables(release, Selection())}
    starred = 0
    for table in release.tables:
        paper = papers[table.task]
        heads = [head.group or head.title for head in paper.heads]
        for row, line in zip(table.rows, paper.lines, strict=True):
            twin = twin_of(table, row)
            stars = {name: entry.stars for name, entry in zip(heads, line.entries, strict=True)}
            if twin is None:
                assert not any(stars.values())
                continue
            found = compare(RowAt(release, table, row), RowAt(release, table, twin)).differences
            told = {d.quantity.threat or "clean": d.told_apart for d in found}
            assert {name: bool(stars[name]) for name in told} == told, row_id(table, row)
            starred += sum(told.values())
    assert starred > 10


def test_films_and_news_of_the_release_rank_as_the_paired_test_has_them(release: Board) -> None:
    """The two cases that ranks by overlapping intervals had wrong."""
    ranks = {
        table.task: [(row.defense.name, row.rank) for row in table.rows if row.rank is not None]
        for table in release.tables
    }
    assert ranks["video-watch"][0] == ("trades", 1)
    assert {rank for _, rank in ranks["video-watch"][1:]} == {2, 4}
    assert [name for name, _ in ranks["news-click"]] == ["fgm", "pgd", "freelb", "trades", "fgm", "standard"]
    assert [rank for _, rank in ranks["news-click"]] == [1, 2, 2, 2, 2, 6]


def test_a_p_of_the_level_is_told_apart(same: Path) -> None:
    at = rows(same)
    (line,) = paired(at["standard"].records, at["standard"].records, [CLEAN])
    assert line.p == 1.0
    assert replace(line, p=LEVEL).told_apart
    assert not replace(line, p=LEVEL + 0.001).told_apart
    assert not replace(line, p=0.0, seeds=(0, 1)).told_apart


def test_ranges_of_ranks_are_those_of_the_draws_of_the_board() -> None:
    found = [made(name, value) for name, value in (("a", 0.62), ("b", 0.6), ("c", 0.58), ("d", 0.3))]
    ranges = rank_ranges(found, [STUFFING] * 4)
    bits = [bits for row in found if (bits := outcomes(row, STUFFING)) is not None]
    draws = resampled_means(np.stack(bits, axis=2))
    ranks = 1 + (draws[:, None, :] > draws[:, :, None]).sum(axis=2)
    for place, own in enumerate(ranges):
        assert own.low == np.sort(ranks[:, place])[49]
        assert own.high == np.sort(ranks[:, place])[1950]
    assert sum(own.best for own in ranges) == pytest.approx(1)
    assert ranges[3] == RankRange(4, 4, 0.0)
    assert ranges[0].best > ranges[1].best > ranges[2].best > 0


def test_rows_that_are_equal_in_every_outcome_share_the_better_rank() -> None:
    row = made("a", 0.6)
    ranges = rank_ranges([row, [renamed(record, "b") for record in row], made("c", 0.2)], [STUFFING] * 3)
    assert ranges == (RankRange(1, 1, 0.5), RankRange(1, 1, 0.5), RankRange(3, 3, 0.0))


def test_a_row_of_other_seeds_may_stand_on_either_side() -> None:
    found = [made("a", 0.6), made("b", 0.3), made("c", 0.5, (5, 6, 7))]
    assert rank_ranges(found, [STUFFING] * 3) == (
        RankRange(1, 2, 0.5),
        RankRange(2, 3, 0.0),
        RankRange(1, 3, pytest.approx(1 / 3)),
    )


def test_every_ranked_row_of_the_release_has_a_range(release: Board) -> None:
    for table in release.tables:
        ranked = [row for row in table.rows if row.rank is not None]
        assert all((row.rank_range is not None) == (row in ranked) for row in table.rows)
        ranges = [row.rank_range for row in ranked if row.rank_range is not None]
        assert sum(place.best for place in ranges) == pytest.approx(1)  # all have the same seeds
        assert all(1 <= place.low <= place.high <= len(ranked) for place in ranges)


def test_the_pairs_that_the_documentation_counts_as_told_apart_are_those_of_the_release(release: Board) -> None:
    written = json.loads(simulation().FILE.read_text())["release"]
    assert written == [simulation().separated(table) for table in release.tables if table.ranked]
    assert sum(own["by_ranks"] for own in written) > sum(own["by_intervals"] for own in written)
