"""The script that reproduces two effects of the literature, on a tiny task and on made-up records."""

from __future__ import annotations

import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from scripts import loaded
from synthetic_records import failed_gate, make_record
from tiny_task import write_task

SMALL = ["bpr-mf.size=16", "sasrec.size=8", "sasrec.blocks=1"]


@pytest.fixture(scope="module")
def script() -> ModuleType:
    return loaded("tools/reproduce_effects.py")


def test_gains_are_differences_of_the_same_lists_on_common_seeds(script: ModuleType) -> None:
    made = [make_record(model="bpr-mf", seed=seed) for seed in (0, 1, 2)]
    made += [make_record(model="bpr-mf", defense="apr", clean=0.9, seed=seed) for seed in (1, 2)]
    found = script.effects(made, "stuffing")
    plain, apr = found["ranking"]
    assert (plain["defense"], apr["defense"]) == ("standard", "apr")
    assert (plain["seeds"], apr["seeds"]) == ([0, 1, 2], [1, 2])
    assert set(plain["ndcg10_gain"].values()) == {0.0}
    # by hand: nDCG@10 and AUC of each record
    each = [script.DecodedRecord(record) for record in made]
    by_hand = np.mean([each[3].ndcg10 - each[1].ndcg10, each[4].ndcg10 - each[2].ndcg10])
    assert apr["ndcg10_gain"]["value"] == pytest.approx(by_hand)
    assert apr["ndcg10_gain"]["low"] < by_hand < apr["ndcg10_gain"]["high"]
    assert apr["ndcg10"] == pytest.approx(np.mean([own.ndcg10.mean() for own in each[3:]]))
    assert found["substitution"] == []


def test_attacked_lists_are_read_in_the_order_of_the_defenses(script: ModuleType) -> None:
    made = [
        make_record(
            model="sasrec",
            defense=defense,
            threats={"swap": (0.6, 0.5, 0.4)},
            further=True,
            gates=(failed_gate(),) if defense == "mixed-items" else (),
        )
        for defense in ("mixed-items", "standard", "fgm")
    ]
    plain, mixed = script.effects(made, "swap")["substitution"]
    assert (plain["defense"], mixed["defense"]) == ("standard", "mixed-items")
    assert 0 <= plain["ndcg10_after"]["low"] <= plain["ndcg10_after"]["value"] <= 1
    assert plain["failed_checks"] == []
    assert mixed["failed_checks"] == [failed_gate().name]
    assert plain["robust_accuracy"]["value"] == pytest.approx(0.5, abs=0.01)


@pytest.mark.slow
def test_the_script_runs_the_shipped_command_and_reads_its_records(
    script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tmp_path / "cache"))
    options = [word for option in SMALL for word in ("--model-option", option)]
    arguments = ["--task", str(write_task(tmp_path / "task")), "--pairs", "0", *options]
    file = tmp_path / "effects.json"
    assert script.main(["--out", str(tmp_path / "out"), "--to", str(file), *arguments]) == 0
    found = json.loads(file.read_text())
    assert [own["defense"] for own in found["ranking"]] == ["standard", "apr"]
    defenses = [own["defense"] for own in found["substitution"]]
    assert defenses == ["standard", "dirichlet-neighborhood", "mixed-items", "discrete"]
    for own in found["substitution"]:
        assert own["ndcg10_after"]["value"] <= own["ndcg10_before"]["value"]
