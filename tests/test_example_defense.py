"""The example of a defense plugin: built as a stranger would build it, found by its entry point, and trained with."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from example_wheel import EXAMPLES, unpacked_wheel

from recgauntlet import Batch, Catalog, Defense, Pairs, Randomness, TrainingContext
from recgauntlet.cli import cli
from recgauntlet.core import plugins as registry
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.training.defense import find_defense
from recgauntlet.training.trainer import AdamWTrainer
from recgauntlet_baselines.models.nrms import NRMS

EXAMPLE = EXAMPLES / "defense-plugin"


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return unpacked_wheel(EXAMPLE, tmp_path_factory.mktemp("example"))


@pytest.fixture
def installed(unpacked: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[type[Defense]]:
    """The defense, found by its name."""
    monkeypatch.syspath_prepend(unpacked)
    registry._entries.cache_clear()
    found: type[Defense] = find_defense("embedding-noise").value
    yield found
    registry._entries.cache_clear()
    sys.modules.pop("embedding_noise", None)


@pytest.fixture
def model() -> NRMS:
    torch.manual_seed(0)
    catalog = Catalog(
        tuple(f"item{n}" for n in range(8)),
        tuple(f"{colour} {thing}" for colour in ("red", "green", "blue", "white") for thing in ("lamp", "chair")),
        ("",) * 8,
    )
    return NRMS(catalog, token_length=8, word_size=8, heads=2, head_size=4, attention_size=8, dropout=0.0)


@pytest.fixture
def batch() -> Batch:
    numbers = np.arange(8)
    return pairs_to_batch(
        Pairs(numbers, np.stack([numbers, (numbers + 2) % 8], 1), (numbers + 4) % 8, numbers), numbers
    )


def loss_at(defense: Defense, model: NRMS, batch: Batch, step: int) -> float:
    return float(defense.training_loss(model, batch, TrainingContext(step, 0.5, Randomness(0, "test"))).detach())


def test_the_command_line_lists_and_plans_the_installed_example(installed: type[Defense], tmp_path: Path) -> None:
    listed = CliRunner().invoke(cli, ["list", "defenses"], env={"COLUMNS": "200"}, catch_exceptions=False)
    assert "embedding-noise" in listed.output
    assert "recgauntlet-embedding-noise 1.0" in listed.output
    command = ["run", "--task", "video-watch", "--defense", "embedding-noise", "--out", str(tmp_path), "--dry-run"]
    planned = CliRunner().invoke(cli, command, env={"COLUMNS": "200"}, catch_exceptions=False)
    assert planned.exit_code == 0
    assert "Plan: 2 cells" in planned.output  # the defended cell and its undefended twin


def test_its_hyperparameters_are_the_constructors_arguments(installed: type[Defense]) -> None:
    assert installed(sigma=0.1).hyperparameters() == {"sigma": 0.1}


def test_a_step_trains_the_model(installed: type[Defense], model: NRMS, batch: Batch) -> None:
    before = model.words.weight.detach().clone()
    loss = AdamWTrainer(model, 4, Randomness(0, "test"), "fp32").advance(installed(), batch)
    assert np.isfinite(loss)
    assert not torch.equal(before, model.words.weight.detach())


def test_noise_moves_the_loss_and_no_noise_is_plain_training(
    installed: type[Defense], model: NRMS, batch: Batch
) -> None:
    plain = loss_at(Defense(), model, batch, 0)
    assert loss_at(installed(sigma=0.0), model, batch, 0) == pytest.approx(plain)
    assert loss_at(installed(), model, batch, 0) != pytest.approx(plain)


def test_noise_is_the_same_for_one_step_and_another_for_the_next(
    installed: type[Defense], model: NRMS, batch: Batch
) -> None:
    first = loss_at(installed(), model, batch, 0)
    assert loss_at(installed(), model, batch, 0) == first
    assert loss_at(installed(), model, batch, 1) != first
