from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_problem import at, loss_of, toy_batch, toy_model
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch, Candidates, UserState
from recgauntlet_baselines.defenses import mixup
from recgauntlet_baselines.defenses.mixup import Mixup, next_of_user
from recgauntlet_baselines.defenses.standard import Standard


def draw_always(monkeypatch: pytest.MonkeyPatch, value: float) -> None:
    monkeypatch.setattr(mixup, "uniform", lambda context, ids, width: torch.full((len(ids), width), value))


class Watched(ToyRecommender):
    """Keeps what it is asked to score, and the labels that the loss is taken against."""

    asked: list[tuple[Candidates, Tensor]]
    labels: Tensor

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if embeddings is not None:
            self.asked.append((candidates, embeddings.detach()))
        return super().score(user, candidates, embeddings)

    def click_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        self.labels = batch.labels
        return super().click_loss(scores, batch)


def test_the_partner_is_the_next_candidate_of_the_same_user() -> None:
    assert next_of_user(torch.tensor([0, 0, 1, 1])).tolist() == [1, 0, 3, 2]
    assert next_of_user(torch.tensor([2, 0, 2, 1, 2])).tolist() == [2, 1, 4, 3, 0]
    assert next_of_user(torch.tensor([7, 7, 7])).tolist() == [1, 2, 0]
    assert next_of_user(torch.tensor([4])).tolist() == [0]


def test_at_one_half_a_pair_becomes_its_mean_with_the_label_one_half(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_always(monkeypatch, 0.5)
    batch = toy_batch()
    model = Watched(toy_model().catalog)
    model.asked = []
    Mixup(alpha=0.4).training_loss(model, batch, at(0.5))
    ((candidates, mixed),) = model.asked
    torch.testing.assert_close(model.labels, torch.full((len(batch),), 0.5))
    plain = model.candidates(batch.items)
    real = model.embed(plain).detach() * plain.tokens.mask.unsqueeze(-1)
    torch.testing.assert_close(mixed[0], (real[0] + real[1]) / 2)
    lengths = plain.tokens.mask.sum(dim=1)
    assert (lengths[0::2] != lengths[1::2]).any(), "the masks must differ for this test to mean anything"
    longer = torch.maximum(lengths[0::2], lengths[1::2]).repeat_interleave(2)
    assert candidates.tokens.mask.sum(dim=1).tolist() == longer.tolist()


def test_a_weight_of_one_is_plain_training(monkeypatch: pytest.MonkeyPatch) -> None:
    draw_always(monkeypatch, 1.0)
    model, batch = toy_model(), toy_batch()
    assert loss_of(Mixup(), model, batch) == pytest.approx(loss_of(Standard(), model, batch), rel=1e-5)


def test_weights_have_the_variance_of_the_beta_distribution_and_differ_between_examples() -> None:
    model, batch = Watched(toy_model().catalog), toy_batch(users=600)
    model.asked = []
    Mixup(alpha=0.5).training_loss(model, batch, at(0.5))
    weights = torch.where(batch.labels > 0.5, model.labels, 1 - model.labels)
    assert float(weights.mean()) == pytest.approx(0.5, abs=0.05)
    assert float(weights.var()) == pytest.approx(1 / (4 * (2 * 0.5 + 1)), abs=0.02)


def test_what_an_example_draws_depends_on_its_id_and_the_step() -> None:
    model, batch = Watched(toy_model().catalog), toy_batch()
    model.asked = []

    def labels(part: Batch, step: int) -> Tensor:
        Mixup().training_loss(model, part, at(0.5, step))
        return model.labels

    pairs = torch.tensor([6, 7, 2, 3])
    torch.testing.assert_close(labels(batch.select(pairs), 3), labels(batch, 3)[pairs])
    assert not torch.equal(labels(batch, 3), labels(batch, 4))
