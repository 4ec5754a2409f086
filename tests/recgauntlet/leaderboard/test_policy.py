"""A defense that refuses inputs as such is reported as a policy: in a column of its own, and unranked there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import ClassVar

import pytest
from board import render_records
from page_reader import Element, read_page
from synthetic_records import make_record

from recgauntlet.core.plugins import Plugin
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import Row
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import Gate, RunRecord
from recgauntlet.training.defense import Defense

STATEMENT = "refuses edited titles"


def refusal(lost: float, threat: str = "stuffing", name: str = "edits-are-not-refused") -> Gate:
    return Gate(name=name, threat=threat, passed=lost <= 0.25, value=lost, limit=0.25, explanation="lost")


def refusing(seed: int, statement: str = STATEMENT, *gates: Gate) -> RunRecord:
    record = make_record(defense="refuse", seed=seed, gates=gates or (refusal(0.9),))
    stated = record.defense.model_copy(update={"policy": statement})
    return record.model_copy(update={"defense": stated}).sealed()


def row_of(*records: RunRecord) -> Row:
    (table,) = build_table([*(make_record(seed=seed) for seed in range(3)), *records])
    return next(row for row in table.rows if row.defense.name == "refuse")


def test_a_record_carries_what_the_class_states() -> None:
    class Refusing(Defense):
        """A defense."""

        policy: ClassVar[str] = STATEMENT

    stated = PluginRef.of(Plugin("refuse", Refusing, "mine", "1"), {})
    assert stated.policy == STATEMENT
    assert json.loads(stated.model_dump_json())["policy"] == STATEMENT
    silent = PluginRef.of(Plugin("none", Defense, "mine", "1"), {})
    assert "policy" not in json.loads(silent.model_dump_json())


def test_what_a_policy_keeps_is_no_robustness() -> None:
    records = [refusing(seed, STATEMENT, refusal(lost)) for seed, lost in enumerate((0.8, 0.9, 1.0))]
    row = row_of(*records)
    assert row.policy is not None
    assert row.policy.harmless == pytest.approx(0.1)
    tiers = [record.tier("stuffing", "standard") for record in records]
    kept = sum(float(tier.robust.to_bool().mean()) for tier in tiers if tier) / 3
    assert row.policy.kept.value == pytest.approx(kept)
    assert row.at("stuffing") is None
    assert row.at("embedding") is not None
    assert row.worst is None
    assert row.rank is None
    assert [flag.kind for flag in row.flags] == ["policy"]
    assert row.flags[0].blocks_rank


def test_a_policy_that_is_not_stated_is_a_failed_check() -> None:
    row = row_of(*(refusing(seed, "") for seed in range(3)))
    assert row.policy is None
    assert row.at("stuffing") is not None
    assert [flag.kind for flag in row.flags] == ["failed-gate"]


def test_a_stated_policy_excuses_no_other_check_and_no_other_threat() -> None:
    gates = (refusal(0.9), refusal(0.9, name="deterministic"), refusal(0.9, "embedding"))
    row = row_of(*(refusing(seed, STATEMENT, *gates) for seed in range(3)))
    titles = {flag.title for flag in row.flags}
    assert titles == {
        f"policy: {STATEMENT}",
        "failed check: deterministic under stuffing",
        "failed check: edits-are-not-refused under embedding",
    }


def test_the_page_shows_a_policy_in_its_own_column_and_as_text(tmp_path: Path) -> None:
    records = [make_record(), refusing(0, "refuses <script>alert(1)</script>")]
    files = render_records(tmp_path, records)
    assert b"<script>alert(1)" not in files["tasks/shop-standard.html"]
    board = read_page(files["tasks/shop-standard.html"]).all("table", class_="board")[0]
    found = {}
    for row in board.all("tbody")[0].all("tr"):
        cells = [child for child in row.children if isinstance(child, Element)]
        name = " ".join(cells[1].text().split())
        found[name] = {cell.attributes.get("data-label", ""): cell.text() for cell in cells}
    label = next(label for label in found["nrms + refuse"] if label.startswith("Policy"))
    assert found["nrms + refuse"][label].startswith("10.0")
    assert "refuses <script>" in found["nrms + refuse"][label]
    assert found["nrms + undefended"][label] == "none"
    assert found["nrms + refuse"]["stuffing, medium, ranked"] == "policy"


def test_a_page_without_policies_has_no_such_column(tmp_path: Path) -> None:
    files = render_records(tmp_path, [make_record(), make_record(defense="pgd")])
    heads = read_page(files["tasks/shop-standard.html"]).all("table", class_="board")[0].all("thead")[0].all("th")
    assert not any("Policy" in head.text() for head in heads)


@pytest.mark.parametrize("passed", [True, False])
def test_examples_that_a_check_lists_stand_in_the_flag(passed: bool) -> None:
    gate = Gate(
        name="changes-are-felt", threat="stuffing", passed=passed, value=1, limit=0.5, explanation="x", examples=(3, 8)
    )
    (table,) = build_table([make_record(gates=(gate,), seed=seed) for seed in range(3)])
    (flag,) = table.rows[0].flags
    assert "Test examples of seed 1: 3, 8." in flag.explanation
    assert flag.blocks_rank is not passed
