from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
import torch
from small_data import small_data
from torch import Tensor
from toy_recommender import (
    ToyRecommender,
    embedding_threat,
    headline_threat,
    history_threat,
    stuffing_threat,
    train,
)

from recgauntlet.attacks.base import Attack
from recgauntlet.core.batch import Batch, Candidates, UserState
from recgauntlet.core.card import TIERS, Threat
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import NEW_ITEM
from recgauntlet.evaluation import robustness as evaluation
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.results import ThreatResult
from recgauntlet.evaluation.robustness import run_attack, run_threat
from recgauntlet.evaluation.setup import Trial, attackable, is_right, measure_clean
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.edits import apply_history_edits, apply_text_edits
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim

RNG = Randomness(0, "test")
Perturb = Callable[[Victim, Batch, Budget], Batch]


@pytest.fixture(scope="module")
def data() -> TaskData:
    return small_data()


@pytest.fixture(scope="module")
def world(data: TaskData) -> AttackerKnowledge:
    return AttackerKnowledge(data.catalog)


@pytest.fixture(scope="module")
def trial(data: TaskData, world: AttackerKnowledge) -> Trial:
    torch.manual_seed(0)
    return Trial.of(train(ToyRecommender(data.catalog), steps=60), data, world)


class Made(Attack):
    """An attack made of a function, for the surface of embeddings."""

    name = "made"
    surface = "embedding"

    def __init__(self, perturb: Perturb, name: str = "made") -> None:
        self._perturb = perturb
        self.label = name
        self.seen: list[list[int]] = []

    def hyperparameters(self) -> dict[str, str | int | float | bool | None]:
        return {}

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        self.seen.append(batch.example_ids.tolist())
        return self._perturb(victim, batch, budget)


