"""The tables: what may be compared, every number from the outcomes, who is ranked, and why the others are
not."""

from __future__ import annotations

import random

import numpy as np
import pytest
from synthetic_records import failed_gate, make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.address import row_id
from recgauntlet.leaderboard.build import apart, build_table
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics import ranking as metrics
from recgauntlet.records.columns import FloatColumn
from recgauntlet.records.schema import Clean, RunRecord


def seeds(count: int = 3, **options: object) -> list[RunRecord]:
    return [make_record(seed=seed, **options) for seed in range(count)]  # type: ignore[arg-type]


def only(records: list[RunRecord]) -> TaskTable:
    (table,) = build_table(records)
    return table


def flag_kinds(row: Row) -> set[str]:
    return {flag.kind for flag in row.flags}


def test_a_rows_numbers_are_those_of_its_records() -> None:
    records = seeds(defense="pgd", ratio=1.5)
    row = only(records).rows[0]
    cleans = [record.clean for record in records if record.clean]
    accuracies = [metrics.accuracy(clean.labels.to_bool(), clean.scores.to_float()) for clean in cleans]
    assert row.clean.value == pytest.approx(np.mean(accuracies))
    assert row.clean_by_seed == pytest.approx(accuracies)
    for place, threat in enumerate(["stuffing", "embedding"]):
        for level, tier in enumerate(("low", "standard", "high")):
            by_seed = [record.threats[place].tiers[level].robust.to_bool().mean() for record in records]
            robust = np.mean(by_seed)
            cells = row.under(threat)
            cell = cells.at(tier) if cells else None  # type: ignore[arg-type]
            assert cell is not None
            assert cell.robust.value == pytest.approx(robust)
            assert cell.by_seed == pytest.approx(by_seed)
            assert cell.robust.low < robust < cell.robust.high
            assert cell.retained.value == pytest.approx(robust / np.mean(accuracies))
    aucs = [metrics.auc(c.impression_labels.to_bool(), c.impression_scores.to_float()) for c in cleans]
    assert row.quality.auc == pytest.approx(np.mean(aucs))
    assert row.cost.training_seconds == pytest.approx(61)
    assert row.cost.seconds_ratio == pytest.approx((1.5 * 1.51 * 1.52) ** (1 / 3))
    assert row.cost.attack_seconds == pytest.approx(6 * 1.5)
    assert row.seeds == (0, 1, 2)


def test_records_that_say_nothing_of_training_are_refused() -> None:
    records = [record.model_copy(update={"cost": None, "epochs": ()}) for record in seeds(defense="pgd")]
    with pytest.raises(RecordError, match="what training took"):
        build_table(records)


def of_source(records: list[RunRecord], source: str) -> list[RunRecord]:
    return [r.model_copy(update={"defense": r.defense.model_copy(update={"source": source})}) for r in records]


def test_records_of_two_programs_are_never_averaged_into_one_row() -> None:
    old, new = seeds(defense="pgd"), of_source([make_record(defense="pgd", seed=n) for n in (1, 2)], "a" * 64)
    (mixed,) = only(of_source(old[:1], "a" * 64) + new).rows
    assert mixed.seeds == (0, 1, 2)  # one program
    assert "other-source" not in flag_kinds(mixed)
    table = only(old + new)
    assert sorted((row.defense.source, row.seeds) for row in table.rows) == [("", (0, 1, 2)), ("a" * 64, (1, 2))]
    assert all("other-source" in flag_kinds(row) for row in table.rows)
    assert next(row for row in table.rows if not row.defense.source).clean == only(old).rows[0].clean
    assert len({row_id(table, row) for row in table.rows}) == 2


def test_the_order_of_the_records_changes_nothing() -> None:
    records = seeds() + seeds(defense="pgd", ratio=1.4) + [make_record(defense="pgd", seed=9, failure="lost")]
    tables = build_table(records)
    random.Random(1).shuffle(records)
    assert build_table(records) == tables


def test_the_interval_of_a_retained_share_knows_that_both_accuracies_go_together() -> None:
    row = only(seeds(clean=0.75, threats={"stuffing": (0.75, 0.75, 0.75)})).rows[0]
    cells = row.under("stuffing")
    assert cells is not None
    assert cells.cells[0].retained.low > 0.99
    assert cells.cells[0].robust.low < 0.74


@pytest.mark.parametrize(
    "other",
    [
        {"version": 2},
        {"fingerprint": "1" * 64},
        {"data_fingerprint": "2" * 64},
        {"suite_fingerprint": "3" * 64},
        {"track": "demo"},
        {"task": "news"},
        {"pairs": 150},
    ],
)
def test_what_may_not_be_compared_is_never_in_one_table(other: dict[str, object]) -> None:
    tables = build_table(seeds() + seeds(defense="pgd", ratio=2.0, **other))
    assert [len(table.rows) for table in tables] == [1, 1]


