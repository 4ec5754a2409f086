"""Distances count what they say, beside the training data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from served_models import built

from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.types import PAD, FloatArray
from recgauntlet.data.text_measures import TextMeasures
from recgauntlet.serving.limits import Limits, RequestError
from recgauntlet.serving.messages import TextOf
from recgauntlet.serving.ranker import Ranker
from recgauntlet.serving.tripwire import Tripwire
from recgauntlet.testing.tiny import tiny_data

CLICKED = "item7"


@pytest.fixture(scope="module")
def data() -> TaskData:
    """Three training users: the histories 0 1, 0 1 2 and 3 4, and clicks on 5, 6 and 7. User 1 has an older pair."""
    histories = np.full((4, 6), PAD)
    histories[0, 4:], histories[1, 3:], histories[2, 4:], histories[3, 5:] = (0, 1), (0, 1, 2), (3, 4), (0,)
    train = Pairs(np.array([0, 1, 2, 1]), histories, np.array([5, 6, 7, 1]), np.array([8, 9, 8, 9]))
    return replace(tiny_data(), train=train)


class Counted(TextMeasures):
    """A perplexity is the number of characters."""

    def _measured(self, texts: Sequence[str]) -> list[float]:
        return [float(len(text)) for text in texts]


@pytest.fixture(scope="module")
def wire(data: TaskData, tmp_path_factory: pytest.TempPathFactory) -> Tripwire:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RECGAUNTLET_CACHE", str(tmp_path_factory.mktemp("cache")))
        return Tripwire(data, Ranker(built("bpr-mf"), data, Limits(texts=3)), Counted(Path()))


def test_unknown_and_unseen_items_are_unfamiliar(wire: Tripwire) -> None:
    found = wire.distances(["item0", "nowhere", "item8", CLICKED], []).history
    assert found is not None
    assert (found.items, found.unknown, found.unseen, found.unfamiliar_share) == (4, 1, 1, 0.5)


def test_popularity_counts_users(wire: Tripwire) -> None:
    popular, rare = (wire.distances([item], []).history for item in ("item0", "item8"))
    assert popular is not None
    assert rare is not None
    assert popular.popularity is not None
    assert rare.popularity is not None
    assert popular.popularity.value == pytest.approx(np.log10(3)), "two users, the older pair left out"
    assert (popular.popularity.quantile, rare.popularity.quantile) == (1.0, 0.0)
    assert rare.popularity.value == 0


def test_pairs_that_stand_together_are_counted(wire: Tripwire) -> None:
    usual, strange = (wire.distances(items, []).history for items in (["item0", "item1"], ["item0", "item3"]))
    assert usual is not None
    assert strange is not None
    assert usual.cooccurrence is not None
    assert strange.cooccurrence is not None
    assert (usual.cooccurrence.value, usual.cooccurrence.quantile) == (1.0, 1.0)
    # without the user's own: 1 of 3 pairs (0 1 5), 1 of 6 (0 1 2 6), 0 of 3 (3 4 7)
    assert (strange.cooccurrence.value, strange.cooccurrence.quantile) == (0.0, pytest.approx(1 / 3))
    alone = wire.distances(["item0", "item0"], []).history
    assert alone is not None
    assert alone.cooccurrence is None


def test_an_empty_history_has_no_values(wire: Tripwire) -> None:
    found = wire.distances([], []).history
    assert found is not None
    assert (found.unfamiliar_share, found.popularity, found.cooccurrence) == (0.0, None, None)
    assert wire.distances(None, []).history is None


def test_a_text_is_compared_with_its_item_and_with_the_catalog(wire: Tripwire, data: TaskData) -> None:
    clean = data.catalog.texts[4]
    words = clean.split()
    edited = " ".join([words[0] + "x", *words[1:], "qqq"])
    same, other, new = wire.distances(
        None, [(0, TextOf(text=clean, item="item4")), (1, TextOf(text=edited, item="item4")), (2, TextOf(text="qqq"))]
    ).texts
    assert (same.words_changed, same.characters_changed, same.unknown_words) == (0, 0, 0.0)
    assert same.cosine == pytest.approx(1, abs=1e-5)
    assert (same.nearest.value, same.nearest.quantile) == (pytest.approx(1, abs=1e-5), 1.0)
    assert same.perplexity_ratio == 1
    assert (other.words_changed, other.characters_changed) == (2, 1 + 4)
    assert other.unknown_words == pytest.approx(2 / (len(words) + 1))
    assert other.cosine is not None
    assert other.cosine < 0.99
    assert other.perplexity == len(edited)
    assert other.perplexity_ratio == pytest.approx(len(edited) / len(clean))
    assert (new.words_changed, new.cosine, new.perplexity, new.perplexity_ratio) == (None, None, 3, None)
    assert new.nearest.value < other.nearest.value
    assert [one.text for one in (same, other, new)] == [0, 1, 2]


def test_what_was_measured_is_not_kept(wire: Tripwire, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def noted(self: Counted, texts: Sequence[str]) -> FloatArray:
        asked.extend(texts)
        return np.ones(len(texts), dtype=np.float32)

    monkeypatch.setattr(Counted, "perplexities", noted)
    for _ in range(2):
        wire.distances(None, [(0, TextOf(text="harbor"))])
    assert asked == ["harbor", "harbor"]
    measures = Counted(Path())
    measures.cosines(["a"], ["b"])
    measures.forget()
    assert not measures._vectors


def test_too_many_texts_and_unknown_items_are_refused(wire: Tripwire) -> None:
    with pytest.raises(RequestError, match="4 texts to measure, more than 3"):
        wire.distances(None, [(n, TextOf(text="a")) for n in range(4)])
    with pytest.raises(RequestError) as refused:
        wire.distances(None, [(2, TextOf(text="a", item="nope"))])
    assert refused.value.field == "texts.2.item"