def uphill(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    """A legal step of full size towards the wrong side."""
    _, gradient, _ = victim.embedding_gradient(batch)
    step = gradient * (1 - 2 * batch.labels)[:, None, None]
    norm = step.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
    return batch.with_delta(step / norm * (0.999 * budget.amount * victim.scale.norm))


def too_far(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    legal = uphill(victim, batch, budget).delta
    assert legal is not None
    return batch.with_delta(50 * legal)


def other_items(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    return replace(batch, items=(batch.items + 1) % len(victim.world.catalog))


def other_labels(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    return replace(batch, labels=1 - batch.labels)


def nothing_found(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    return batch


def crash(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    raise RuntimeError("boom")


def overdraw(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    for _ in range(budget.queries + 1):
        victim.scores(batch)
    return uphill(victim, batch, budget)


def lose_examples(victim: Victim, batch: Batch, budget: Budget) -> Batch:
    return batch.select(torch.arange(len(batch) - 1))


def standing(trial: Trial) -> torch.Tensor:
    return torch.nonzero(trial.right).squeeze(1)


def robust(outcome: ThreatResult) -> list[int]:
    return [int(tier.robust.sum()) for tier in outcome.tiers]


def only(monkeypatch: pytest.MonkeyPatch, attacks: Sequence[Attack]) -> None:
    monkeypatch.setattr(evaluation, "attacks_for", lambda threat: tuple(attacks))


def test_a_legal_step_breaks_examples(trial: Trial) -> None:
    found = run_attack(trial, Made(uphill), Budget.of(embedding_threat(), "high"), standing(trial), RNG)
    assert found.violations == 0
    assert found.error == ""
    assert int(found.broken.sum()) > 0


@pytest.mark.parametrize("lie", [too_far, other_items, other_labels])
def test_illegal_inputs_break_nothing_and_are_counted(trial: Trial, lie: Perturb) -> None:
    index = standing(trial)
    found = run_attack(trial, Made(lie), Budget.of(embedding_threat(), "standard"), index, RNG)
    assert not found.broken.any()
    assert found.violations == len(index)


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        (crash, "RuntimeError (at test_robustness.py"),
        (overdraw, "BudgetExceeded"),
        (lose_examples, "examples returned"),
    ],
)
def test_an_attack_at_fault_finds_nothing_and_says_why(trial: Trial, fault: Perturb, words: str) -> None:
    found = run_attack(trial, Made(fault), Budget.of(embedding_threat(queries=5), "high"), standing(trial), RNG)
    assert not found.broken.any()
    assert words in found.error
    assert found.violations == 0, "the unchanged input is legal"


def test_later_attacks_see_only_what_still_stands(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = Made(uphill), Made(nothing_found)
    only(monkeypatch, [first, second])
    outcome = run_threat(trial, embedding_threat(), RNG)
    ids = trial.batch.example_ids
    for level, tier in enumerate(outcome.tiers):
        broken = set(ids[torch.from_numpy(tier.attacks[0].broken)].tolist())
        assert set(second.seen[level]) == set(first.seen[level]) - broken
    assert len(first.seen[2]) < len(first.seen[0])
    assert outcome.tiers[0].attacks[0].broken.any()


def test_only_right_examples_are_attacked(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    half = replace(trial, right=trial.right & (torch.arange(len(trial.right)) < 30))
    attack = Made(nothing_found)
    only(monkeypatch, [attack])
    outcome = run_threat(half, embedding_threat(), RNG)
    assert attack.seen[0] == half.batch.example_ids[half.right].tolist()
    assert robust(outcome) == [int(half.right.sum())] * 3


def test_one_more_attack_never_raises_robust_accuracy(trial: Trial, monkeypatch: pytest.MonkeyPatch) -> None:
    rows: list[list[int]] = []
    for attacks in ([Made(nothing_found)], [Made(uphill)], [Made(uphill), Made(too_far), Made(crash), Made(uphill)]):
        only(monkeypatch, attacks)
        rows.append(robust(run_threat(trial, embedding_threat(), RNG)))
    assert all(more <= fewer for fewer, more in zip(rows[0], rows[1], strict=True))
    assert all(more <= fewer for fewer, more in zip(rows[1], rows[2], strict=True))
    assert rows[1] != rows[0]


@pytest.mark.parametrize("threat", [embedding_threat(queries=30), headline_threat(30), history_threat(30)])
def test_tiers_nest(trial: Trial, threat: Threat) -> None:
    outcome = run_threat(trial, threat, RNG)
    assert [tier.tier for tier in outcome.tiers] == list(TIERS)
    bits = [trial.right.numpy(), *(tier.robust for tier in outcome.tiers)]
    for before, after in itertools.pairwise(bits):
        assert not (after & ~before).any()
    assert bits[-1].sum() < bits[0].sum()


def test_promotion_touches_only_what_was_not_clicked(trial: Trial) -> None:
    threat = stuffing_threat(100)
    assert attackable(threat, trial.batch).tolist() == (trial.batch.labels < 0.5).tolist()
    outcome = run_threat(trial, threat, RNG)
    clicked = trial.batch.labels.numpy() > 0.5
    for tier in outcome.tiers:
        for attack in tier.attacks:
            assert not (attack.attacked & clicked).any()
        assert (tier.robust[clicked] == trial.right.numpy()[clicked]).all()


def test_a_surface_that_is_not_read_is_not_applicable(data: TaskData, world: AttackerKnowledge) -> None:
    class Blind(ToyRecommender):
        surfaces = frozenset({"candidate-text", "embedding"})

    outcome = run_threat(Trial.of(Blind(data.catalog), data, world), history_threat(), RNG)
    assert not outcome.applicable
    assert outcome.tiers == ()
    assert outcome.evidence == ()


def test_a_score_that_is_no_number_is_wrong(trial: Trial) -> None:
    batch = trial.batch.select(torch.arange(4))
    assert batch.labels.tolist() == [1, 0, 1, 0]
    nan, inf = float("nan"), float("inf")
    assert is_right(torch.tensor([nan, nan, inf, -inf]), batch).tolist() == [False] * 4
    assert is_right(torch.tensor([0.1, -0.1, 0.0, 0.0]), batch).tolist() == [True, True, False, True]


@pytest.mark.parametrize("threat", [headline_threat(60), stuffing_threat(100), history_threat(60)])
def test_evidence_rebuilds_an_input_that_fools_the_model(trial: Trial, threat: Threat) -> None:
    evidence = run_threat(trial, threat, RNG).evidence
    assert evidence, "something must have been found"
    catalog = trial.world.catalog
    for shown in evidence:
        one = trial.batch.select(torch.tensor([shown.example]))
        if threat.surface == "candidate-text":
            text = apply_text_edits(catalog.texts[int(one.items[0])], shown.edits)
            rebuilt = one.with_texts([text])
        else:
            past = apply_history_edits(one.histories()[0].tolist(), shown.edits, catalog)
            rebuilt = one.with_histories(torch.tensor([past]))
        score = score_in_chunks(trial.model, rebuilt)
        assert float(score) == pytest.approx(shown.score, rel=1e-4, abs=1e-5)
        assert not is_right(score, one).any()
        assert float(trial.scores[shown.example]) == pytest.approx(shown.clean_score)


def test_chunks_change_no_score(trial: Trial) -> None:
    torch.testing.assert_close(score_in_chunks(trial.model, trial.batch, chunk=7), trial.scores, rtol=1e-4, atol=1e-5)


def test_clean_results_hold_pairs_and_impressions(trial: Trial, data: TaskData) -> None:
    clean = measure_clean(trial, data)
    assert clean.labels.tolist() == [True, False] * len(data.test)
    assert clean.impression_sizes == (2,) * len(data.impressions)
    # the impressions of this task are its test pairs, so both ways of scoring must agree
    assert clean.impression_scores == pytest.approx(clean.scores, abs=1e-2)
    assert clean.impression_labels.tolist() == clean.labels.tolist()


def test_the_same_seed_finds_the_same(trial: Trial) -> None:
    assert strip(run_threat(trial, headline_threat(30), RNG)) == strip(run_threat(trial, headline_threat(30), RNG))


def strip(outcome: ThreatResult) -> list[tuple[str, list[bool], list[float]]]:
    return [(a.name, a.broken.tolist(), a.scores.tolist()) for tier in outcome.tiers for a in tier.attacks]


class ReadsIds(ToyRecommender):
    """Notes the items that it is asked about, and knows an edit by them."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        self.asked = getattr(self, "asked", set()) | set(candidates.items.tolist())
        return super().score(user, candidates, embeddings)


@pytest.mark.parametrize("threat", [headline_threat(), history_threat(), embedding_threat()], ids=lambda card: card.id)
def test_ids_of_candidates_are_hidden_under_text_threats_alone(
    threat: Threat, data: TaskData, world: AttackerKnowledge
) -> None:
    torch.manual_seed(0)
    trial = Trial.of(train(ReadsIds(data.catalog), steps=60), data, world)
    trial.model.asked = set()  # type: ignore[assignment]
    run_threat(trial, threat, RNG)
    hidden = threat.surface == "candidate-text"
    assert (trial.model.asked == {NEW_ITEM}) == hidden
    view = trial.under(threat)
    assert view.under(threat) is view
    assert (view.listed is trial) == hidden
    torch.testing.assert_close(view.scores, trial.scores)  # the toy does not read ids


def test_right_under_a_text_threat_is_right_with_and_without_the_id(data: TaskData, world: AttackerKnowledge) -> None:
    class KnowsBest(ToyRecommender):
        """Answers about listed candidates by their id alone."""

        def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
            read = super().score(user, candidates, embeddings)
            return torch.where(candidates.items >= 0, (candidates.items % 2).float() - 0.5 + 0 * read, read)

    torch.manual_seed(0)
    trial = Trial.of(train(KnowsBest(data.catalog), steps=60), data, world)
    view = trial.under(headline_threat())
    assert not torch.equal(view.right, trial.right)
    assert torch.equal(view.right, trial.right & is_right(view.scores, view.batch))


def test_a_model_that_reads_no_text_is_asked_by_id_under_text_threats(data: TaskData, world: AttackerKnowledge) -> None:
    class KnowsIds(ToyRecommender):
        """Has a place for listed items alone, as a model of item ids has."""

        surfaces = frozenset({"history", "embedding"})

        def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
            assert int(candidates.items.min()) >= 0
            return super().score(user, candidates, embeddings)

    trial = Trial.of(KnowsIds(data.catalog), data, world)
    assert trial.under(headline_threat()) is trial