def test_why_two_tables_of_a_task_are_not_one_is_said_of_both() -> None:
    tables = build_table([*seeds(), *seeds(suite_fingerprint="3" * 64), *seeds(track="demo"), *seeds(task="news")])
    told = [apart(table, tables) for table in tables]
    assert [(table.task, table.track) for table in tables] == [
        ("news", "standard"),
        ("shop", "standard"),
        ("shop", "standard"),
        ("shop", "demo"),
    ]
    assert (told[0], told[3]) == ([], [])
    ((first, why),), ((second, _),) = told[2], told[1]
    assert (first, second) == (1, 2)
    assert len(why) == 1
    assert "another attack suite" in why[0]


def test_what_may_not_be_compared_shares_no_rank() -> None:
    weak = {"stuffing": (0.2, 0.1, 0.1), "embedding": (0.6, 0.5, 0.4)}
    tables = build_table(seeds() + seeds(defense="pgd", suite_fingerprint="3" * 64, threats=weak))
    assert [[row.rank for row in table.rows] for table in tables] == [[1], [1]]


@pytest.mark.parametrize(
    "other",
    [{"version": 2}, {"fingerprint": "1" * 64}, {"data_fingerprint": "2" * 64}, {"suite_fingerprint": "3" * 64}],
)
def test_a_failed_cell_of_another_ground_marks_no_row(other: dict[str, object]) -> None:
    tables = build_table([*seeds(), make_record(seed=3, failure="lost", **other)])  # type: ignore[arg-type]
    assert sorted((len(table.rows), len(table.failed)) for table in tables) == [(0, 1), (1, 0)]
    assert [flag for table in tables for row in table.rows for flag in row.flags] == []


def test_rows_are_ranked_on_the_worst_ranked_threat_and_never_on_a_diagnostic() -> None:
    table = only(
        seeds(
            defense="a",
            threats={"stuffing": (0.7, 0.7, 0.7), "tampering": (0.3, 0.3, 0.3), "embedding": (0.7, 0.7, 0.7)},
        )
        + seeds(
            defense="b", threats={"stuffing": (0.5, 0.5, 0.5), "tampering": (0.5, 0.5, 0.5), "embedding": (0, 0, 0)}
        )
    )
    assert [(row.defense.name, row.rank, row.worst) for row in table.rows] == [
        ("b", 1, "stuffing"),
        ("a", 2, "tampering"),
    ]


def test_rows_that_cannot_be_told_apart_share_a_rank() -> None:
    close = seeds() + seeds(defense="pgd", threats={"stuffing": (0.6, 0.51, 0.4), "embedding": (0.6, 0.5, 0.4)})
    far = seeds(defense="weak", threats={"stuffing": (0.2, 0.1, 0.1), "embedding": (0.6, 0.5, 0.4)})
    assert [row.rank for row in only(close + far).rows] == [1, 1, 3]


def test_a_failed_gate_keeps_a_row_visible_flagged_and_unranked() -> None:
    best = seeds(defense="masked", gates=(failed_gate("embedding"),), threats={"stuffing": (0.7, 0.7, 0.7)})
    table = only(seeds(threats={"stuffing": (0.6, 0.5, 0.4)}) + best)
    assert [(row.defense.name, row.rank) for row in table.rows] == [("standard", 1), ("masked", None)]
    (flag,) = table.rows[1].flags
    assert flag.blocks_rank
    assert flag.title == "failed check: not-constant under embedding"
    assert "cannot be attacked" in flag.explanation
    assert "seeds 0, 1, 2" in flag.explanation


def test_fewer_than_three_seeds_are_flagged_and_unranked() -> None:
    row = only(seeds(2)).rows[0]
    assert row.rank is None
    assert flag_kinds(row) == {"few-seeds"}


def test_a_row_that_misses_seeds_because_cells_failed_says_so() -> None:
    records = [*seeds(3, defense="pgd"), make_record(defense="pgd", seed=3, failure="the loss became NaN")]
    table = only(records)
    (flag,) = table.rows[0].flags
    assert (flag.kind, flag.title, flag.blocks_rank) == ("failed-cells", "seed 3 failed", False)
    assert table.rows[0].rank == 1
    assert [(cell.seed, cell.stage, cell.message) for cell in table.failed] == [(3, "training", "the loss became NaN")]


def test_a_cell_that_failed_before_its_data_was_known_stands_with_its_task() -> None:
    table = only([*seeds(), make_record(defense="pgd", failure="no such file", data_fingerprint="")])
    assert len(table.rows) == 1
    assert len(table.failed) == 1


