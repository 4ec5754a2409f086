"""Normalization: what is read in place of odd characters, and that word places stay those of the text as given."""

from __future__ import annotations

import pytest
import torch
from toy_recommender import ToyRecommender, make_batch, make_catalog

from recgauntlet.testing.tiny import TOKENS, tiny_catalog
from recgauntlet.testing.tiny_models import TinyItems
from recgauntlet.threats.lexicon import misspellings
from recgauntlet.training.defense import model_scores
from recgauntlet_baselines.defenses._wrapper import RepairedWords, Wrapped
from recgauntlet_baselines.defenses.unicode_normalize import UnicodeNormalize, normalized_word


@pytest.mark.parametrize(
    ("shown", "read"),
    [
        ("bo\u0430t", "boat"),  # Cyrillic a
        ("\u0391\u03a1\u03a4", "APT"),  # all Greek
        ("\U0001d41b\U0001d428\U0001d41a\U0001d42d", "boat"),  # mathematical bold
        ("\uff42oat", "boat"),  # full width
        ("bo\u200bat", "boat"),
        ("b\u00adoa\u2060t", "boat"),
        ("bo\u0336at", "boat"),  # struck through
        ("café", "café"),
        ("cafe\u0301", "café"),
        ("boat!!!", "boat!"),
        ("boat!?", "boat!?"),
        ("boat\u2019s", "boat's"),
        ("boat\u00b4s", "boat's"),
        ("bota", "bota"),  # no business of Unicode
    ],
)
def test_words_are_read_in_plain_letters(shown: str, read: str) -> None:
    assert normalized_word(shown) == read


def test_every_lookalike_and_hidden_space_of_character_attacks_is_undone() -> None:
    word = "BOATESCAPEjivxyHNKMZTX"
    odd = [variant for variant in misspellings(word) if not variant.isascii()]
    assert len(odd) > 30
    assert {normalized_word(variant) for variant in odd} == {word}


def test_word_places_are_those_of_the_text_as_given() -> None:
    model = ToyRecommender(make_catalog(20))
    served = UnicodeNormalize().wrap(model)
    tokens = served.tokenize(["bo\u0430t \u200b har\u200bbor \ufdfa ship!!"])
    plain = model.tokenize(["boat harbor"])
    assert tokens.word_of_token[0].tolist() == [0, 1, 2, 3, 4]
    assert tokens.ids[0, [0, 2]].tolist() == plain.ids[0].tolist()


def test_clean_texts_are_read_as_they_are_and_scores_stay() -> None:
    catalog = make_catalog(20)
    odd = catalog.__class__(catalog.ids, tuple(f"{text} H\u0430rbor!!" for text in catalog.texts), catalog.categories)
    torch.manual_seed(0)
    model = ToyRecommender(odd).eval()
    served = UnicodeNormalize().wrap(model)
    batch = make_batch(odd, users=8)
    with torch.no_grad():
        assert torch.equal(model_scores(served, batch), model_scores(model, batch))
    assert torch.equal(served.tokenize(["H\u0430rbor!!"]).ids, model.tokenize(["H\u0430rbor!!"]).ids)


def test_a_wrapped_model_has_the_parameters_of_the_model_inside() -> None:
    model = ToyRecommender(make_catalog(20))
    served = RepairedWords(model, str)
    assert [p is q for p, q in zip(served.parameters(), model.parameters(), strict=True)] == [True] * len(
        list(model.parameters())
    )
    assert served.surfaces == model.surfaces
    assert served.recipe == model.recipe
    assert Wrapped(model).device == model.device


def test_a_model_that_reads_no_texts_is_served_as_it_is() -> None:
    model = TinyItems(tiny_catalog(), token_length=TOKENS)
    assert UnicodeNormalize().wrap(model) is model
