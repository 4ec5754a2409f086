"""Explanations: the smallest edit turns the decision, is legal and is not larger than the one that was found."""

from __future__ import annotations

import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender, headline_threat, history_threat, train

from recgauntlet.core.card import Threat, Tier
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import Edit
from recgauntlet.evaluation.explanation import Explanation, Flip, aligned, explain, search_flip
from recgauntlet.evaluation.setup import Trial
from recgauntlet.evaluation.smallest_edit import SmallestEdit, smallest_edit
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.verifier import verify

RNG = Randomness(0, "test")


@pytest.fixture(scope="module")
def trial() -> Trial:
    data = small_data()
    torch.manual_seed(0)
    model = train(ToyRecommender(data.catalog, gain=2.0), steps=60).requires_grad_(False)
    return Trial.of(model, data, AttackerKnowledge(data.catalog))


def right(trial: Trial) -> list[int]:
    return torch.nonzero(trial.right).flatten().tolist()


def check(trial: Trial, threat: Threat, tier: Tier, example: int, found: Flip | SmallestEdit) -> None:
    """Rebuilt from its edits alone it is legal, has the score it states, and is wrong."""
    clean = trial.batch.select(torch.tensor([example]))
    inputs = threat_model(threat).rebuilt(trial.world.catalog, clean, [found.edits])
    verdict = verify(trial.world, trial.scale, Budget.of(threat, tier), clean, inputs)
    assert verdict.reasons == ("",)
    score = float(score_batch(trial.model, inputs))
    assert score == pytest.approx(found.score, abs=1e-5)
    assert (score > 0) != bool(clean.labels[0] > 0.5)


@pytest.mark.parametrize("threat", [headline_threat(), history_threat()], ids=lambda threat: threat.id)
def test_edits_turn_the_decision_and_are_legal(trial: Trial, threat: Threat) -> None:
    found: list[Explanation] = []
    for example in right(trial)[:8]:
        one = explain(trial, threat, "high", example, RNG)
        found.append(one)
        assert (one.flip is None) == (one.after is None)
        if one.flip is not None:
            assert one.smallest is not None
            assert 1 <= len(one.smallest.edits) <= len(one.flip.edits)
            for edit in (one.flip, one.smallest):
                check(trial, threat, one.tier, example, edit)
            assert one.after is not None
            assert one.after.score == pytest.approx(one.flip.score, abs=1e-5)
            assert [new for _, new in one.rows if new is not None] == list(range(len(one.after.labels)))
            same = [(a, b) for a, b in one.rows if a is not None and b is not None]
            changed = sum(one.before.labels[a] != one.after.labels[b] for a, b in same)
            assert changed == sum(edit.op == "replace" for edit in one.flip.edits)
    assert any(one.flip is not None for one in found)


def test_a_part_that_is_not_needed_is_left_out(trial: Trial) -> None:
    threat = history_threat()
    budget = Budget.of(threat, "high")
    for example in right(trial):
        flip = search_flip(trial, threat, "low", example, RNG)
        if flip is None or len(flip.edits) != 1:
            continue
        last = len([item for item in trial.batch.histories()[example].tolist() if item >= 0]) - 1
        place = 0 if flip.edits[0].at != 0 else last
        larger = tuple(sorted((*flip.edits, Edit(op="delete", at=place)), key=lambda edit: edit.at))
        found = smallest_edit(trial, budget, example, larger, RNG)
        assert found is not None
        assert len(found.edits) == 1
        assert found.is_smallest
        check(trial, threat, "high", example, found)
        return
    pytest.fail("no decision that one edit turns")


def test_what_two_edits_turn_and_no_single_one_is_proven_smallest(trial: Trial) -> None:
    threat = headline_threat()
    seen = set()
    for example in right(trial):
        found = smallest_edit(trial, Budget.of(threat, "high"), example, (), RNG)
        if found is not None:
            seen.add(len(found.edits))
            assert found.is_smallest
            check(trial, threat, "high", example, found)
        if seen == {1, 2}:
            return
    pytest.fail(f"only edits of {seen}")


def test_a_decision_that_is_wrong_already_is_not_turned(trial: Trial) -> None:
    (wrong, *_) = torch.nonzero(~trial.right).flatten().tolist()
    found = explain(trial, headline_threat(), "high", wrong, RNG)
    assert not found.right
    assert found.flip is found.smallest is found.after is None


def test_parts_before_and_after_stand_side_by_side() -> None:
    edits = (Edit(op="insert", at=1, new="x"), Edit(op="delete", at=2), Edit(op="replace", at=3, new="y"))
    assert aligned(4, edits, 4) == ((0, 0), (None, 1), (1, 2), (2, None), (3, 3))
    assert aligned(3, (Edit(op="insert", at=3, new="x"),), 3) == ((0, None), (1, 0), (2, 1), (None, 2))
    assert aligned(2, (), 2) == ((0, 0), (1, 1))
