from __future__ import annotations

from toy_recommender import near_stuffing_threat, stuffing_threat

from recgauntlet.threats.lexicon import Lexicon, cores_of
from recgauntlet.threats.nearest_texts import NearestTexts
from recgauntlet.threats.registry import threat_model

TEXTS = (
    "RED RETROSPOT CAKE STAND",
    "PINK POLKADOT CAKE STAND",
    "RED RETROSPOT MUG",
    "RED CANDLE",
    "BLUE CLOCK",
    "RED CANDLE",
    "GREEN BOX",
)


def test_rare_shared_words_count_most_and_each_text_once() -> None:
    found = NearestTexts(TEXTS, cores_of).nearest("RED RETROSPOT CAKE STAND", 10)
    assert found == [
        "PINK POLKADOT CAKE STAND",  # two words that two texts have
        "RED RETROSPOT MUG",  # one of these and a common one
        "RED CANDLE",
        "BLUE CLOCK",  # nothing shared: as in the catalog
        "GREEN BOX",
    ]


def test_a_text_that_shares_nothing_has_neighbours_all_the_same() -> None:
    assert NearestTexts(TEXTS, cores_of).nearest("WOODEN TRAY", 2) == list(TEXTS[:2])
    assert NearestTexts(TEXTS, cores_of).nearest("", 1) == [TEXTS[0]]


def test_pages_say_whose_words_may_be_added() -> None:
    assert any("2 / 25 / 1000 nearest items" in limit for limit in threat_model(near_stuffing_threat()).limits())
    assert not any("nearest" in limit for limit in threat_model(stuffing_threat()).limits())


def test_words_to_stuff_with_are_those_of_near_items_until_all_are_near() -> None:
    lexicon, threat = Lexicon(TEXTS), near_stuffing_threat()
    low, medium, high = (lexicon.stuffing(threat, tier, TEXTS[0]) for tier in ("low", "standard", "high"))
    assert set(low) == {"PINK", "POLKADOT", "CAKE", "STAND", "RED", "RETROSPOT", "MUG"}
    assert set(low) < set(medium) <= set(high)
    assert high == lexicon.vocabulary(threat.banned_characters)
    assert lexicon.stuffing(stuffing_threat(), "low", TEXTS[0]) == high
