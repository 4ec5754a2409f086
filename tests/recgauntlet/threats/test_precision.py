"""Searches in bfloat16: what rounding could turn is scored in full, and nothing that is kept was rounded."""

from __future__ import annotations

import pytest
import torch
from toy_recommender import ToyRecommender

from recgauntlet.core.batch import Batch
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.precision import DOUBT
from recgauntlet.threats.victim import Victim


@pytest.fixture
def pair(model: ToyRecommender, world: AttackerKnowledge, batch: Batch) -> tuple[Victim, Victim]:
    """The same model searched in full and in bfloat16, some scores of both signs among the clean ones."""
    model.requires_grad_(False)
    scale = embedding_scale(model, world.catalog)
    return Victim(model, world, scale, batch), Victim(model, world, scale, batch, half=True)


def test_scores_near_0_are_made_in_full_and_others_rounded(pair: tuple[Victim, Victim], batch: Batch) -> None:
    full, half = pair
    other = batch.with_histories(batch.histories().flip(0))
    exact = full.scores(other)
    half._precision._doubt = float(exact.abs().median())
    rounded = half.scores(other)
    near = exact.abs() < 0.9 * half._precision._doubt
    assert rounded.dtype == torch.float32
    assert torch.equal(exact[near], rounded[near])
    assert not torch.equal(exact[~near], rounded[~near])
    assert float((exact - rounded).abs().max()) < 0.05 * float(exact.std())
    assert half.effort.forwards > full.effort.forwards - len(batch)


def test_scores_that_are_no_numbers_are_made_again(pair: tuple[Victim, Victim], batch: Batch) -> None:
    _, half = pair
    half._precision._doubt = 0.0
    logits = torch.full((len(batch),), torch.nan)
    assert torch.isfinite(half._precision.settled(batch, logits)).all()


def test_doubt_is_a_multiple_of_what_rounding_does_to_clean_scores(pair: tuple[Victim, Victim], batch: Batch) -> None:
    full, half = pair
    limit, exact = half._precision._near(), full._passes(batch)
    rounded = half._passes(batch).float()
    assert limit == pytest.approx(DOUBT * float((rounded - exact).abs().max()))
    assert limit > 0


@pytest.mark.parametrize("ask", ["embedding_gradient", "history_gradient"])
def test_gradients_are_rounded_and_their_logits_settled(pair: tuple[Victim, Victim], batch: Batch, ask: str) -> None:
    full, half = pair
    half._precision._doubt = torch.inf
    exact, rounded = getattr(full, ask)(batch), getattr(half, ask)(batch)
    place = 1 if ask == "embedding_gradient" else 2
    assert torch.allclose(exact[0], rounded[0], rtol=1e-4, atol=1e-5)
    assert torch.nn.functional.cosine_similarity(exact[place].flatten(), rounded[place].flatten(), dim=0) > 0.99
    assert not torch.equal(exact[place], rounded[place])


def test_only_logits_that_count_are_settled(pair: tuple[Victim, Victim], batch: Batch) -> None:
    full, half = pair
    half._precision._doubt = torch.inf
    count = torch.arange(len(batch)) % 2 == 0
    exact, rounded = full.embedding_gradient(batch)[0], half.embedding_gradient(batch, count)[0]
    assert torch.allclose(exact[count], rounded[count], rtol=1e-4, atol=1e-5)
    assert not torch.isclose(exact[~count], rounded[~count], rtol=1e-4, atol=1e-5).all()


def test_states_and_tables_that_are_kept_are_in_full(pair: tuple[Victim, Victim], batch: Batch) -> None:
    full, half = pair
    for victim in pair:
        victim.scores(batch.with_histories(batch.histories().flip(0)))
        victim.scores(batch)
    for exact, kept in zip(full.prepare().tensors, half.prepare().tensors, strict=True):
        assert torch.equal(exact, kept)
    assert torch.equal(full.history_item_vectors(), half.history_item_vectors())
    assert torch.equal(full.word_vectors(["boat", "ship"]), half.word_vectors(["boat", "ship"]))
