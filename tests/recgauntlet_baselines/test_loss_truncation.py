"""Loss truncation: which examples are learned from, and how the share rises."""

from __future__ import annotations

import pytest
import torch
from toy_recommender import ToyRecommender, make_batch, make_catalog

from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.training.defense import TrainingContext, model_scores
from recgauntlet_baselines.defenses.loss_truncation import LossTruncation


@pytest.fixture(scope="module")
def model() -> ToyRecommender:
    torch.manual_seed(0)
    return ToyRecommender(make_catalog(40))


@pytest.fixture(scope="module")
def batch(model: ToyRecommender) -> Batch:
    return make_batch(model.catalog, users=20, seed=5)


def at(progress: float) -> TrainingContext:
    return TrainingContext(0, progress, Randomness(0, "test"))


def test_the_least_likely_clicks_go_with_their_pairs(batch: Batch) -> None:
    scores = torch.arange(40.0)
    scores[[10, 30]] = -5.0  # two clicks
    scores[11] = -9.0  # not clicked
    kept = LossTruncation(rate=0.1, rising=0.5).kept(scores, batch, 1.0)
    assert kept.tolist() == [i for i in range(40) if i not in (10, 11, 30, 31)]
    assert batch.labels[kept].mean() == 0.5


def test_the_share_rises_with_progress_and_is_rounded_down(batch: Batch) -> None:
    defense, scores = LossTruncation(rate=0.2, rising=0.5), torch.randn(40, generator=torch.Generator().manual_seed(0))
    dropped = [40 - len(defense.kept(scores, batch, progress)) for progress in (0.0, 0.1, 0.25, 0.5, 1.0)]
    assert dropped == [0, 0, 4, 8, 8]


def test_the_loss_is_that_of_the_kept(model: ToyRecommender, batch: Batch) -> None:
    scores = model_scores(model, batch).detach()
    kept = LossTruncation(rate=0.3).kept(scores, batch, 1.0)
    each = torch.nn.functional.binary_cross_entropy_with_logits(scores, batch.labels, reduction="none")
    loss = LossTruncation(rate=0.3).training_loss(model, batch, at(1.0))
    torch.testing.assert_close(loss.detach(), each[kept].mean())
    assert len(kept) == 28
    clicked = torch.nonzero(batch.labels == 1).flatten()
    gone = ~torch.isin(clicked, kept)
    assert each[clicked[gone]].min() >= each[clicked[~gone]].max()
