"""Text searches beside textattack's: the same transformations, rules, query limit, model, examples and evaluator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from bench_figures import Figure, release
from bench_subject import WORKPLACE, Subject
from bench_text_peers import INSTALLED, Attacker, characters_search, words_search
from bench_timing import side_by_side

from recgauntlet.attacks.suite import attacks_for, suite_ref
from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.robustness import run_attack
from recgauntlet.evaluation.setup import Trial, is_right, score_in_chunks
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.verifier import verify

PAIRS, RACED = 150, 120
"""Pairs that strength is measured on, and examples of them that are raced: textattack takes its time."""
SEARCHES: dict[str, tuple[str, str, Callable[..., Attacker]]] = {
    "word-query": ("words alone", "TextFooler-like", words_search),
    "character-swap": ("words and characters", "DeepWordBug-like", characters_search),
}
"""By our attack's name: what the budget allows, and the search of textattack that it is compared with."""
pytestmark = [pytest.mark.measures, pytest.mark.timeout(7200), pytest.mark.filterwarnings("ignore")]


@pytest.mark.parametrize("name", SEARCHES)
def test_a_text_search_is_as_strong_as_textattack_and_faster(
    name: str, subject: Subject, benchmark: Any, book: Callable[[Figure], None]
) -> None:
    allowed, likeness, search = SEARCHES[name]
    strength = f"robust accuracy of {name} less that of textattack's {likeness} search"
    speed = f"examples a second of {name} over textattack's {likeness} search"
    threats = [threat for threat in subject.cell.task.card.threats if threat.surface == "candidate-text"]
    if not INSTALLED or not threats:
        for figure in (strength, speed):
            book(
                Figure(figure, None, "the task has no threat on texts" if INSTALLED else "textattack is not installed")
            )
        pytest.skip("textattack is not installed")
    trial = subject.trial(PAIRS)
    budget = Budget.of(threats[0], "standard")
    budget = replace(budget, characters=0) if allowed == "words alone" else budget
    attack = next(attack for attack in attacks_for(threats[0]) if attack.name == name)
    attacker = search(trial, budget, WORKPLACE)
    index = torch.nonzero(trial.right).squeeze(1)

    def ours(examples: torch.Tensor) -> torch.Tensor:
        found = run_attack(trial, attack, budget, examples, Randomness(0, "benchmark"))
        assert not found.error
        return found.broken

    def theirs(examples: torch.Tensor) -> torch.Tensor:
        return judged(trial, budget, examples, attacker)

    broken, peer_broken = ours(index), theirs(index)
    robust, peer_robust = (int((~b).sum()) / len(trial.batch) for b in (broken, peer_broken))
    peer = f"textattack {release('textattack')}"
    book(
        Figure(
            strength,
            robust - peer_robust,
            f"{name} {robust:.1%}, {peer} {peer_robust:.1%}, clean {len(index) / len(trial.batch):.1%} of "
            f"{len(trial.batch)}; {budget.amount:g} words, {budget.characters} characters, {budget.queries} queries",
            at_most=0.0,
            subject=subject.name,
            suite=suite_ref().id,
        )
    )
    raced = index[:RACED]
    sides = side_by_side(benchmark, lambda: theirs(raced), lambda: ours(raced), rounds=3)
    book(
        Figure(
            speed,
            sides.ratio,
            f"{len(raced) / sides.second:.1f} a second against {len(raced) / sides.first:.1f}",
            at_least=10.0,
            subject=subject.name,
            suite=suite_ref().id,
        )
    )
    assert robust <= peer_robust, f"{name} leaves {robust:.4f} where textattack leaves {peer_robust:.4f}"


def judged(trial: Trial, budget: Budget, examples: torch.Tensor, attacker: Attacker) -> torch.Tensor:
    """`[n]`: which examples a search broke, verified and scored as `run_attack` does for ours."""
    batch = trial.batch.select(examples)
    perturbed = attacker(batch)
    legal = verify(trial.world, trial.scale, budget, batch, perturbed).legal
    return legal & ~is_right(score_in_chunks(trial.model, perturbed), batch)
