from __future__ import annotations

import pytest
import torch

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import TaskData
from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.models.sasrec import SASRec
from recgauntlet_baselines.models.sasrec_text import SASRecText


@pytest.fixture
def model(data: TaskData) -> SASRecText:
    torch.manual_seed(0)
    return SASRecText(data.catalog, token_length=16, size=16, word_size=12, attention_size=8, dropout=0.0).eval()


@torch.no_grad()
def test_without_words_it_is_sasrec(model: SASRecText, data: TaskData, batch: Batch) -> None:
    torch.nn.init.zeros_(model.from_words.weight)
    torch.nn.init.zeros_(model.from_words.bias)
    plain = SASRec(data.catalog, token_length=16, size=16, dropout=0.0)
    plain.load_state_dict({name: value for name, value in model.state_dict().items() if name in plain.state_dict()})
    torch.testing.assert_close(model_scores(model, batch), model_scores(plain.eval(), batch), rtol=1e-5, atol=1e-6)
    mine, its = (one.auxiliary_loss(batch, torch.Generator().manual_seed(1)) for one in (model, plain))
    assert mine is not None
    assert its is not None
    torch.testing.assert_close(mine, its, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_without_ids_two_items_of_one_text_are_one(model: SASRecText, batch: Batch) -> None:
    text = model.catalog.texts[int(batch.items[0])]
    state = model.encode_user(batch.users.select(torch.zeros(2, dtype=torch.int64)))
    same_text = model.candidates(torch.tensor([3, 8]), [text, text])
    first, second = model.score(state, same_text).tolist()
    assert first != pytest.approx(second, abs=1e-4)
    torch.nn.init.zeros_(model.items.weight)
    state = model.encode_user(batch.users.select(torch.zeros(2, dtype=torch.int64)))
    first, second = model.score(state, same_text).tolist()
    assert first == pytest.approx(second, abs=1e-6)


@torch.no_grad()
def test_an_edited_candidate_keeps_its_id_vector(model: SASRecText, batch: Batch) -> None:
    state = model.encode_user(batch.users).select(batch.rows)
    edited = model.candidates(batch.items, ["boat harbor"] * len(batch))
    words = model.pool(model.words(edited.tokens.ids), edited.tokens.mask)
    vectors = model.items.weight[batch.items] + model.from_words(words)
    by_hand = (state.tensors[0] * vectors).sum(dim=1) + model.offset
    torch.testing.assert_close(model.score(state, edited), by_hand, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_an_item_is_the_same_vector_as_candidate_and_in_a_history(model: SASRecText, batch: Batch) -> None:
    candidates = model.candidates(batch.items)
    shown = model.items(batch.items) + model.from_words(model.pool(model.embed(candidates), candidates.tokens.mask))
    torch.testing.assert_close(model.vectors(batch.items), shown, rtol=1e-5, atol=1e-6)
    shaped = model.vectors(batch.items.view(2, -1))
    torch.testing.assert_close(shaped.flatten(0, 1), shown, rtol=1e-5, atol=1e-6)
