"""What poisoning does to a model: where targets stand in the lists of genuine users, before and after.

Everything is measured for the genuine users of the test pairs, each at the first of their test examples: a user who
comes back is counted once, with the history that the user had then.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.poison import Targets
from recgauntlet.core.protocol import SAMPLES
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data.batches import impressions_to_batch, pairs_to_batch
from recgauntlet.data.interactions import Interactions
from recgauntlet.data.negative_sampling import contains
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.setup import is_random
from recgauntlet.metrics.ranking import Floats, Ranked, Scores, correct

CHUNK = 4096
"""Candidates that are scored at once."""
CUTOFFS = (10, 50)


@dataclass(frozen=True)
class Audience:
    """The genuine users whose lists are looked at, and the targets looked for.

    rows
        `[U]` the test pair of each user.
    taken
        `[U, N]` what the user had taken before: no candidate of the list.
    targets
        `[T]` catalog indices.
    eligible
        `[U, T]` whether the user never takes the target, in no period.
    """

    rows: IntArray
    taken: BoolArray
    targets: IntArray
    eligible: BoolArray

    @classmethod
    def of(cls, data: TaskData, genuine: Interactions, targets: Targets) -> Audience:
        """The users of the test pairs of the genuine `data`."""
        size, takes = len(genuine.catalog), genuine.takes
        keys = takes.users * size + takes.items
        order = np.argsort(keys)
        # an item counts once for a user, so a test pair has one row of the interactions
        at = order[np.searchsorted(keys[order], data.test.users * size + data.test.clicked)]
        by_time = np.lexsort((np.arange(len(at)), takes.times[at], data.test.users))
        _, first = np.unique(data.test.users[by_time], return_index=True)
        rows = by_time[first]
        taken = np.zeros((len(rows), size), dtype=np.bool_)
        for user, row in enumerate(at[rows].tolist()):
            taken[user, takes.items[takes.user_starts[row] : takes.history_ends[row]]] = True
        return cls(rows, taken, targets.items, never_taken(data.test.users[rows], genuine, targets))


def never_taken(users: IntArray, genuine: Interactions, targets: Targets) -> BoolArray:
    """`[M, T]`: whether each of `users [M]` takes each target in no period, and no part in the attack."""
    size = len(genuine.catalog)
    never = ~contains(genuine.takes.keys(size), users[:, None] * size + targets.items[None, :])
    return never & ~np.isin(users, targets.collective)[:, None]


@dataclass(frozen=True)
class Exposure:
    """Where the targets stand in the users' lists of all items that they had not taken.

    above, tied
        `[U, T]` candidates that score higher than the target, and others that score the same.
    others
        `[U, T]` candidates beside the target.
    eligible
        `[U, T]` as in `Audience`.
    """

    above: IntArray
    tied: IntArray
    others: IntArray
    eligible: BoolArray

    def in_top(self, k: int) -> Floats:
        """`[U, T]`: the chance that the target is among the first `k`, over all orders of tied candidates; NaN where
        the pair is not eligible. The mean is ER@k (PoisonRec, FedRecAttack)."""
        chance = np.clip((k - self.above) / (self.tied + 1), 0.0, 1.0)
        return np.where(self.eligible, chance, np.nan)

    def win_rate(self) -> Floats:
        """`[U, T]`: the share of the other candidates that the target outranks, and half of those it is tied with; NaN
        where the pair is not eligible."""
        won = self.others - self.above - self.tied / 2
        return np.where(self.eligible, won / np.maximum(1, self.others), np.nan)


def measure_exposure(model: Recommender, data: TaskData, audience: Audience, samples: int = 1) -> Exposure:
    """Score the whole catalog for every user of `audience`; `data` is what the model was trained on, whose users may be
    numbered anew.

    A score that is no number counts against the defender: the target's as the highest, another's as the lowest.
    """
    size, count = len(data.catalog), len(audience.rows)
    above = np.zeros((count, len(audience.targets)), dtype=np.int64)
    tied, others = above.copy(), above.copy()
    step = max(1, CHUNK // size)
    for start in range(0, count, step):
        own = np.arange(start, min(start + step, count))
        scores = _catalog_scores(model, data, audience.rows[own], samples)
        wanted = np.where(np.isnan(scores), np.inf, scores)[:, audience.targets, None]
        open_ = ~audience.taken[own][:, None, :]
        scores = np.where(np.isnan(scores), -np.inf, scores)[:, None, :]
        itself = np.arange(size)[None, None, :] == audience.targets[None, :, None]
        rivals = open_ & ~itself
        above[own] = ((scores > wanted) & rivals).sum(axis=2)
        tied[own] = ((scores == wanted) & rivals).sum(axis=2)
        others[own] = rivals.sum(axis=2)
    return Exposure(above, tied, others, audience.eligible)


def _catalog_scores(model: Recommender, data: TaskData, rows: IntArray, samples: int) -> Scores:
    """`[M, N]`: the scores of all items for the users of the test pairs `rows [M]`."""
    size = len(data.catalog)
    users = Users(torch.from_numpy(data.test.users[rows]), torch.from_numpy(data.test.histories[rows]))
    batch = _shown(users, np.repeat(np.arange(len(rows)), size), np.tile(np.arange(size), len(rows)))
    found: Scores = score_in_chunks(model, batch.to(model.device), samples, CHUNK).cpu().numpy()
    return found.reshape(len(rows), size)


def _shown(users: Users, rows: IntArray, items: IntArray) -> Batch:
    nothing = torch.zeros(len(items), dtype=torch.int64)
    return Batch(users, torch.from_numpy(rows), torch.from_numpy(items), nothing.float(), nothing)


@dataclass(frozen=True)
class PairOutcomes:
    """Whether pairs of a genuine test click and a target are right, each example by its side of 0 as everywhere.

    clicked
        `[P]` whether the click of the test pair scores above 0.
    targets
        `[P, T]` whether the target does not.
    eligible
        `[P, T]` whether the pair counts: the user never takes the target.
    """

    clicked: BoolArray
    targets: BoolArray
    eligible: BoolArray

    def and_right_under(self, others: Sequence[PairOutcomes]) -> PairOutcomes:
        """Right here and under every one of `others`: the worst case per example."""
        clicked, targets = self.clicked.copy(), self.targets.copy()
        for other in others:
            clicked &= other.clicked
            targets &= other.targets
        return replace(self, clicked=clicked, targets=targets)

    def accuracy(self, columns: IntArray | slice = slice(None)) -> float:
        """The share of right examples, two a pair, over the pairs with the targets at `columns`; NaN without pairs."""
        eligible = self.eligible[:, columns]
        right = (self.clicked[:, None].astype(np.float64) + self.targets[:, columns]) / 2
        return float(right[eligible].mean()) if eligible.any() else float("nan")


def measure_pairs(
    model: Recommender, data: TaskData, targets: IntArray, eligible: BoolArray, samples: int = 1
) -> PairOutcomes:
    """Score the test clicks of `data`, and the `targets [T]` for their users; `eligible [P, T]` by `never_taken`."""
    count = len(data.test)
    batch = pairs_to_batch(data.test, np.arange(count)).to(model.device)
    clicks = batch.select(torch.arange(0, 2 * count, 2, device=model.device))
    clicked = score_in_chunks(model, clicks, samples).cpu().numpy()
    users = Users(torch.from_numpy(data.test.users), torch.from_numpy(data.test.histories))
    shown = _shown(users, np.repeat(np.arange(count), len(targets)), np.tile(targets, count)).to(model.device)
    scores = score_in_chunks(model, shown, samples).cpu().numpy()
    right = correct(np.zeros(len(scores), dtype=np.bool_), scores).reshape(count, len(targets))
    return PairOutcomes(correct(np.ones(count, dtype=np.bool_), clicked), right, eligible)


@dataclass(frozen=True)
class PoisoningOutcome:
    """What is measured of one model, trained clean or poisoned.

    accuracy, ndcg10
        On the genuine test pairs and impressions: the collateral damage is their fall.
    """

    exposure: Exposure
    pairs: PairOutcomes
    accuracy: float
    ndcg10: float


def measure_poisoning(model: Recommender, data: TaskData, audience: Audience, eligible: BoolArray) -> PoisoningOutcome:
    """Everything that is measured of a trained `model`; where it is random, by the mean scores of SAMPLES passes.

    `data`: what it was trained on (`PoisonedData.data`, or the genuine data); `audience` and `eligible` are made from
    the genuine data.
    """
    batch = pairs_to_batch(data.test, np.arange(len(data.test))).to(model.device)
    samples = SAMPLES if is_random(model, batch) else 1
    right = correct(batch.labels.cpu().numpy() > 0.5, score_in_chunks(model, batch, samples).cpu().numpy())
    lists = impressions_to_batch(data.impressions, np.arange(len(data.impressions))).to(model.device)
    scores = score_in_chunks(model, lists, samples).cpu().numpy()
    scores = np.where(np.isnan(scores), -np.inf, scores)
    ranked = Ranked.of(data.impressions.labels, scores, data.impressions.offsets)
    return PoisoningOutcome(
        measure_exposure(model, data, audience, samples),
        measure_pairs(model, data, audience.targets, eligible, samples),
        float(right.mean()),
        float(ranked.ndcg_each(10).mean()),
    )
