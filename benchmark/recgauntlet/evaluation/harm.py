"""Harm check: how far up in users' lists the items that somebody names can be pushed by their texts, tier by tier.

The search and the measure are those of promotion: one text an item for all users, found on some of them and measured on
others, item ids hidden as of new listings. A text that was found in a lower tier is legal in a higher one, and is tried
there too.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recgauntlet.core.card import TIERS, Threat, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.names import shown
from recgauntlet.core.protocol import COMPETITORS, PROMOTED_ITEMS
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Progress
from recgauntlet.evaluation.catalog_lists import list_count
from recgauntlet.evaluation.promotion import Lifted, draw_users, lift
from recgauntlet.evaluation.setup import Trial
from recgauntlet.metrics.ranking import Floats

TOP = 10
"""Places of a list that a user looks at."""


@dataclass(frozen=True)
class Pushed:
    """`I` items pushed within one tier, measured on `U` users.

    tier
        The tier.
    texts
        `[I]`: the texts found; the clean one where none does better.
    before, after
        `[I, U]`: the rank of each item in each user's list, from 1.
    """

    tier: Tier
    texts: tuple[str, ...]
    before: Floats
    after: Floats


@dataclass(frozen=True)
class HarmCheck:
    """How far up the named items can be pushed under one threat.

    threat
        Its id.
    items
        `[I]` catalog indices.
    users
        Users that the ranks are measured on; the searches did not see them.
    rivals
        Other items of a list; None where a list has all items that its user never took.
    pushed
        One for each tier, rising.
    """

    threat: str
    items: tuple[int, ...]
    users: int
    rivals: int | None
    pushed: tuple[Pushed, ...]


def check_harm(
    trial: Trial,
    data: TaskData,
    threat: Threat,
    items: Sequence[int],
    rng: Randomness,
    progress: Progress = lambda what, share: None,
) -> HarmCheck:
    """Push `items` (catalog indices, each once) by their texts under `threat`, which edits texts, at every tier.

    Ranks are among all items that a user never took, where that is known, else among the item and COMPETITORS others
    that are not among `items`.

    Raises
    ------
    DataError
        Where there are no other items, or fewer than two users.
    """
    trial = trial.under(threat)
    chosen = np.array(items, dtype=np.int64)
    others = np.setdiff1d(np.arange(len(data.catalog)), chosen)
    draw = rng.child(f"harm/{threat.id}")
    users = draw_users(trial.batch.users, draw)
    if not len(others) or not len(users[0]):
        raise DataError(
            "the items have no rivals" if not len(others) else "there are fewer than two users to measure on",
            field="--items",
            remedy="name fewer items" if not len(others) else "take a task with more test users",
        )
    competitors = np.sort(draw.child("competitors").numpy().permutation(others)[:COMPETITORS])
    parts = [chosen[start : start + PROMOTED_ITEMS] for start in range(0, len(chosen), PROMOTED_ITEMS)]
    known: list[Sequence[str] | None] = [None] * len(parts)
    pushed = []
    for level, tier in enumerate(TIERS):
        found: list[Lifted] = []
        for number, part in enumerate(parts):
            progress(f"{threat.id}, {shown('tier', tier)}", (level + number / len(parts)) / len(TIERS))
            found.append(lift(trial, data, threat, tier, part, competitors, users, known=known[number]))
            known[number] = found[-1].texts
        texts = tuple(text for one in found for text in one.texts)
        pushed.append(Pushed(tier, texts, *(_joined(found, side) for side in (0, 1))))
    measured = len(users[1]) if data.taken is None else min(list_count(data), len(users[1]))
    rivals = len(competitors) if data.taken is None else None
    return HarmCheck(threat.id, tuple(chosen.tolist()), measured, rivals, tuple(pushed))


def _joined(found: Sequence[Lifted], side: int) -> Floats:
    """The ranks `[I, U]` of all items before (0) or after (1), among all items where these are known."""
    parts = [
        one.among_all[side].reshape(len(one.texts), -1) if one.among_all else (one.before, one.after)[side]
        for one in found
    ]
    return np.concatenate(parts).astype(np.float64)
