from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F
from toy_problem import at, gradients, problem, require_same, scores_at, toy_batch, toy_model

from recgauntlet_baselines.defenses._adversarial import Inner
from recgauntlet_baselines.defenses.mart import MART
from recgauntlet_baselines.defenses.pgd import PGD


def perturbed(inner: Inner, defense: MART) -> torch.Tensor:
    return defense.perturb(inner, scores_at(inner), defense.epsilon * inner.norm, at(1.0))


def test_the_loss_is_the_papers_for_two_classes() -> None:
    """Boosted cross-entropy and the weighted divergence as the paper writes them for K classes, with logits (0, s)."""
    model, batch = toy_model(), toy_batch()
    defense = MART(epsilon=0.4, lam=2.5, warmup=0.0)
    delta = perturbed(problem(model, batch), defense)
    state, candidates = model.encode_user(batch.users).select(batch.rows), model.candidates(batch.items)
    embedded = model.embed(candidates)
    clean, moved = (
        torch.stack([torch.zeros(len(batch)), model.score(state, candidates, embedded + d)], dim=1).softmax(dim=1)
        for d in (0.0, delta)
    )
    label = batch.labels.long().unsqueeze(1)
    true = moved.gather(1, label).squeeze(1)
    largest_other = moved.masked_fill(F.one_hot(label.squeeze(1), 2).bool(), 0.0).amax(dim=1)
    boosted = -true.log() - (1 - largest_other).log()
    divergence = (clean * (clean / moved).log()).sum(dim=1)
    by_hand = (boosted + 2.5 * divergence * (1 - clean.gather(1, label).squeeze(1))).mean()
    loss = defense.training_loss(model, batch, at(1.0))
    assert float(loss.detach()) == pytest.approx(float(by_hand.detach()), rel=1e-5)
    require_same(gradients(model, loss), gradients(model, by_hand), rtol=1e-3)


def test_what_is_misclassified_weighs_more() -> None:
    model, batch = toy_model(), toy_batch()
    defense = MART(lam=1.0)
    clean, moved = torch.full((2,), -3.0), torch.full((2,), -1.0)
    wrong, right = (batch.select(torch.tensor([row, row])) for row in (0, 1))
    assert (float(wrong.labels[0]), float(right.labels[0])) == (1.0, 0.0)
    weighed = [float(defense.loss(model, b, clean, moved) - 2 * model.click_loss(moved, b)) for b in (wrong, right)]
    chance = float(torch.sigmoid(clean[0]))
    assert weighed[0] / weighed[1] == pytest.approx((1 - chance) / chance, rel=1e-4)


def test_the_inner_problem_is_that_of_pgd_training() -> None:
    inner = problem(toy_model(), toy_batch())
    assert torch.equal(perturbed(inner, MART(epsilon=0.4, steps=2)), PGD(epsilon=0.4, steps=2).perturb(inner, 0.4))
