"""Where clicks stand in lists of the whole catalog, beside the few sampled candidates of an impression."""

from __future__ import annotations

import numpy as np
import torch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.evaluation.groups import popularity_groups
from recgauntlet.evaluation.judge import score_in_chunks
from recgauntlet.evaluation.results import CatalogResult
from recgauntlet.metrics.exposure import top_chances
from recgauntlet.metrics.ranking import Floats, Scores
from recgauntlet.records.groups import EXPOSED

PAIRS_A_LIST = 15
"""So many test pairs have one list of the whole catalog, 1,500 pairs have 100: every item is scored for the user of a
list, which takes a cross-encoder of texts minutes."""
CHUNK = 4096
"""Candidates that are scored at once."""


def list_count(data: TaskData) -> int:
    """How many users have a list of the whole catalog."""
    return -(-len(data.test) // PAIRS_A_LIST)


def rank_catalog(model: Recommender, data: TaskData, samples: int = 1) -> CatalogResult | None:
    """The place of the click of each of the first test impressions, `list_count` of them, among all items that its user
    never took, and the popularity of the first items; None for data of impressions, where nobody knows what a user
    would have passed over.

    A score that is not a number counts as the lowest.
    """
    if data.taken is None or not len(data.impressions):
        return None
    shown, size = data.impressions, len(data.catalog)
    count = min(len(shown), list_count(data))
    bounds, of_items = popularity_groups(data)
    found: list[IntArray] = []
    exposed: list[Floats] = []
    step = max(1, CHUNK // size)
    for start in range(0, count, step):
        rows = np.arange(start, min(start + step, count))
        users = Users(torch.from_numpy(shown.users[rows]), torch.from_numpy(shown.histories[rows]))
        scores = catalog_scores(model, users, size, samples)
        for row, own in zip(rows.tolist(), np.where(np.isnan(scores), -np.inf, scores), strict=True):
            between = slice(shown.offsets[row], shown.offsets[row + 1])
            (click,) = shown.items[between][shown.labels[between]].tolist()
            taken = data.taken.of(int(shown.users[row]))
            found.append(place_of(click, own, taken))
            listed = np.union1d(np.setdiff1d(np.arange(size), taken), click)
            chances = top_chances(own[listed], EXPOSED)
            exposed.append(np.array([chances[of_items[listed] == group].sum() for group in range(len(bounds))]))
    above, tied, others = np.stack(found, axis=1).tolist()
    return CatalogResult(
        above=tuple(above),
        tied=tuple(tied),
        others=tuple(others),
        exposed=np.concatenate(exposed).astype(np.float32),
    )


def place_of(item: int, scores: Scores, taken: IntArray) -> IntArray:
    """`[3]`: how many other items that are not among `taken` score above `item`, how many the same, and how many there
    are; `scores [N]` of all items."""
    rivals: BoolArray = np.ones(len(scores), dtype=np.bool_)
    rivals[taken] = False
    rivals[item] = False
    others = scores[rivals]
    return np.array([(others > scores[item]).sum(), (others == scores[item]).sum(), len(others)], dtype=np.int64)


def catalog_scores(model: Recommender, users: Users, size: int, samples: int = 1) -> Scores:
    """`[M, N]`: the scores of all items for each of `M` users."""
    rows, items = np.repeat(np.arange(len(users)), size), np.tile(np.arange(size), len(users))
    nothing = torch.zeros(len(items), dtype=torch.int64)
    batch = Batch(users, torch.from_numpy(rows), torch.from_numpy(items), nothing.float(), nothing)
    found: Scores = score_in_chunks(model, batch.to(model.device), samples, CHUNK).cpu().numpy()
    return found.reshape(len(users), size)
