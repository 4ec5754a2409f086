"""The examples of plugins: built as a stranger would build them, found by their entry points, and run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from example_wheel import EXAMPLES, unpacked_wheel
from toy_fixtures import batch as batch
from toy_fixtures import model as model
from toy_fixtures import run as run
from toy_fixtures import victim as victim
from toy_fixtures import world as world
from toy_problem import at, toy_batch, toy_model
from toy_recommender import Run, embedding_threat

from recgauntlet import Attack, Budget, Defense, Randomness, Victim
from recgauntlet.attacks.base import find_attack
from recgauntlet.attacks.embedding.pgd import FGM
from recgauntlet.cli import cli
from recgauntlet.core import plugins as registry
from recgauntlet.core.card import TIERS
from recgauntlet.threats.verifier import verify
from recgauntlet.training.defense import find_defense
from recgauntlet.training.trainer import AdamWTrainer


@pytest.fixture(scope="module", autouse=True)
def installed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Wheels of both examples, built and unpacked as pip would leave them."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("attack-plugin", "defense-plugin"):
            patch.syspath_prepend(unpacked_wheel(EXAMPLES / name, tmp_path_factory.mktemp(name)))
        registry._entries.cache_clear()
        yield
    registry._entries.cache_clear()
    for name in ("patient_ascent", "embedding_noise"):
        sys.modules.pop(name, None)


@pytest.fixture
def attack() -> type[Attack]:
    found: type[Attack] = find_attack("patient-ascent").value
    return found


@pytest.fixture
def defense() -> type[Defense]:
    found: type[Defense] = find_defense("embedding-noise").value
    return found


@pytest.mark.parametrize(("kind", "name"), [("attacks", "patient-ascent"), ("defenses", "embedding-noise")])
def test_the_command_line_lists_an_installed_example(kind: str, name: str) -> None:
    listed = CliRunner().invoke(cli, ["list", kind], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert name in listed.output
    assert f"recgauntlet-{name} 1.0" in listed.output


def test_a_run_plans_the_installed_defense_and_its_undefended_twin(tmp_path: Path) -> None:
    command = ["run", "--task", "video-watch", "--defense", "embedding-noise", "--out", str(tmp_path), "--dry-run"]
    planned = CliRunner().invoke(cli, command, env={"COLUMNS": "200"}, catch_exceptions=False)
    assert planned.exit_code == 0
    assert "Plan: 2 cells" in planned.output


def test_inputs_of_the_attack_are_legal_and_worse_than_one_step(attack: type[Attack], victim: Victim, run: Run) -> None:
    for tier in TIERS:
        budget = Budget.of(embedding_threat(queries=30), tier)
        found, patient = run(attack(), budget)
        assert verify(victim.world, victim.scale, budget, victim.clean, found).legal.all()
        assert patient.mean() > run(FGM(), budget)[1].mean()


def test_more_queries_do_more_damage_and_one_is_the_clean_input(attack: type[Attack], victim: Victim, run: Run) -> None:
    budget = Budget.of(embedding_threat(), "standard")
    done = [float(run(attack(), replace(budget, queries=queries))[1].mean()) for queries in (1, 3, 30)]
    assert done == sorted(done)
    assert done[0] == pytest.approx(float(((1 - 2 * victim.clean.labels) * victim.scores(victim.clean)).mean()))


def test_the_attack_supports_the_l2_ball_alone(attack: type[Attack]) -> None:
    assert attack().supports(Budget.of(embedding_threat("l2"), "low"))
    assert not attack().supports(Budget.of(embedding_threat("linf"), "low"))


def test_hyperparameters_are_the_constructors_arguments(attack: type[Attack], defense: type[Defense]) -> None:
    assert attack(shrink=0.5).hyperparameters() == {"shrink": 0.5}
    assert defense(sigma=0.1).hyperparameters() == {"sigma": 0.1}


def test_a_step_of_the_defense_trains_the_model(defense: type[Defense]) -> None:
    model = toy_model()
    before = model.words.weight.detach().clone()
    loss = AdamWTrainer(model, 4, Randomness(0, "test"), "fp32").advance(defense(), toy_batch())
    assert np.isfinite(loss)
    assert not torch.equal(before, model.words.weight.detach())


def loss_at(defense: Defense, step: int) -> float:
    return defense.training_loss(toy_model(), toy_batch(), at(0.5, step)).item()


def test_noise_moves_the_loss_and_no_noise_is_plain_training(defense: type[Defense]) -> None:
    plain = loss_at(Defense(), 0)
    assert loss_at(defense(sigma=0.0), 0) == pytest.approx(plain)
    assert loss_at(defense(), 0) != pytest.approx(plain)


def test_noise_is_the_same_for_one_step_and_another_for_the_next(defense: type[Defense]) -> None:
    assert loss_at(defense(), 0) == loss_at(defense(), 0) != loss_at(defense(), 1)