def test_a_task_of_which_everything_failed_still_has_a_table() -> None:
    table = only([make_record(failure="out of memory")])
    assert table.rows == ()
    assert table.failed[0].message == "out of memory"


@pytest.mark.parametrize("options", [{"track": "demo"}, {"simulated": True, "track": "demo"}])
def test_demo_and_simulated_tables_are_never_ranked(options: dict[str, object]) -> None:
    table = only(seeds(**options) + seeds(defense="pgd", **options))
    assert not table.ranked
    assert [row.rank for row in table.rows] == [None, None]


def test_a_simulated_standard_track_would_not_be_ranked_either() -> None:
    assert only(seeds(simulated=True)).rows[0].rank is None


def test_a_surface_that_a_model_does_not_read_is_not_applicable_and_never_robust() -> None:
    table = only(seeds() + seeds(model="mf", threats={"stuffing": None, "embedding": (0.7, 0.7, 0.7)}))
    row = next(row for row in table.rows if row.model.name == "mf")
    cells = row.under("stuffing")
    assert cells is not None
    assert (cells.applicable, cells.cells, row.worst, row.rank) == (False, (), None, None)
    assert flag_kinds(row) == {"not-applicable"}


def test_an_unread_surface_of_a_diagnostic_does_not_matter_for_the_rank() -> None:
    row = only(seeds(threats={"stuffing": (0.6, 0.5, 0.4), "embedding": None})).rows[0]
    assert (row.rank, row.flags) == (1, ())


def test_an_attack_that_crashed_makes_the_row_unranked() -> None:
    row = only(seeds(attack_error="IndexError: list index out of range")).rows[0]
    assert row.rank is None
    assert flag_kinds(row) == {"failed-attack"}
    assert "IndexError" in row.flags[0].explanation


def test_refused_inputs_are_told_and_do_not_change_the_rank() -> None:
    row = only(seeds(violations=2)).rows[0]
    assert (row.rank, flag_kinds(row)) == (1, {"refused-inputs"})
    assert row.flags[0].title == "12 perturbed inputs refused"


def test_of_two_records_of_one_cell_the_later_finished_one_counts() -> None:
    old = make_record(seed=0, clean=0.6, threats={"stuffing": (0.5, 0.5, 0.5)}, finished="2026-01-01T00:00:00Z")
    lost = make_record(seed=0, failure="killed", finished="2026-03-01T00:00:00Z")
    records = seeds(threats={"stuffing": (0.6, 0.5, 0.4)})
    table = only([*records, old, lost])
    assert {source.digest for source in table.rows[0].sources} == {record.digest for record in records}
    assert flag_kinds(table.rows[0]) == {"several-records"}
    assert table.failed == ()


def test_a_record_given_twice_counts_once() -> None:
    assert only(seeds() + seeds()) == only(seeds())


def test_other_hyperparameters_make_another_row() -> None:
    table = only(
        seeds(defense="pgd", hyperparameters={"epsilon": 0.1}) + seeds(defense="pgd", hyperparameters={"epsilon": 0.2})
    )
    assert [row.defense.hyperparameters["epsilon"] for row in table.rows] == [0.1, 0.2]


def test_a_missing_standard_tier_is_flagged_and_unranked() -> None:
    records = seeds()
    threat = records[0].threats[0]
    cut = threat.model_copy(update={"tiers": (threat.tiers[0],)})
    records[0] = records[0].model_copy(update={"threats": (cut, *records[0].threats[1:])}).sealed()
    row = only(records).rows[0]
    assert row.rank is None
    assert flag_kinds(row) == {"missing-result"}


def test_a_model_whose_scores_are_no_numbers_stays_on_the_board() -> None:
    def broken(record: RunRecord) -> RunRecord:
        clean = record.clean
        assert isinstance(clean, Clean)
        nan = {
            "scores": FloatColumn.of(np.full(clean.scores.n, np.nan)),
            "impression_scores": FloatColumn.of(np.full(clean.impression_scores.n, np.nan)),
        }
        return record.model_copy(update={"clean": clean.model_copy(update=nan), "gates": (failed_gate(),)}).sealed()

    row = only([broken(record) for record in seeds(clean=0.0, threats={"stuffing": (0, 0, 0)})]).rows[0]
    assert (row.clean.value, row.rank) == (0.0, None)
    assert row.quality.auc == pytest.approx(0.5)
    assert row.worst_cell is not None
    assert row.worst_cell.retained.value == 0.0


def test_unranked_rows_come_last_the_undefended_twin_first() -> None:
    table = only(seeds(1) + seeds(1, defense="fgm") + seeds(3, defense="pgd"))
    assert [row.defense.name for row in table.rows] == ["pgd", "standard", "fgm"]
