"""The normalized tables of a data source, and the prepared data for training and evaluation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np
import pyarrow as pa

from recgauntlet.core.types import BoolArray, IntArray

ITEMS = pa.schema([("id", pa.string()), ("text", pa.string()), ("category", pa.string())])
INTERACTIONS = pa.schema([("user", pa.string()), ("item", pa.string()), ("time", pa.int64())])
IMPRESSIONS = pa.schema(
    [
        ("impression", pa.string()),
        ("user", pa.string()),
        ("time", pa.int64()),
        ("history", pa.list_(pa.string())),
        ("shown", pa.list_(pa.string())),
        ("clicked", pa.list_(pa.bool_())),
    ]
)


@dataclass(frozen=True)
class Tables:
    """What a loader returns: the items and exactly one of `interactions` and `impressions`.

    Rows may come in any order; the fingerprint sorts them. `time` is in seconds since 1970 (UTC).

    items
        Columns `id`, `text` and `category`, all strings.
    interactions
        Columns `user`, `item` (strings) and `time` (int64).
    impressions
        Columns `impression`, `user` (strings), `time` (int64), `history`, `shown` (lists of items' ids) and `clicked`
        (a list of booleans beside `shown`).
    """

    items: pa.Table
    interactions: pa.Table | None = None
    impressions: pa.Table | None = None


AttributeName = Literal["age", "gender"]


@dataclass(frozen=True)
class UserAttribute:
    """What a source records of its users, in a few groups: for fairness alone, no model reads it.

    name
        Which attribute.
    labels
        The groups in words, in the order in which they are shown: from 2 to 10, each of at most 40 characters.
    of_user
        The place in `labels` of each user, by the user's id in the tables; a user who is not in it has no group.
    """

    name: AttributeName
    labels: tuple[str, ...]
    of_user: Mapping[str, int]


@dataclass(frozen=True)
class Catalog:
    """The `N` items of a task in a fixed order; everywhere else an item is its index here.

    ids
        `N` ids, as the source has them.
    texts
        `N` titles or headlines.
    categories
        `N` categories; empty where the source has none.
    """

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Pairs:
    """Balanced examples: `P` users, each with one clicked and one unclicked candidate of the same impression.

    users
        `[P]` user indices.
    histories
        `[P, H]` catalog indices; newest last, PAD in front.
    clicked
        `[P]` catalog indices.
    unclicked
        `[P]` catalog indices.
    """

    users: IntArray
    histories: IntArray
    clicked: IntArray
    unclicked: IntArray

    def __len__(self) -> int:
        return int(self.users.shape[0])

    def select(self, rows: IntArray | slice) -> Pairs:
        """The pairs at `rows`."""
        return Pairs(self.users[rows], self.histories[rows], self.clicked[rows], self.unclicked[rows])


@dataclass(frozen=True)
class TrainingPeriod:
    """What a recommender may know before it is trained.

    pairs
        The training pairs.
    user_count
        Bound of the user indices; a user of a later period is below it only if training has that user.
    """

    pairs: Pairs
    user_count: int


@dataclass(frozen=True)
class Impressions:
    """`I` lists of candidates as shown: `users [I]`, `histories [I, H]`, and ragged `items`/`labels` cut by
    `offsets [I + 1]`. Each has at least one clicked and one unclicked candidate."""

    users: IntArray
    histories: IntArray
    items: IntArray
    labels: BoolArray
    offsets: IntArray

    def __len__(self) -> int:
        return int(self.users.shape[0])


@dataclass(frozen=True)
class AdLists:
    """`L` lists of one period for each of `D` draws of sponsored items, one list a user.

    users
        `[L]` user indices.
    histories
        `[L, H]` catalog indices; newest last, PAD in front.
    items
        `[D, L, K]` candidates: the organic ones, and behind them the sponsored ones of the draw.
    taken
        `[D, L, K]`: which organic candidates the user took in the period; at least one in each list.
    """

    users: IntArray
    histories: IntArray
    items: IntArray
    taken: BoolArray

    def __len__(self) -> int:
        return int(self.users.shape[0])


@dataclass(frozen=True)
class Taken:
    """What each of `U` users ever took, in whatever period: `items [M]`, rising for each user, cut by
    `offsets [U + 1]`."""

    items: IntArray
    offsets: IntArray

    def of(self, user: int) -> IntArray:
        """The items of one user."""
        return self.items[self.offsets[user] : self.offsets[user + 1]]

    def renumbered(self, users: IntArray, count: int) -> Taken:
        """Of `count` users, of whom those at `users [U]`, rising, are these, and the others took nothing."""
        sizes = np.zeros(count, dtype=np.int64)
        sizes[users] = np.diff(self.offsets)
        return Taken(self.items, np.concatenate([[0], np.cumsum(sizes)]))


@dataclass(frozen=True)
class TaskData:
    """Everything a cell needs of one track: made once, cached, keyed by `fingerprint` and the card.

    fingerprint
        SHA-256 of the normalized tables.
    catalog
        The items.
    user_count
        Bound of the user indices.
    train, valid, test
        Pairs of the three periods, split by time.
    impressions
        Lists of candidates of the test period: `users [I]`, `histories [I, H]`, ragged `items` and `labels`, cut by
        `offsets [I + 1]`.
    valid_ads, test_ads
        Lists with simulated ads of the two later periods; None where the card has none, and while a model is trained.
    popular_impressions
        The clicks of `impressions` among unclicked candidates that were drawn by popularity; None as the ads are.
    taken
        What each user ever took; None of data with impressions, and while a model is trained.
    """

    fingerprint: str
    catalog: Catalog
    user_count: int
    train: Pairs
    valid: Pairs
    test: Pairs
    impressions: Impressions
    valid_ads: AdLists | None = None
    test_ads: AdLists | None = None
    popular_impressions: Impressions | None = None
    taken: Taken | None = None
