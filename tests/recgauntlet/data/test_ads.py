from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from recgauntlet.core.card import AdThreat, TaskCard
from recgauntlet.core.dataset import Tables
from recgauntlet.core.errors import DataError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.core.types import PAD
from recgauntlet.data import cache as store
from recgauntlet.data.ads import sponsored_items
from recgauntlet.data.prepare import prepare, prepared_at, ready

ADS: dict[str, Any] = {
    "id": "ad-dodging",
    "surface": "history",
    "goal": "suppress-set",
    "operations": ["insert", "delete"],
    "edits": {"low": 1, "standard": 2, "high": 3},
    "window": 4,
    "queries": {"low": 10, "standard": 20, "high": 30},
    "utility": 0.95,
    "share": 0.2,
    "shown": 0.2,
    "organic": 11,
    "sponsored": 3,
    "relevant": 3,
    "lists": {"standard": 8},
    "source": "ours",
}


def task_with(make_card: Callable[..., TaskCard], toys: Tables, **changes: Any) -> Task:
    content = make_card().model_dump(mode="json") | {"ads": ADS | changes}
    return Task(TaskCard.model_validate(content), lambda card, track, options: toys)


def test_sponsored_items_come_alike_from_all_fifths_by_popularity_and_differ_by_draw() -> None:
    clicks = np.random.default_rng(0).permutation(100)
    threat = AdThreat.model_validate(ADS | {"share": 0.1})
    first, second = sponsored_items(clicks, threat, Randomness(0, "ads"))
    for flags in (first, second):
        assert np.bincount(clicks[flags] // 20, minlength=5).tolist() == [2] * 5
    assert (first != second).any()
    assert (sponsored_items(clicks, threat, Randomness(0, "ads"))[0] == first).all()


def test_lists_hold_what_the_user_took_and_nothing_else_that_was_ever_taken(
    make_card: Callable[..., TaskCard], toys: Tables, options: SourceOptions
) -> None:
    data = prepare(task_with(make_card, toys), "standard", options)
    assert toys.interactions is not None
    rows = zip(*(toys.interactions[name].to_pylist() for name in ("user", "item")), strict=True)
    ever = {(user, data.catalog.ids.index(item)) for user, item in rows}
    users = sorted(set(toys.interactions["user"].to_pylist()))
    for lists in (data.valid_ads, data.test_ads):
        assert lists is not None
        assert lists.items.shape == (2, 8, 14)
        assert len(set(lists.users.tolist())) == 8
        assert (lists.histories[:, -1] != PAD).all()
        for draw in range(2):
            sponsored = set(lists.items[draw, :, 11:].ravel().tolist())
            assert not sponsored & set(lists.items[draw, :, :11].ravel().tolist())
            for row, user in enumerate(lists.users.tolist()):
                taken = [(users[user], int(item)) in ever for item in lists.items[draw, row]]
                assert taken == lists.taken[draw, row].tolist()
                assert 1 <= sum(taken) <= 3
                assert not set(lists.histories[row].tolist()) & set(lists.items[draw, row].tolist())


def test_lists_are_kept_and_hidden_from_training(
    make_card: Callable[..., TaskCard], toys: Tables, options: SourceOptions
) -> None:
    task = task_with(make_card, toys)
    made = prepare(task, "standard", options)
    again = store.load(ready(task, "standard", options))
    assert again is not None
    assert store.content_hash(again) == store.content_hash(made)
    assert again.test_ads is not None
    training = store.load_training(ready(task, "standard", options))
    assert training.valid_ads is None
    assert training.test_ads is None
    assert prepared_at(make_card(), "standard", options.cache) is None


def test_a_card_without_ads_has_no_lists_and_its_old_hash(
    make_card: Callable[..., TaskCard], toys: Tables, options: SourceOptions
) -> None:
    card = make_card()
    data = prepare(Task(card, lambda *_: toys), "standard", options)
    assert data.test_ads is None
    assert card.fingerprint("standard") != task_with(make_card, toys).card.fingerprint("standard")
    assert task_with(make_card, toys, source="theirs").card.fingerprint("standard") == task_with(
        make_card, toys
    ).card.fingerprint("standard")


def test_too_few_sponsored_items_are_an_error_with_a_remedy(
    make_card: Callable[..., TaskCard], toys: Tables, options: SourceOptions
) -> None:
    with pytest.raises(DataError, match="sponsored items to draw") as caught:
        prepare(task_with(make_card, toys, sponsored=9), "standard", options)
    assert caught.value.field == "ads"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"lists": {"demo": 3}}, "ads.lists.standard"),
        ({"relevant": 12}, "ads.relevant"),
        ({"operations": []}, "operations"),
        ({"goal": "flip"}, "suppress-set"),
    ],
)
def test_cards_whose_ads_cannot_be_are_refused(
    make_card: Callable[..., TaskCard], toys: Tables, changes: dict[str, Any], message: str
) -> None:
    with pytest.raises(ValueError, match=message):
        task_with(make_card, toys, **changes)
