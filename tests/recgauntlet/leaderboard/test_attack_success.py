"""Attack success on what was attackable: by hand, on the board, in CSV, DataFrame and paper tables."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest
from page_reader import read_page
from synthetic_records import make_record

from recgauntlet.leaderboard.address import open_board
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.dataframe import load
from recgauntlet.leaderboard.paper_table import build_paper_tables
from recgauntlet.leaderboard.selection import Selection
from recgauntlet.leaderboard.table_csv import to_csv
from recgauntlet.metrics.ranking import attack_success, correct
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.io import read_records, write_record
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.render import render_site

HALF = {"stuffing": (0.6, 0.5, 0.4), "embedding": (0.6, 0.5, 0.4)}


def test_by_hand() -> None:
    found = attack_success(np.array([0.5, 0.4, 0.0]), np.array([0.5, 0.1, 0.0]))
    assert found.tolist() == pytest.approx([0, 0.75, 0])


def promoted(seed: int, kept: int) -> RunRecord:
    """A record whose clicked right answers all stand under the promoting threat, and `kept` of the others."""
    record = make_record(seed=seed, threats=HALF)
    assert record.clean is not None
    labels = record.clean.labels.to_bool()
    right = correct(labels, record.clean.scores.to_float())
    standing = right.copy()
    standing[np.flatnonzero(right & ~labels)[kept:]] = False
    (stuffing, *rest) = record.threats
    tiers = []
    for tier in stuffing.tiers:
        (attack,) = tier.attacks
        first = tier.tier == "low"
        attacked = right if first else standing
        new = attack.model_copy(
            update={
                "attacked": BitColumn.of(attacked),
                "broken": BitColumn.of(attacked & ~standing),
                "scores": type(attack.scores).of(np.zeros(int(attacked.sum()))),
            }
        )
        tiers.append(tier.model_copy(update={"robust": BitColumn.of(standing), "attacks": (new,)}))
    threats = (stuffing.model_copy(update={"tiers": tuple(tiers)}), *rest)
    return record.model_copy(update={"threats": threats}).sealed()


def expected(records: list[RunRecord], kept: int) -> float:
    attackable = 0
    for record in records:
        assert record.clean is not None
        labels = record.clean.labels.to_bool()
        attackable += int((correct(labels, record.clean.scores.to_float()) & ~labels).sum())
    return 1 - kept * len(records) / attackable


def test_clicked_candidates_that_nobody_attacks_are_left_out(tmp_path: Path) -> None:
    records = [promoted(seed, 40) for seed in range(3)]
    (table,) = build_table(records)
    cell = table.rows[0].at("stuffing")
    assert cell is not None
    assert cell.attack_success is not None
    value = expected(records, 40)
    assert cell.attack_success.value == pytest.approx(value)
    assert cell.attack_success.low < value < cell.attack_success.high
    assert cell.robust.value > 0.4  # what reads better than it is
    under = table.rows[0].at("embedding")  # any right answer may be attacked: 1 - retained
    assert under is not None
    assert under.attack_success is not None
    assert under.attack_success.value == pytest.approx(1 - under.retained.value)
    (line,) = csv.DictReader(io.StringIO(to_csv((table,)).decode()))
    assert float(line["attack_success:stuffing:standard"]) == cell.attack_success.value
    worst = table.rows[0].worst_cell
    assert worst is not None
    assert float(line["worst_robust_accuracy"]) == worst.robust.value
    for number, record in enumerate(records):
        write_record(record, tmp_path / f"{number}.json")
    frame = load(tmp_path)
    own = frame[(frame.threat == "stuffing") & (frame.tier == "standard")].attack_success
    assert own.mean() == pytest.approx(value, abs=0.01)
    text = f"{100 * value:.1f}"
    (paper,) = build_paper_tables(open_board(tmp_path), Selection(threats=("stuffing",)), ("attack_success",))
    assert [entry.text for entry in paper.lines[0].entries] == [text]
    files = dict(render_site([("mine", tmp_path, read_records(tmp_path))], cards=lambda table: None))
    rows = [name for name in files if name.startswith("rows/")]
    for page in ("index.html", "tasks/shop-standard.html", *rows):
        shown = [part.text() for part in read_page(files[page]).all("i") if "turned" in part.text()]
        assert any(part.startswith(f"{text} % turned") for part in shown)


def test_nothing_attackable_has_no_attack_success() -> None:
    (table,) = build_table([make_record(seed=seed, clean=0.0) for seed in range(3)])
    cell = table.rows[0].at("stuffing")
    assert cell is not None
    assert cell.attack_success is None
