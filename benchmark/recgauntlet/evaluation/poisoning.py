"""What poisoning does to a model: where targets stand in the lists of genuine users, before and after.

Everything is measured for the genuine users of the test pairs, each at the first of their test examples: a user who
comes back is counted once, with the history that the user had then.
"""

from __future__ import annotations

from dataclasses import dataclass

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
from recgauntlet.evaluation.catalog_lists import CHUNK, catalog_scores
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.setup import is_random
from recgauntlet.metrics.exposure import Exposure, PairOutcomes
from recgauntlet.metrics.ranking import Floats, Ranked, correct


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
        rows = audience.rows[own]
        users = Users(torch.from_numpy(data.test.users[rows]), torch.from_numpy(data.test.histories[rows]))
        scores = catalog_scores(model, users, size, samples)
        wanted = np.where(np.isnan(scores), np.inf, scores)[:, audience.targets, None]
        open_ = ~audience.taken[own][:, None, :]
        scores = np.where(np.isnan(scores), -np.inf, scores)[:, None, :]
        itself = np.arange(size)[None, None, :] == audience.targets[None, :, None]
        rivals = open_ & ~itself
        above[own] = ((scores > wanted) & rivals).sum(axis=2)
        tied[own] = ((scores == wanted) & rivals).sum(axis=2)
        others[own] = rivals.sum(axis=2)
    return Exposure(above, tied, others, audience.eligible)


def _shown(users: Users, rows: IntArray, items: IntArray) -> Batch:
    nothing = torch.zeros(len(items), dtype=torch.int64)
    return Batch(users, torch.from_numpy(rows), torch.from_numpy(items), nothing.float(), nothing)


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
    """What is measured of one model, trained clean or poisoned; `P` test pairs, `I` test impressions.

    right
        `[2 P]` whether each test example is right, pair after pair: clicked, unclicked.
    ndcg10_each
        `[I]` nDCG@10 of each test impression.
    """

    exposure: Exposure
    pairs: PairOutcomes
    right: BoolArray
    ndcg10_each: Floats

    @property
    def accuracy(self) -> float:
        """On the genuine test pairs: the collateral damage is its fall."""
        return float(self.right.mean())

    @property
    def ndcg10(self) -> float:
        """The mean over the genuine test impressions."""
        return float(self.ndcg10_each.mean())


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
        right,
        ranked.ndcg_each(10),
    )
