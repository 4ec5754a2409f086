"""Records with groups of users and items, whose accuracies are known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from synthetic_records import make_record

from recgauntlet.data.user_attributes import UserCodes
from recgauntlet.evaluation.user_groups import user_groups_of
from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.groups import Group, Grouping
from recgauntlet.records.schema import RunRecord

USERS = 60
BOUNDS = ((0, 0), (3, 9), (10, 40))


def with_groups(record: RunRecord, codes: Sequence[int] | None = None, *, exposed: bool = False) -> RunRecord:
    """The record with one grouping of three groups: pair n is in group n modulo 3, or in `codes[n]`."""
    assert record.clean is not None
    pairs = np.arange(record.clean.labels.n // 2) % 3 if codes is None else np.array(codes)
    places = np.array([[1, 2, 7], [0, 0, 10]], dtype=np.float64)
    one = Grouping(
        name="popularity" if exposed else "activity",
        groups=tuple(Group(least=least, most=most) for least, most in BOUNDS),
        pairs=IntColumn.of(pairs.astype(np.int64)),
        exposed=FloatColumn.of(places.reshape(-1)) if exposed else None,
    )
    return record.model_copy(update={"groups": (one,), "digest": ""}).sealed()


def with_user_groups(record: RunRecord, labels: Sequence[str] = ("young", "middle", "old")) -> RunRecord:
    """The record with the ages of sixty users: pair n is of user n modulo 60, whose group is that modulo 3."""
    assert record.clean is not None
    ages = UserCodes("age", tuple(labels), np.arange(USERS) % len(labels))
    found = user_groups_of(record, [ages], np.arange(record.clean.labels.n // 2) % USERS)
    return record.model_copy(update={"user_groups": found, "digest": ""}).sealed()


def record_by_group(
    robust: Sequence[float], *, clean: float = 0.9, pairs: int = 600, seed: int = 0, defense: str = "standard"
) -> RunRecord:
    """A record with groups, of clean accuracy `clean` in each and robust accuracies `robust` under "stuffing" at every
    tier, but for rounding; which examples is drawn by seed and defense."""
    record = make_record(seed=seed, defense=defense, pairs=pairs, threats={"stuffing": (0.5, 0.5, 0.5)})
    assert record.clean is not None
    rng = np.random.default_rng([seed, *defense.encode()])
    right, standing = (np.zeros((pairs, 2), dtype=np.bool_) for _ in range(2))
    for group, share in enumerate(robust):
        members = np.flatnonzero(np.arange(pairs) % 3 == group)
        order = rng.permutation(2 * len(members))
        for bits, part in ((right, clean), (standing, share)):
            of_group = np.zeros(2 * len(members), dtype=np.bool_)
            of_group[order[: round(part * len(order))]] = True
            bits[members] = of_group.reshape(-1, 2)
    labels = record.clean.labels.to_bool()
    scores = np.where(right.reshape(-1) == labels, 1.0, -1.0)
    (threat,) = record.threats
    tiers = tuple(
        one.model_copy(update={"robust": BitColumn.of(standing.reshape(-1)), "attacks": ()}) for one in threat.tiers
    )
    return with_groups(
        record.model_copy(
            update={
                "clean": record.clean.model_copy(update={"scores": FloatColumn.of(scores)}),
                "threats": (threat.model_copy(update={"tiers": tiers}),),
            }
        )
    )
