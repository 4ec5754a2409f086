from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core import protocol
from recgauntlet.threats.lexicon import Lexicon, core_of, is_number, misspellings, parts_of

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


def test_the_vocabulary_is_the_catalogs_words_of_letters(lexicon: Lexicon) -> None:
    assert {"cars", "queen", "ship", "TEAPOT"} <= set(lexicon.vocabulary())
    assert not {"cars!", "2nd-hand", "12", "a", "Queen"} & set(lexicon.vocabulary())
    assert "ship" not in lexicon.vocabulary(banned="p")


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
def test_a_misspelling_is_one_slip_in_the_letters(word: str) -> None:
    for slip in misspellings(word):
        assert slip
        assert slip != word
        assert len(slip.split()) == 1
        assert abs(len(slip) - len(word)) <= 1
        assert [c for c in slip if c.isdigit()] == [c for c in word if c.isdigit()]


def test_every_kind_of_slip_is_there() -> None:
    deletion, lookalike, adjacent_key, swap = "at", "c\u0430t", "cst", "act"
    assert {deletion, lookalike, adjacent_key, swap, "c\u200bat", "c-at", "c.at"} <= set(misspellings("cat"))


@pytest.mark.parametrize("text", ["\u65e5\u672c\u8a9e\u306e\u6587\u7ae0" * 250, "https://example.org/" * 75])
def test_a_word_of_1500_characters_costs_no_memory(text: str) -> None:
    lexicon = Lexicon([text, "a short title"])
    assert len(text) == 1500
    assert lexicon.misspellings("title")  # the words of the encoder are there before memory is counted
    tracemalloc.start()
    assert lexicon.misspellings(text) == ()
    assert tracemalloc.get_traced_memory()[1] < 1e5
    tracemalloc.stop()


def test_the_longest_word_that_is_misspelt_has_64_characters_and_the_suite_is_named_after_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert protocol.LONGEST_WORD == 64
    before = suite_ref().fingerprint
    monkeypatch.setattr(protocol, "LONGEST_WORD", 65)
    assert len(misspellings("e" * 64)[0]) == 63
    assert misspellings("e" * 65) == ()
    assert suite_ref().fingerprint != before


def test_a_misspelling_is_no_other_word_and_needs_three_letters(lexicon: Lexicon) -> None:
    assert "cat" in misspellings("cqt")
    assert "cat" not in lexicon.misspellings("cqt")
    assert "thw" in lexicon.misspellings("the")
    assert lexicon.misspellings("of") == lexicon.misspellings("a,") == ()
    assert "boar" not in lexicon.misspellings("boat")
    assert "Southampron" in lexicon.misspellings("Southampton")
