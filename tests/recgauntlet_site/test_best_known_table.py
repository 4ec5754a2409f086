"""Best known attacks on the page: apart from the ranked numbers, computed again, and tied to a record."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from board import HOSTILE, render_records
from page_reader import read_page
from synthetic_records import make_record

from recgauntlet.leaderboard.best_known import with_best_known
from recgauntlet.leaderboard.build import build_table
from recgauntlet.records.best_known import BestKnown, Challenge, Challenged, write_best_known
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.io import read_records
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import AttackEffort, Evidence, RunRecord
from recgauntlet_site.columns import columns_of
from recgauntlet_site.render import render_site

RECORDS = [make_record(seed=seed, defense=defense) for seed in range(3) for defense in ("standard", "pgd")]


def robust_of(record: RunRecord) -> np.ndarray:
    (tiers,) = (threat.tiers for threat in record.threats if threat.id == "stuffing")
    return tiers[1].robust.to_bool()


def known_of(record: RunRecord, broken: np.ndarray, name: str = "adaptive") -> BestKnown:
    examples = np.flatnonzero(broken).tolist()
    outcome = Challenge(
        threat="stuffing",
        surface="candidate-text",
        goal="promote",
        tier="standard",
        amount=2,
        characters=0,
        queries=500,
        robust=BitColumn.of(robust_of(record)),
        attacked=BitColumn.of(np.ones_like(broken)),
        broken=BitColumn.of(broken),
        violations=0,
        effort=AttackEffort(forwards=1, backwards=0, user_encodings=0, cache_hits=0, seconds=0.1),
    )
    return BestKnown(
        challenged=Challenged.of(record),
        attack=PluginRef(name=name, distribution="critics-package", version="1.0", hyperparameters={}),
        examples="standing",
        environment=record.environment,
        started=record.started,
        finished=record.finished,
        outcomes=(outcome,),
        evidence=tuple(
            Evidence(threat="stuffing", tier="standard", attack=name, example=e, edits=(), clean_score=1, score=-1)
            for e in examples
        ),
    )


def first(bits: np.ndarray, count: int) -> np.ndarray:
    found = np.zeros_like(bits)
    found[np.flatnonzero(bits)[:count]] = True
    return found


def rendered(directory: Path, known: list[BestKnown]) -> dict[str, bytes]:
    for number, one in enumerate(known):
        write_best_known(one, directory / "best_known" / f"{number}.json")
    return render_records(directory, RECORDS)


def test_the_worst_of_all_attacks_counts_example_by_example_and_no_rank_moves(tmp_path: Path) -> None:
    record = RECORDS[1]
    robust = robust_of(record)
    one, two = first(robust, 10), first(robust, 16) & ~first(robust, 4)
    files = rendered(tmp_path / "with", [known_of(record, one), known_of(record, two, "another")])
    plain = rendered(tmp_path / "plain", [])
    (table,) = json.loads(files["leaderboard.json"])["tables"]
    (row,) = (row for row in table["rows"] if row["defense"]["name"] == "pgd")
    (cell,) = row["best_known"]
    assert cell["suite"] == pytest.approx(robust.mean())
    assert cell["best_known"] == pytest.approx((robust & ~one & ~two).mean())
    assert cell["seeds"] == [record.seed]
    assert {attack["name"]: attack["broken"] for attack in cell["attacks"]} == {"adaptive": 10, "another": 12}
    rows = json.loads(plain["leaderboard.json"])["tables"][0]["rows"]
    assert [{**row, "best_known": []} for row in table["rows"]] == rows
    assert files["leaderboard.csv"] == plain["leaderboard.csv"]
    (shown,) = read_page(files["tasks/shop-standard.html"]).all("table", class_="known")
    (line,) = shown.all("tbody")[0].all("tr")
    text = line.text()
    assert all(word in text for word in ("pgd", "stuffing", "adaptive broke 10", "critics-package 1.0"))
    assert f"{100 * robust.mean():.1f}" in text
    assert f"{100 * (robust & ~one & ~two).mean():.1f}" in text
    assert "Best known attacks" not in plain["tasks/shop-standard.html"].decode()


def test_a_file_without_its_record_is_listed_and_counts_nowhere(tmp_path: Path) -> None:
    record = RECORDS[1]
    other = record.model_copy(update={"weights_sha256": "a" * 64})
    files = rendered(tmp_path, [known_of(other, first(robust_of(record), 5))])
    assert "Best known attacks" not in files["tasks/shop-standard.html"].decode()
    page = files["index.html"].decode()
    assert "mine/best_known/0.json" in page
    assert "no record here" in page


def test_the_evidence_lies_beside_the_records_and_renders_again(tmp_path: Path) -> None:
    files = rendered(tmp_path / "one", [known_of(RECORDS[0], first(robust_of(RECORDS[0]), 5), HOSTILE)])
    assert HOSTILE not in files["tasks/shop-standard.html"].decode()
    copies = tmp_path / "copies"
    for name, content in files.items():
        (copies / name).parent.mkdir(parents=True, exist_ok=True)
        (copies / name).write_bytes(content)
    again = read_records(copies / "records")
    assert len(again.best_known) == 1
    assert dict(render_site([("mine", copies / "records", again)], cards=lambda table: None)) == files


def test_best_known_results_have_a_column_of_their_own() -> None:
    (table,) = build_table(RECORDS)
    keys = {column.key for column in columns_of(table)}
    record = next(r for r in RECORDS if r.defense.name == "pgd" and r.seed == 0)
    found = known_of(record, first(robust_of(record), 5)).sealed()
    (challenged,) = with_best_known((table,), RECORDS, [found])
    (column,) = [column for column in columns_of(challenged) if column.key not in keys]
    assert (column.head, column.note, column.shown) == ("stuffing", "best known, medium, not ranked", True)
    contents = {row.defense.name: column.content(row) for row in challenged.rows}
    robust = robust_of(record)
    assert contents["pgd"].value == f"{100 * (robust.sum() - 5) / len(robust):.1f}"
    assert contents["pgd"].more == f"1 of 3 seeds, by the suite {100 * robust.mean():.1f}"
    assert (contents["standard"].value, contents["standard"].sort) == ("not challenged", "")
