"""Spelling repair: distances, the nearest word, what is left alone, and what character attacks can still do."""

from __future__ import annotations

import numpy as np
import pytest
from toy_recommender import ToyRecommender, make_catalog

from recgauntlet.core.dataset import Catalog
from recgauntlet.testing.tiny import TOKENS, tiny_catalog
from recgauntlet.testing.tiny_models import TinyItems
from recgauntlet.threats.lexicon import Lexicon, misspellings
from recgauntlet_baselines.defenses.spell_repair import Speller, SpellRepair, deletions, distance


def speller(*texts: str, most: int = 2) -> Speller:
    return Speller(Catalog(tuple(map(str, range(len(texts)))), texts, ("",) * len(texts)), most)


@pytest.mark.parametrize(
    ("first", "second", "edits"),
    [
        ("boat", "boat", 0),
        ("boat", "baot", 1),
        ("boat", "bot", 1),
        ("", "boat", 4),
        ("ca", "abc", 3),
        ("kitten", "sitting", 3),
    ],
)
def test_distance_counts_swaps_once(first: str, second: str, edits: int) -> None:
    assert distance(first, second) == distance(second, first) == edits


def test_deletions_take_away_up_to_so_many_letters() -> None:
    assert deletions("abc", 1) == {"abc", "ab", "ac", "bc"}
    assert deletions("abc", 2) == {"abc", "ab", "ac", "bc", "a", "b", "c"}
    assert deletions("a", 2) == {"a", ""}


def test_the_index_finds_what_a_search_of_all_words_finds() -> None:
    generator = np.random.default_rng(0)
    words = ["".join(generator.choice(list("abcd"), size=generator.integers(5, 8))) for _ in range(60)]
    known = speller(*words)
    counts = Lexicon(words).counts
    repaired = 0
    for _ in range(300):
        word = "".join(generator.choice(list("abcd"), size=generator.integers(5, 8)))
        best = min(counts, key=lambda other: (distance(word, other), -counts[other], other))
        expected = word if word in counts or distance(word, best) > 2 else best
        assert known.repaired(word) == expected
        repaired += expected != word
    assert repaired > 50


def test_the_more_frequent_of_equally_near_words_is_read() -> None:
    assert speller("stone", "store", "store wide").repaired("stole") == "store"
    assert speller("stone", "stone wide", "store").repaired("stole") == "stone"


def test_known_words_names_numbers_and_short_words_stay() -> None:
    known = speller("Paris harbor 500ml of it ship")
    for word in ("Paris", "harbor,", "HARBOR", "501ml", "pf", "zebra", "shipyard"):
        assert known.repaired(word) == word


def test_case_and_punctuation_stay() -> None:
    known = speller("harbor ship Paris")
    assert [known.repaired(word) for word in ("(Habror,", "HARBR!", "Par\u200bis", "sh.ip")] == [
        "(Harbor,",
        "HARBOR!",
        "Paris",
        "ship",
    ]


def test_short_words_are_repaired_by_one_edit_only() -> None:
    known = speller("boat harbor")
    assert known.repaired("baot") == "boat"
    assert known.repaired("bt") == "bt"
    assert known.repaired("bxxt") == "bxxt"
    assert known.repaired("hxrbxr") == "harbor"
    assert speller("boat harbor", most=1).repaired("hxrbxr") == "hxrbxr"


def test_every_single_slip_in_a_long_word_is_undone() -> None:
    known = speller("orchestra harbor guitar")
    variants = misspellings("orchestra")
    assert {known.repaired(variant) for variant in variants} == {"orchestra"}


def test_the_model_reads_the_repaired_text_and_word_places_stay() -> None:
    model = ToyRecommender(make_catalog(40))
    served = SpellRepair().wrap(model)
    tokens, plain = served.tokenize(["orchetsra unheard harb\u043er"]), model.tokenize(["orchestra unheard harbor"])
    assert tokens.ids.tolist() == plain.ids.tolist()
    assert tokens.word_of_token.tolist() == [[0, 1, 2]]


def test_a_model_that_reads_no_texts_is_served_as_it_is() -> None:
    model = TinyItems(tiny_catalog(), token_length=TOKENS)
    assert SpellRepair().wrap(model) is model
