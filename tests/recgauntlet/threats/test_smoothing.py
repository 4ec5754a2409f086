"""Smoothing over deletions: what each vote sees, what it says, and that the score is a fixed, smooth function of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from small_data import small_data
from toy_recommender import ToyRecommender, make_batch, make_catalog, train

from recgauntlet.core.batch import Batch, Candidates
from recgauntlet.core.errors import PluginError
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import PAD, Surface
from recgauntlet.threats.smoothing import SMOOTHED, DeletionSmoothed, VotedCandidates, deal, left_of, vote

SURFACES: list[Surface] = ["candidate-text", "history"]


@pytest.fixture(scope="module")
def inner() -> ToyRecommender:
    torch.manual_seed(0)
    model = train(ToyRecommender(small_data().catalog), steps=40)
    return model.requires_grad_(False)  # type: ignore[return-value]


@pytest.fixture(scope="module")
def batch(inner: ToyRecommender) -> Batch:
    return make_batch(inner.catalog, users=12, seed=5)


def smoothed(inner: ToyRecommender, surface: Surface, votes: int = 6, kept: int = 2) -> DeletionSmoothed:
    return SMOOTHED[surface](inner, votes=votes, kept=kept, sharpness=2.0).eval()


def logits_of(model: DeletionSmoothed, batch: Batch) -> torch.Tensor:
    state = model.encode_user(batch.users).select(batch.rows)
    return model.vote_logits(state, model.candidates(batch.items, batch.texts))


@pytest.mark.parametrize(("votes", "kept"), [(12, 1), (10, 3), (7, 5), (8, 4)])
def test_every_thing_is_seen_by_at_most_so_many_votes_and_every_vote_sees_as_much(votes: int, kept: int) -> None:
    seen = deal(1000, votes, kept)
    hands = seen.sum(dim=1)
    assert 1 <= int(hands.min()) <= int(hands.max()) == kept
    assert float(hands.float().mean()) > 0.75 * kept
    by_vote = seen.float().mean(dim=0)
    assert float(by_vote.max() - by_vote.min()) < 0.1
    assert torch.equal(deal(10, votes, kept), seen[:10])
    if votes % kept == 0:
        run = seen[: votes // kept]
        assert torch.equal(run.sum(dim=0), torch.ones(votes, dtype=torch.int64))


def test_what_is_left_of_a_history_keeps_its_order_behind_the_padding() -> None:
    histories = torch.tensor([[PAD, 4, 7, 4, 9], [1, 2, 3, 5, 6]])
    seen = torch.tensor([[[0, 1, 0, 1, 1], [0, 0, 1, 0, 0]], [[0, 0, 0, 0, 0], [1, 0, 0, 0, 1]]], dtype=torch.bool)
    left, places = left_of(histories, seen)
    assert left.tolist() == [[[4, 4, 9], [PAD, PAD, 7]], [[PAD, PAD, PAD], [PAD, 1, 6]]]
    assert torch.equal(histories.unsqueeze(1).expand(-1, 2, -1).gather(2, places)[left != PAD], left[left != PAD])


def test_a_vote_on_a_history_is_the_inner_model_on_the_items_it_sees(inner: ToyRecommender, batch: Batch) -> None:
    model = smoothed(inner, "history")
    found = logits_of(model, batch)
    histories = batch.histories()
    for v in range(model.votes):
        rows = [[i for i in row if i != PAD and bool(model.seen[i, v])] for row in histories.tolist()]
        alone = batch.with_histories(torch.tensor([[PAD] * (histories.shape[1] - len(row)) + row for row in rows]))
        torch.testing.assert_close(found[:, v], score_batch(inner, alone), rtol=1e-5, atol=1e-6)


def test_a_vote_on_a_text_is_the_inner_model_on_the_words_it_sees(inner: ToyRecommender, batch: Batch) -> None:
    model = smoothed(inner, "candidate-text")
    found = logits_of(model, batch)
    words = [inner.catalog.texts[i].split() for i in batch.items.tolist()]
    for v in range(model.votes):
        texts = [" ".join(word for place, word in enumerate(row) if bool(model.seen[place, v])) for row in words]
        torch.testing.assert_close(found[:, v], score_batch(inner, batch.with_texts(texts)), rtol=1e-5, atol=1e-6)


def test_a_word_that_truncation_hides_from_the_whole_text_is_seen_by_a_vote(batch: Batch) -> None:
    catalog = make_catalog(40)
    torch.manual_seed(1)
    model = smoothed(ToyRecommender(catalog, token_length=4).eval(), "candidate-text")
    text = "boat ship harbor sailor captain island"
    some = batch.select(torch.arange(1))
    votes = [logits_of(model, some.with_texts([text + end]))[0] for end in (" goal", " opera")]
    changed = votes[0] != votes[1]
    assert bool(changed.any())
    assert not bool((changed & ~model.seen[6]).any())


@pytest.mark.parametrize("sharpness", [0.5, 2.0, 8.0])
def test_the_score_is_above_zero_exactly_where_the_mean_probability_is_above_one_half(sharpness: float) -> None:
    logits = torch.randn(500, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    mean = torch.sigmoid(sharpness * logits).mean(dim=1)
    torch.testing.assert_close(vote(logits, sharpness), torch.logit(mean) / sharpness)
    assert torch.equal(vote(logits, sharpness) > 0, mean > 0.5)


def test_a_blunt_vote_is_the_mean_logit_and_a_sharp_one_the_majority() -> None:
    logits = torch.randn(300, 7, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(vote(logits, 1e-5), logits.mean(dim=1), rtol=1e-3, atol=1e-4)
    clear = logits.abs().min(dim=1).values > 0.05
    assert int(clear.sum()) > 100
    assert torch.equal((vote(logits, 1e3) > 0)[clear], ((logits > 0).sum(dim=1) > 3)[clear])
    same = torch.full((1, 7), 0.7)
    torch.testing.assert_close(vote(same, 3.0), same[:, 0])
    assert torch.isfinite(vote(torch.tensor([[1e4, -1e4, 1e4]]), 10.0)).all()


@pytest.mark.parametrize("surface", SURFACES)
def test_scores_depend_on_the_example_alone(inner: ToyRecommender, batch: Batch, surface: Surface) -> None:
    model = smoothed(inner, surface)
    torch.manual_seed(0)
    whole = score_batch(model, batch)
    torch.manual_seed(1)
    state = torch.get_rng_state()
    apart = torch.cat([score_batch(model, batch.select(torch.tensor([row]))) for row in range(len(batch))])
    assert torch.equal(state, torch.get_rng_state())
    torch.testing.assert_close(whole, apart, rtol=1e-5, atol=1e-6)
    again = score_batch(SMOOTHED[surface](inner, votes=6, kept=2, sharpness=2.0), batch)
    assert torch.equal(whole, again)


@pytest.mark.parametrize("surface", SURFACES)
@pytest.mark.parametrize("handle", ["candidate", "history"])
def test_the_gradient_tells_the_slope(inner: ToyRecommender, batch: Batch, surface: Surface, handle: str) -> None:
    model = SMOOTHED[surface](_doubled(inner), votes=6, kept=2, sharpness=2.0)
    users = batch.users.select(batch.rows)
    candidates = model.candidates(batch.items)
    start = (model.embed(candidates) if handle == "candidate" else model.embed_history(users)).detach()

    def score(embeddings: torch.Tensor) -> torch.Tensor:
        if handle == "candidate":
            return model.score(model.encode_user(users), candidates, embeddings)
        return model.score(model.encode_user(users, embeddings), candidates)

    point = start.clone().requires_grad_(True)
    (gradient,) = torch.autograd.grad(score(point).sum(), point)
    assert bool((gradient.flatten(1).norm(dim=1) > 0).all())
    step = torch.randn(start.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0)) * 1e-5
    found = score(start + step) - score(start - step)
    torch.testing.assert_close(found, 2 * (gradient * step).flatten(1).sum(dim=1), rtol=1e-4, atol=1e-11)
    torch.testing.assert_close(score(start), score_batch(model, batch).double(), rtol=1e-5, atol=1e-6)


def _doubled(inner: ToyRecommender) -> ToyRecommender:
    copy = ToyRecommender(inner.catalog)
    copy.load_state_dict(inner.state_dict())
    copy.double().eval().requires_grad_(False)
    return copy


def test_texts_are_read_once_where_votes_see_the_same(inner: ToyRecommender, batch: Batch) -> None:
    model = smoothed(inner, "candidate-text", votes=16, kept=1)
    candidates = model.candidates(batch.items, ["boat ship harbor"] * len(batch))
    assert isinstance(candidates, VotedCandidates)
    assert len(candidates.read) == 4 * len(batch), "each word alone, and nothing"


def test_candidates_of_another_model_are_refused(inner: ToyRecommender, batch: Batch) -> None:
    model = smoothed(inner, "candidate-text")
    state = model.encode_user(batch.users).select(batch.rows)
    with pytest.raises(PluginError, match="without its words"):
        model.score(state, inner.candidates(batch.items))
    assert isinstance(model.candidates(batch.items), Candidates)


def test_what_cannot_be_smoothed_is_refused(inner: ToyRecommender) -> None:
    for votes, kept, sharpness in ((4, 4, 1.0), (4, 0, 1.0), (4, 1, 0.0)):
        with pytest.raises(PluginError, match="do not fit"):
            SMOOTHED["history"](inner, votes=votes, kept=kept, sharpness=sharpness)
    blind = ToyRecommender(inner.catalog)
    blind.surfaces = frozenset({"history"})  # type: ignore[misc]
    with pytest.raises(PluginError, match="does not read"):
        SMOOTHED["candidate-text"](blind, votes=4, kept=1, sharpness=1.0)


def test_the_deals_are_the_same_on_every_machine() -> None:
    assert np.flatnonzero(deal(6, 12, 1).numpy()).tolist() == [8, 21, 27, 37, 53, 62]
