"""The check of a task's lists with popular candidates finds each way in which they may be wrong."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import broken_tasks
import numpy as np
import pytest

from recgauntlet.core.dataset import Impressions, TaskData
from recgauntlet.data.prepare import build
from recgauntlet.testing.check import ConformanceError
from recgauntlet.testing.popular_list import popular_list

TASK = broken_tasks.task(negatives=broken_tasks.POPULAR | {"popular_per_click": 3})
CARD = TASK.card.track("standard")
TABLES = broken_tasks.interactions()


def made() -> TaskData:
    return build(CARD, TABLES, "0" * 64, "here")


def popular(data: TaskData) -> Impressions:
    assert data.popular_impressions is not None
    return data.popular_impressions


def with_items(change: Callable[[TaskData, np.ndarray], None]) -> TaskData:
    data = made()
    items = popular(data).items.copy()
    change(data, items)
    return replace(data, popular_impressions=replace(popular(data), items=items))


def other_click(data: TaskData, items: np.ndarray) -> None:
    place = int(np.flatnonzero(popular(data).labels)[0])
    items[place] = (items[place] + 1) % len(data.catalog)


def first_unclicked(data: TaskData) -> int:
    return int(np.flatnonzero(~popular(data).labels)[0])


def twice(data: TaskData, items: np.ndarray) -> None:
    first, second = np.flatnonzero(~popular(data).labels)[:2]
    items[first] = items[second]


def taken(data: TaskData, items: np.ndarray) -> None:
    newest = int(popular(data).histories[0, -1])
    items[first_unclicked(data)] = newest


def test_the_lists_of_the_harness_pass() -> None:
    assert popular_list(CARD, made(), TABLES) == ", 3 popular candidates each"
    plain = broken_tasks.task().card.track("standard")
    assert popular_list(plain, build(plain, TABLES, "0" * 64, "here"), TABLES) == ""


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (other_click, "other users, histories or clicks"),
        (twice, "twice in a list"),
        (taken, "were taken by their user"),
    ],
)
def test_wrong_items_are_found(change: Callable[[TaskData, np.ndarray], None], problem: str) -> None:
    with pytest.raises(ConformanceError, match=problem):
        popular_list(CARD, with_items(change), TABLES)


def test_lists_that_are_missing_or_too_long_are_found() -> None:
    with pytest.raises(ConformanceError, match="asks for 3 popular candidates"):
        popular_list(CARD, replace(made(), popular_impressions=None), TABLES)
    data = made()
    wrong = replace(data, popular_impressions=data.impressions)  # as many as of uniform ones: none by popularity
    other = CARD.model_copy(update={"negatives": CARD.negatives.model_copy(update={"popular_per_click": 2})})
    with pytest.raises(ConformanceError, match="other numbers than 2 for each click"):
        popular_list(other, wrong, TABLES)


def test_candidates_without_a_click_in_training_are_found() -> None:
    data = made()
    users, items, labels = popular(data).users, popular(data).items, popular(data).labels
    # nobody takes this item before the test period
    item = int(items[first_unclicked(data)])
    interactions = TABLES.interactions
    assert interactions is not None
    others = [name != data.catalog.ids[item] for name in interactions["item"].to_pylist()]
    late = replace(TABLES, interactions=interactions.filter(others))
    assert len(users)
    assert int((items[~labels] == item).sum()) > 0
    with pytest.raises(ConformanceError, match="have no click in the training period"):
        popular_list(CARD, data, late)
