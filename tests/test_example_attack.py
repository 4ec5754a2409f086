"""The example of an attack plugin: built as a stranger would build it, found by its entry point, and legal."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from click.testing import CliRunner
from example_wheel import EXAMPLES, unpacked_wheel
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    make_batch,
    make_catalog,
    make_victim,
    train,
)

from recgauntlet import Attack, Batch, Budget, Randomness, Victim
from recgauntlet.attacks.base import find_attack
from recgauntlet.attacks.embedding.pgd import FGM
from recgauntlet.cli import cli
from recgauntlet.core import plugins as registry
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.verifier import verify

EXAMPLE = EXAMPLES / "attack-plugin"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(EXAMPLE, tmp_path_factory.mktemp("example"))


@pytest.fixture
def installed(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Attack]]:
    """The attack, found by its name."""
    monkeypatch.syspath_prepend(unpacked)
    registry._entries.cache_clear()
    found: type[Attack] = find_attack("patient-ascent").value
    yield found
    registry._entries.cache_clear()
    sys.modules.pop("patient_ascent", None)


@pytest.fixture(scope="module")
def victim() -> Victim:
    torch.manual_seed(0)
    world = AttackerKnowledge(make_catalog())
    return make_victim(train(ToyRecommender(world.catalog)), world, make_batch(world.catalog))


def damage(victim: Victim, attack: Attack, budget: Budget) -> tuple[Batch, torch.Tensor]:
    victim.reset(budget.queries)
    found = attack.perturb(victim, victim.clean, budget, Randomness(0, "test"))
    assert (victim.remaining(victim.clean.example_ids) >= 0).all()
    victim.reset(None)
    return found, (1 - 2 * victim.clean.labels) * victim.scores(found)


def test_the_command_line_lists_the_installed_example(installed: type[Attack]) -> None:
    listed = CliRunner().invoke(cli, ["list", "attacks"], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert "patient-ascent" in listed.output
    assert "recgauntlet-patient-ascent 1.0" in listed.output


def test_its_inputs_are_legal_and_worse_than_one_step(installed: type[Attack], victim: Victim) -> None:
    for tier in ("low", "standard", "high"):
        budget = Budget.of(embedding_threat(queries=30), tier)  # type: ignore[arg-type]
        found, patient = damage(victim, installed(), budget)
        assert verify(victim.world, victim.scale, budget, victim.clean, found).legal.all()
        _, one_step = damage(victim, FGM(), budget)
        assert patient.mean() > one_step.mean()


def test_more_queries_do_more_damage_and_one_is_the_clean_input(installed: type[Attack], victim: Victim) -> None:
    budget = Budget.of(embedding_threat(), "standard")
    done = [float(damage(victim, installed(), replace(budget, queries=queries))[1].mean()) for queries in (1, 3, 30)]
    assert done == sorted(done)
    assert done[0] == pytest.approx(float(((1 - 2 * victim.clean.labels) * victim.scores(victim.clean)).mean()))


def test_it_has_no_moves_in_another_ball_and_says_so(installed: type[Attack]) -> None:
    assert installed().supports(Budget.of(embedding_threat("l2"), "low"))
    assert not installed().supports(Budget.of(embedding_threat("linf"), "low"))
    assert installed(shrink=0.5).hyperparameters() == {"shrink": 0.5}
