from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgauntlet.threats.lexicon import Lexicon, character_variants, core_of, is_number, parts_of
from recgauntlet.threats.text import levenshtein

TEXTS = (
    "The queen opens a new ship in Southampton",
    "A ship, a boat and 2nd-hand cars for the queen",
    "Southampton wins: Zorblat sells 12 cars!",
    "RED CERAMIC TEAPOT for a boat",
)


@pytest.fixture(scope="module")
def lexicon() -> Lexicon:
    return Lexicon(TEXTS)


def test_words_are_counted_once_a_text_whatever_their_case_and_punctuation(lexicon: Lexicon) -> None:
    assert lexicon.counts["ship"] == 2
    assert lexicon.counts["a"] == 3


def test_a_catalog_word_is_one_as_shown_or_bare_in_any_case(lexicon: Lexicon) -> None:
    for word in ("cars!", "Cars", "QUEEN", "2nd-hand"):
        assert lexicon.contains(word)
    for word in ("submarine", "queen!", "queen\u200b", "--queen"):
        assert not lexicon.contains(word)


def test_popular_words_are_letters_only_and_most_frequent_first(lexicon: Lexicon) -> None:
    assert "12" not in lexicon.popular
    assert "2nd-hand" not in lexicon.popular
    counts = [lexicon.counts[word.lower()] for word in lexicon.popular]
    assert counts == sorted(counts, reverse=True)
    assert "TEAPOT" in lexicon.popular, "the form that the catalog shows"


def test_at_most_300_words_are_popular() -> None:
    letters = "abcdefghijklmnopqrstuvwxyz"
    words = [a + b for a in letters for b in letters]
    assert len(Lexicon([" ".join(words)]).popular) == 300


def test_a_name_is_capitalised_and_nowhere_in_lower_case(lexicon: Lexicon) -> None:
    assert lexicon.is_name("Zorblat")
    assert lexicon.is_name("Southampton,")
    assert not lexicon.is_name("Queen"), "queen stands in lower case"
    assert not lexicon.is_name("ship")


def test_words_with_digits_are_numbers() -> None:
    assert [is_number(word) for word in ("12", "2nd", "500ML", "two")] == [True, True, True, False]


def test_neighbours_are_near_and_keep_case_and_punctuation(lexicon: Lexicon) -> None:
    near = lexicon.neighbours("car")
    assert "cars" in near
    assert "car" not in near
    assert len(near) <= 15
    cosines = [lexicon.cosine("car", word) for word in near]
    assert cosines == sorted(cosines, reverse=True)
    assert min(cosines) >= 0.6
    assert lexicon.neighbours("(CAR,")[0] == f"({near[0].upper()},"
    assert lexicon.neighbours("Car") == tuple(word.capitalize() for word in near)


def test_a_higher_minimum_leaves_fewer_neighbours(lexicon: Lexicon) -> None:
    low, high = lexicon.neighbours("car", 0.6), lexicon.neighbours("car", 0.8)
    assert set(high) < set(low)


def test_words_in_pieces_have_no_neighbours_and_no_cosine_but_to_themselves(lexicon: Lexicon) -> None:
    assert lexicon.neighbours("Zorblat") == ()
    assert lexicon.cosine("Zorblat", "car") == -1.0
    assert lexicon.cosine("Zorblat", "zorblat!") == 1.0


def test_many_words_at_once_give_what_each_gives_alone() -> None:
    together, alone = Lexicon(TEXTS), Lexicon(TEXTS)
    words = ["car", "ship", "Zorblat", "queen"]
    together.prepare(words)
    assert [together.neighbours(word) for word in words] == [alone.neighbours(word) for word in words]


@given(st.text(st.characters(codec="utf-8"), min_size=1, max_size=8))
def test_a_word_is_its_parts(word: str) -> None:
    assert "".join(parts_of(word)) == word
    assert core_of(word) == core_of(word.upper().lower()) or not word.isascii()


@given(st.text("abcdehoprsvxyzABC1-,é", min_size=1, max_size=7))
def test_character_variants_cost_what_they_say(word: str) -> None:
    for variant, cost in character_variants(word):
        assert levenshtein(word, variant) == cost or (cost == 2 and levenshtein(word, variant) <= 2)
        assert variant
        assert variant != word
        assert len(variant.split()) == 1
        assert [c for c in variant if c.isdigit()] == [c for c in word if c.isdigit()]


def test_every_kind_of_trick_is_there() -> None:
    variants = dict(character_variants("cat"))
    assert variants["at"] == 1  # deletion
    assert variants["c\u0430t"] == 1  # lookalike
    assert variants["cst"] == 1  # an adjacent key
    assert variants["act"] == 2  # swap
    assert variants["c\u200bat"] == variants["c-at"] == variants["c.at"] == 1  # separators
