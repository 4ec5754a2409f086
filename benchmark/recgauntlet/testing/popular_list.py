"""What a task's lists with candidates drawn by popularity must be, where its card asks for them."""

from __future__ import annotations

import numpy as np

from recgauntlet.core.card import TrackCard
from recgauntlet.core.dataset import Tables, TaskData
from recgauntlet.data.examples import periods, takes_of
from recgauntlet.data.negative_sampling import contains
from recgauntlet.testing.check import require


def popular_list(card: TrackCard, data: TaskData, tables: Tables) -> str:
    """What to add to the outcome of the check of examples; ConformanceError where the lists are not as the card asks:
    the clicks of the impressions, each among as many different items that its user never took and that users took in
    the training period."""
    count, lists = card.negatives.popular_per_click, data.popular_impressions
    require((lists is not None) == (count > 0), f"the card asks for {count} popular candidates a click")
    if lists is None or tables.interactions is None:
        return ""
    require(
        len(lists) == len(data.impressions)
        and np.array_equal(lists.users, data.impressions.users)
        and np.array_equal(lists.histories, data.impressions.histories)
        and np.array_equal(lists.items[lists.labels], data.impressions.items[data.impressions.labels]),
        "the lists with popular candidates have other users, histories or clicks than the impressions",
    )
    sizes = np.diff(lists.offsets)
    clicks = np.add.reduceat(lists.labels.astype(np.int64), lists.offsets[:-1])
    require(
        bool((sizes == clicks * (1 + count)).all()),
        f"lists with popular candidates hold other numbers than {count} for each click",
    )
    users = np.repeat(lists.users, sizes)
    keys = users * len(data.catalog) + lists.items
    lists_and_items = np.repeat(np.arange(len(lists)), sizes) * len(data.catalog) + lists.items
    require(len(np.unique(lists_and_items)) == len(lists_and_items), "an item stands twice in a list")
    takes = takes_of(tables.interactions, tables.interactions["user"].combine_chunks().unique().sort(), data.catalog)
    ever = takes.keys(len(data.catalog))
    taken = int(contains(ever, keys[~lists.labels]).sum())
    require(taken == 0, f"{taken} popular candidates that count as unclicked were taken by their user")
    in_train, _, _ = periods(card.split, takes.users, takes.times, "")
    known = np.bincount(takes.items[in_train], minlength=len(data.catalog)) > 0
    unknown = int((~known[lists.items[~lists.labels]]).sum())
    require(unknown == 0, f"{unknown} popular candidates have no click in the training period")
    return f", {count} popular candidates each"
