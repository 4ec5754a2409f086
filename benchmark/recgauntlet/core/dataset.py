"""The normalized tables of a data source, and the prepared data for training and evaluation."""

from __future__ import annotations

from dataclasses import dataclass

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
    """What a loader returns: `items` (schema ITEMS) and exactly one of `interactions` and `impressions`.

    `time` is in seconds since 1970 (UTC). Rows may come in any order; the fingerprint sorts them.
    """

    items: pa.Table
    interactions: pa.Table | None = None
    impressions: pa.Table | None = None


@dataclass(frozen=True)
class Catalog:
    """The items of a task in a fixed order; everywhere else an item is its index here."""

    ids: tuple[str, ...]
    texts: tuple[str, ...]
    categories: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.ids)


@dataclass(frozen=True)
class Pairs:
    """Balanced examples: `P` users, each with one clicked and one unclicked candidate of the same impression.

    `users [P]`, `histories [P, H]` (PAD in front, newest last), `clicked [P]`, `unclicked [P]`: indices.
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
    """What a recommender may know before it is trained: the training pairs, and the bound of the user indices. Users
    of later periods are among them only if they were there before."""

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
class TaskData:
    """Everything a cell needs of one track: made once, cached, keyed by `fingerprint` and the card.

    `train`, `valid` and `test` are split by time; `impressions` belong to the test period.
    `user_count` bounds the user indices.
    """

    fingerprint: str
    catalog: Catalog
    user_count: int
    train: Pairs
    valid: Pairs
    test: Pairs
    impressions: Impressions
