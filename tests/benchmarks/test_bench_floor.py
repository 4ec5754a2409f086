"""PGD against its floor: twenty bare forward and input-gradient passes of the same model on the same inputs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from bench_figures import Book
from bench_subject import Subject, untrained_subject
from bench_timing import side_by_side

from recgauntlet.attacks.embedding.pgd import PGD
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.setup import Trial
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.victim import Victim

STEPS = 20
MODELS: dict[str, tuple[dict[str, int], int]] = {
    "nrms": ({}, 250),
    "bert": ({"layers": 2}, 8),
}
"""Options of the model, and pairs."""


def bare_passes(trial: Trial, subject: Subject) -> Callable[[], None]:
    """Twenty passes of the model alone: users encoded, candidates looked up, nothing counted and nothing moved."""
    batch, model = trial.batch, subject.model
    with torch.no_grad():
        state = model.encode_user(batch.users).select(batch.rows)
        candidates = model.candidates(batch.items)
        embedded = model.embed(candidates)

    def run() -> None:
        for _ in range(STEPS):
            handle = embedded.detach().requires_grad_(True)
            torch.autograd.grad(model.score(state, candidates, handle).sum(), handle)

    return run


@pytest.mark.parametrize("model", MODELS)
def test_pgd_costs_little_more_than_its_gradients(model: str, book: Book) -> None:
    options, pairs = MODELS[model]
    subject = untrained_subject(model, options)
    trial = subject.trial(pairs)
    budget = Budget.of(subject.threat("embedding"), "standard")
    attack = PGD(steps=STEPS, restarts=0, stop_when_fallen=False)
    victim = Victim(trial.model, trial.world, trial.scale, trial.batch)

    def ours() -> None:
        victim.reset(None)
        attack.perturb(victim, trial.batch, budget, Randomness(0, "benchmark"))

    sides = side_by_side(ours, bare_passes(trial, subject), rounds=9 if model == "nrms" else 3)
    assert victim.effort.backwards == STEPS * len(trial.batch)
    book(
        "attacks",
        f"PGD-{STEPS} ÷ floor, {model}",
        sides.ratio,
        f"{sides.first:.2f} s against {sides.second:.2f} s for {len(trial.batch)} examples",
        at_most=1.2,
        subject=f"{model}, untrained, {subject.cell.spec.task_id} ({subject.cell.spec.track})",
    )


def test_early_exit_saves_time(subject: Subject, book: Book) -> None:
    trial = subject.trial()
    batch = trial.batch.select(torch.nonzero(trial.right).squeeze(1))
    budget = Budget.of(subject.threat("embedding"), "standard")
    victim = Victim(trial.model, trial.world, trial.scale, trial.batch)

    def run(*, stop: bool) -> int:
        victim.reset(None)
        attack = PGD(steps=STEPS, restarts=0, stop_when_fallen=stop)
        attack.perturb(victim, batch, budget, Randomness(0, "benchmark"))
        return victim.effort.backwards

    saved = 1 - run(stop=True) / run(stop=False)
    sides = side_by_side(lambda: run(stop=True), lambda: run(stop=False))
    book(
        "attacks",
        f"PGD-{STEPS} with early exit ÷ without",
        sides.ratio,
        f"{saved:.0%} of the gradients saved on {len(batch)} examples, standard tier",
        subject=subject.name,
    )
