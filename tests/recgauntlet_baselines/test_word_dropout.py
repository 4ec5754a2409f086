from __future__ import annotations

import pytest
import torch
from toy_problem import at, loss_of, toy_batch, toy_model

from recgauntlet.core.batch import Tokens
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import click_loss, model_scores
from recgauntlet_baselines.defenses._edits import uniform
from recgauntlet_baselines.defenses.word_dropout import WordDropout, without_words


def test_a_word_goes_with_all_its_tokens_and_the_rest_moves_together() -> None:
    word_of_token = torch.tensor([[0, 1, 1, 2, PAD], [0, 1, PAD, PAD, PAD]])
    tokens = Tokens(torch.tensor([[5, 6, 7, 8, 0], [3, 4, 0, 0, 0]]), word_of_token != PAD, word_of_token)
    draws = torch.tensor([[0.9, 0.1, 0.5], [0.1, 0.2, 0.99]])
    shorter = without_words(tokens, draws, 0.4)
    assert shorter.ids.tolist() == [[5, 8], [4, 3]], "of the second text the largest draw of its own words stays"
    assert shorter.mask.tolist() == [[True, True], [True, False]]
    assert shorter.word_of_token[0].tolist() == [0, 2]


def test_special_tokens_stay() -> None:
    word_of_token = torch.tensor([[PAD, 0, 1, PAD]])
    tokens = Tokens(torch.tensor([[101, 8, 9, 102]]), torch.ones(1, 4, dtype=torch.bool), word_of_token)
    assert without_words(tokens, torch.tensor([[0.0, 0.5]]), 1.0).ids.tolist() == [[101, 9, 102]]


def test_it_trains_on_the_texts_without_those_words() -> None:
    model, batch = toy_model(), toy_batch()
    draws = uniform(at(0.5), batch.example_ids, 20)
    shown = []
    for b, item in enumerate(batch.items.tolist()):
        words = model.catalog.texts[item].split()
        own = draws[b, : len(words)]
        shown.append(" ".join(w for w, d in zip(words, own, strict=True) if d >= 0.5 or d == own.max()))
    assert any(shown[b] != model.catalog.texts[i] for b, i in enumerate(batch.items.tolist()))
    expected = click_loss(model_scores(model, batch.with_texts(shown)), batch)
    assert loss_of(WordDropout(rate=0.5), model, batch) == pytest.approx(float(expected.detach()), rel=1e-5)


def test_draws_depend_on_step_and_example_and_not_on_batch_or_width() -> None:
    ids = torch.tensor([4, 9, 2])
    wide = uniform(at(0.5), ids, 50)
    assert torch.equal(uniform(at(0.5), ids[[2, 0]], 20), wide[[2, 0], :20])
    assert not torch.equal(uniform(at(0.5, step=4), ids, 50), wide)
    assert uniform(at(0.5), ids[:0], 5).shape == (0, 5)
    assert 0.35 < float(uniform(at(0.5), torch.arange(200), 20).mean()) < 0.65
