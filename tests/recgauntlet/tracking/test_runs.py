"""Records and tables as runs: the numbers are those of `show` and of the leaderboard, and names are safe."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest
from hostile import HOSTILE
from synthetic_records import make_record
from tracked_runs import picture, trained_record

from recgauntlet.core.names import shown
from recgauntlet.leaderboard.build import build_table
from recgauntlet.metrics.ranking import accuracy
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.ranking_quality import ranking_quality
from recgauntlet.records.schema import robust_accuracy
from recgauntlet.tracking.runs import key_of, key_of_table, part, run_of, run_of_table


def test_a_run_has_the_numbers_of_the_summary_of_its_record() -> None:
    record = trained_record()
    run = run_of(record)
    assert record.clean is not None
    assert record.cost is not None
    expected = {
        f"robust/{threat.id}/{shown('tier', tier.tier)}": robust_accuracy(tier)
        for threat in record.threats
        for tier in threat.tiers
    }
    assert len(expected) == 6
    worst = min(value for name, value in expected.items() if name.endswith("/medium"))
    expected |= {
        "clean/accuracy": accuracy(record.clean.labels.to_bool(), record.clean.scores.to_float()),
        "clean/ndcg10": ranking_quality(record.clean).ndcg10,
        "cost/flops_ratio": 2.0,
        "cost/training_seconds": record.cost.seconds,
        "worst_robust_accuracy": worst,
    }
    assert {name: run.metrics[name] for name in expected} == pytest.approx(expected)
    assert sum(name.startswith("certified/") for name in run.metrics) == 3
    assert [value for name, value in run.metrics.items() if name.startswith("check/")] == [0.0]


def test_a_run_has_epochs_options_times_and_the_file_of_its_record() -> None:
    record = trained_record()
    run = run_of(record)
    assert run.epochs == (
        (1, {"training/loss": 0.7, "training/valid_auc": 0.6}),
        (2, {"training/loss": 0.5, "training/valid_auc": 0.65}),
    )
    assert run.last_step == 2
    assert run.parameters["model.heads"] == 16
    assert run.parameters["recipe.lr"] == 0.001
    assert run.times == (1767323045.0, 1767323645.0)
    assert run.files == {"record.json": to_bytes(record)}
    assert "FAILED" in run.notes
    assert not run.failed


def test_a_failed_cell_is_a_failed_run_with_its_reason() -> None:
    run = run_of(make_record(failure="out of <b>memory</b>"))
    assert (run.failed, run.metrics) == (True, {"failed": 1.0})
    assert r"failed while training: out of \<b\>memory" in run.notes


def test_what_a_defense_keeps_by_refusing_is_not_called_robust() -> None:
    record = make_record(threats={"stuffing": (0.6, 0.5, 0.4), "swap": (0.6, 0.5, 0.4)})
    refusing = record.defense.model_copy(update={"policy": "refuses edited titles"})
    metrics = run_of(record.model_copy(update={"defense": refusing}).sealed()).metrics
    assert "robust/swap/low" in metrics
    assert not any(name.startswith("robust/stuffing") for name in metrics)
    outcome = record.tier("stuffing", "standard")
    assert outcome is not None
    assert metrics["kept_by_policy/stuffing"] == pytest.approx(robust_accuracy(outcome))


def test_the_key_changes_with_the_record_alone() -> None:
    assert key_of(trained_record()) == key_of(trained_record())
    assert key_of(trained_record(seed=1)).id != key_of(trained_record()).id
    (alone,), (both,) = (build_table([make_record(seed=n) for n in range(count)]) for count in (1, 2))
    assert key_of_table(alone).id not in {key_of_table(both).id, key_of(make_record()).id}


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_names_fit_every_tracker(text: str) -> None:
    record = trained_record(model=text, task=text)
    threats = (record.threats[0].model_copy(update={"id": text}), record.threats[1])
    changes = {"threats": threats, "certified": (), "recipe": {text: 1}, "started": text}
    run = run_of(record.model_copy(update=changes).sealed())
    assert sum(name.startswith("robust/") for name in run.metrics) == 6
    names = [run.key.task, *run.key.name.split(" "), *(word for name in run.metrics for word in name.split("/"))]
    assert all(re.fullmatch(r"[A-Za-z0-9_-]{1,80}", name) for name in names)
    assert all(re.fullmatch(r"[A-Za-z0-9_.-]{1,90}", name) for name in run.parameters)
    assert run.times is None


def test_names_that_look_alike_stay_apart() -> None:
    assert part("history-perturbation") == "history-perturbation"
    assert len({part(text) for text in ("a b", "a-b", "a/b", "", "-", "x" * 70, "x" * 71)}) == 7


def test_the_figures_of_a_table_are_a_run_of_their_own() -> None:
    (table,) = build_table([make_record(), make_record(seed=1)])
    run = run_of_table(replace(table, track="demo"), (picture(),))
    assert run.key.task == "shop-demo"
    assert "1 row from 2 records" in run.notes
    assert [found.name for found in run.pictures] == ["shop-heat-map"]
