from __future__ import annotations

import pytest
import torch
from toy_recommender import make_batch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import Catalog, TaskData
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import click_loss, model_scores
from recgauntlet_baselines.models._layers import BUCKETED
from recgauntlet_baselines.models._vocabulary import UNKNOWN_ID, catalog_pieces, start_vectors
from recgauntlet_baselines.models.nrms import NRMS


@pytest.fixture(scope="module")
def model(data: TaskData) -> NRMS:
    torch.manual_seed(0)
    model = NRMS(data.catalog, token_length=16, word_size=16, heads=2, head_size=8, attention_size=8)
    with torch.no_grad():
        model.positions.normal_(std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def batch(data: TaskData) -> Batch:
    return make_batch(data.catalog, users=BUCKETED, seed=7)


@torch.no_grad()
def test_scores_do_not_depend_on_the_rest_of_the_batch(model: NRMS, batch: Batch) -> None:
    assert len(batch) >= BUCKETED, "the titles must be cut into groups of like length"
    whole = model_scores(model, batch)
    alone = [model_scores(model, batch.select(torch.tensor([i]))) for i in range(20)]
    torch.testing.assert_close(whole[:20], torch.cat(alone), rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_order_of_the_history_counts_and_empty_places_are_zero(model: NRMS) -> None:
    users = Users(torch.tensor([0, 1]), torch.tensor([[PAD, 1, 6], [PAD, 6, 1]]))
    embedded = model.embed_history(users)
    assert (embedded[:, 0] == 0).all()
    torch.testing.assert_close(embedded[0, 1], embedded[1, 2])
    states = model.encode_user(users).tensors[0]
    assert not torch.allclose(states[0], states[1], atol=1e-4)


def test_users_without_a_history_get_numbers_and_gradients(model: NRMS) -> None:
    users = Users(torch.tensor([0, 1]), torch.tensor([[PAD, PAD, PAD], [PAD, 3, 4]]))
    batch = Batch(users, torch.tensor([0, 1]), torch.tensor([2, 3]), torch.tensor([1.0, 0.0]), torch.arange(2))
    model.zero_grad(set_to_none=True)
    scores = model_scores(model, batch)
    assert torch.isfinite(scores).all()
    click_loss(scores, batch).backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_texts_are_cut_and_an_empty_one_has_one_real_token(model: NRMS) -> None:
    tokens = model.tokenize(["", "boat " * 50])
    assert tokens.mask.sum(dim=1).tolist() == [1, 16]
    assert int(tokens.ids[0, 0]) == UNKNOWN_ID
    with torch.no_grad():
        state = model.encode_user(Users(torch.tensor([0]), torch.tensor([[1, 2]]))).select(torch.tensor([0, 0]))
        assert torch.isfinite(model.score(state, model.candidates(torch.tensor([0, 0]), ["", "boat"]))).all()


def test_every_single_character_is_known_and_other_unseen_pieces_are_the_unknown_word(model: NRMS) -> None:
    alone = model.tokenize(["x", "q"]).ids[:, 0].tolist()
    assert len({*alone, UNKNOWN_ID}) == 3
    assert UNKNOWN_ID in model.tokenize(["brxad"]).ids[0].tolist()


def test_start_vectors_are_the_same_each_time_with_unit_variance(data: TaskData) -> None:
    pieces = catalog_pieces(data.catalog.texts)
    first, second = start_vectors(pieces, 16), start_vectors(pieces, 16)
    assert torch.equal(first, second)
    assert first.shape == (2 + len(pieces), 16)
    torch.testing.assert_close(first[2:].std(dim=0), torch.ones(16), rtol=1e-3, atol=1e-3)
    assert not first[0].any()
    torch.testing.assert_close(first[1], first[2:].mean(dim=0), rtol=1e-4, atol=1e-5)


def test_pieces_depend_on_the_words_and_not_on_their_order(data: TaskData) -> None:
    texts = data.catalog.texts
    assert catalog_pieces(texts) == catalog_pieces(tuple(reversed(texts)))
    assert len(catalog_pieces((*texts, "xylophone"))) >= len(catalog_pieces(texts))


def test_dropout_draws_in_training_only(data: TaskData, batch: Batch) -> None:
    torch.manual_seed(1)
    model = NRMS(data.catalog, token_length=16, word_size=16, heads=2, head_size=8, dropout=0.5)
    with torch.no_grad():
        model.train()
        assert not torch.equal(model_scores(model, batch), model_scores(model, batch))
        model.eval()
        assert torch.equal(model_scores(model, batch), model_scores(model, batch))


def test_a_word_size_beyond_the_pieces_is_filled_with_zeros() -> None:
    catalog = Catalog(("a", "b"), ("boat", "ship"), ("", ""))
    pieces = catalog_pieces(catalog.texts)
    assert start_vectors(pieces, 400).shape == (2 + len(pieces), 400)
