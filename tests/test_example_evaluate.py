"""The example of a model evaluated as an object, without files, registration or a sweep."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from example_wheel import EXAMPLES
from tiny_task import write_task
from toy_recommender import ToyRecommender, make_catalog

import recgauntlet
from recgauntlet import RecGauntletError, RunRecord
from recgauntlet.cli import cli
from recgauntlet.records.io import write_record
from recgauntlet.records.validate import check_record


@pytest.fixture
def card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tmp_path / "cache"))
    return str(write_task(tmp_path / "task"))


def test_the_example_prints_the_summary_of_its_model(card: str, capsys: pytest.CaptureFixture[str]) -> None:
    runpy.run_path(str(EXAMPLES / "evaluate.py"))["main"](card, "standard", steps=20)
    out = capsys.readouterr().out
    assert out.startswith("tiny (standard) / NRMS / undefended / seed 0")
    for words in ("clean accuracy", "medium", "sanity gates"):
        assert words in out


@pytest.mark.slow
def test_an_object_of_an_unregistered_class_gives_a_whole_record(
    card: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recgauntlet.load_data(card)
    torch.manual_seed(0)
    model, twin = ToyRecommender(data.catalog), ToyRecommender(data.catalog)
    first = recgauntlet.evaluate(model, card, seed=3, twin=twin, defense="mine", device="cpu")
    check_record(first)
    assert (first.status, first.model.name, first.defense.name, first.seed) == ("ok", "ToyRecommender", "mine", 3)
    assert first.task.data_fingerprint == data.fingerprint
    assert any(attack.name == "transfer" for t in first.threats for tier in t.tiers for attack in tier.attacks)
    write_record(first, tmp_path / "record.json")
    first.summary()
    assert capsys.readouterr().out == CliRunner().invoke(cli, ["show", str(tmp_path / "record.json")]).output
    again = recgauntlet.evaluate(model, card, seed=3, twin=twin, defense="mine", device="cpu")
    assert outcomes(again) == outcomes(first)


def test_a_model_of_another_catalog_is_refused(card: str) -> None:
    with pytest.raises(RecGauntletError, match="load_data"):
        recgauntlet.evaluate(ToyRecommender(make_catalog(7)), card)
    with pytest.raises(RecGauntletError, match="not a Recommender"):
        recgauntlet.evaluate(torch.nn.Linear(2, 1), card)  # type: ignore[arg-type]


def outcomes(record: RunRecord) -> list[str]:
    return [a.broken.data for t in record.threats for tier in t.tiers for a in tier.attacks] + [
        ranking.scores.data for ranking in record.ranking
    ]
