"""A small learnable task in memory: users who like one topic, and titles made of its words."""

from __future__ import annotations

import numpy as np
from toy_recommender import make_batch, make_catalog

from recgauntlet.core.dataset import Catalog, Impressions, Pairs, TaskData


def small_pairs(catalog: Catalog, count: int, seed: int) -> Pairs:
    """`count` users with a clicked item of the topic they like and an unclicked one of another."""
    batch = make_batch(catalog, users=count, seed=seed)
    items = batch.items.numpy()
    return Pairs(batch.users.ids.numpy(), batch.users.histories.numpy(), items[::2].copy(), items[1::2].copy())


def small_data(train: int = 240, valid: int = 60, test: int = 40) -> TaskData:
    catalog = make_catalog(40)
    tested = small_pairs(catalog, test, seed=3)
    shown = np.stack([tested.clicked, tested.unclicked], axis=1).reshape(-1)
    labels = np.tile([True, False], test)
    lists = Impressions(tested.users, tested.histories, shown, labels, np.arange(0, 2 * test + 1, 2))
    return TaskData(
        "0" * 64, catalog, test, small_pairs(catalog, train, 1), small_pairs(catalog, valid, 2), tested, lists
    )
