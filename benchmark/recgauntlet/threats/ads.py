"""Ads in lists, and the rules for users who dodge them: which ads a list shows, and whether an edit is legal.

Independent of the attacks. A list has its organic candidates first and its sponsored ones behind them; the platform
ranks by score, plus an offset for sponsored candidates. Candidates with equal ranks keep their order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from recgauntlet.core.card import AdThreat, HistoryThreat, Tier
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.metrics.ranking import Floats, Ranked, Scores
from recgauntlet.threats.edits import items_of
from recgauntlet.threats.history import history_fault

PLACES = 10
"""The places of a list that count."""
_ROUNDING = 1e-9
"""By how much the utility may miss its limit because of the order of sums."""


def history_rules(threat: AdThreat) -> HistoryThreat:
    """What `threat` allows of the history alone: any item of the catalog may come in."""
    return HistoryThreat(
        id=threat.id,
        goal="flip",
        ranked=False,
        queries=threat.queries,
        source=threat.source,
        surface=threat.surface,
        operations=threat.operations,
        edits=threat.edits,
        window=threat.window,
        min_cosine=-1,
    )


def fitted_offset(scores: Scores, organic: int, shown: float) -> float:
    """What is added to sponsored scores so that on the lists `scores [L, K]` a share `shown` of the first PLACES
    places is sponsored, as nearly as ties allow.

    The k-th best sponsored candidate of a list is shown from the offset on at which it overtakes the organic one of
    rank PLACES + 1 - k. So the number of places that are sponsored rises by one at each of these offsets, and the one
    looked for lies between two of them.

    Raises ValueError where a score is not a number.
    """
    if not np.isfinite(scores).all():
        raise ValueError("a score of a validation list is not a number")
    depth = min(PLACES, scores.shape[1] - organic)
    best = -np.sort(-scores[:, :organic].astype(np.float64), axis=1)[:, :PLACES]
    ads = -np.sort(-scores[:, organic:].astype(np.float64), axis=1)[:, :depth]
    overtakes = np.sort((best[:, ::-1][:, :depth] - ads).reshape(-1))
    wanted = min(max(1, round(shown * PLACES * len(scores))), len(overtakes) - 1)
    return float((overtakes[wanted - 1] + overtakes[wanted]) / 2)


def shown_ads(scores: Scores, organic: int, offset: float) -> BoolArray:
    """`[L, S]`: which sponsored candidates of the lists `scores [L, K]` are among the first PLACES. Of a list with a
    score that is not a number, none is."""
    ranks = scores.astype(np.float64)
    ranks[:, organic:] += offset
    broken = ~np.isfinite(ranks).all(axis=1)
    ranks[broken] = 0.0
    order = np.argsort(-ranks, axis=1, kind="stable")[:, :PLACES]
    first = np.zeros(ranks.shape, dtype=np.bool_)
    np.put_along_axis(first, order, True, axis=1)
    first[broken] = False
    return first[:, organic:]


def utility(scores: Scores, taken: BoolArray, organic: int) -> Floats:
    """`[L]`: nDCG@10 among the organic candidates of the lists `scores [L, K]`, of which the user took `taken [L, K]`;
    0 where a score is not a number."""
    own = scores[:, :organic].astype(np.float64)
    broken = ~np.isfinite(own).all(axis=1)
    own[broken] = 0.0
    offsets = np.arange(len(own) + 1, dtype=np.int64) * organic
    found = Ranked.of(taken[:, :organic].reshape(-1), own.reshape(-1), offsets).ndcg_each(PLACES)
    found[broken] = 0.0
    return found


@dataclass(frozen=True)
class JudgedLists:
    """What an edit led to on `L` lists.

    ads
        `[L, S]`: the sponsored candidates among the first PLACES.
    reasons
        Why the edit of a list is not legal; empty where it is.
    """

    ads: BoolArray
    reasons: tuple[str, ...]

    @property
    def legal(self) -> BoolArray:
        """`[L]`"""
        return np.array([not reason for reason in self.reasons], dtype=np.bool_)


def judge_edits(
    threat: AdThreat,
    tier: Tier,
    catalog: int,
    offset: float,
    items: IntArray,
    taken: BoolArray,
    clean: tuple[IntArray, Scores],
    edited: tuple[IntArray, Scores],
) -> JudgedLists:
    """Check edits of the histories of `L` lists, from the inputs and the evaluator's scores alone.

    A legal edit inserts and deletes no more items than `tier` allows, all among the last `threat.window`; brings in no
    candidate of the list, which a platform would then take off it; and keeps the share `threat.utility` of the clean
    utility. The unchanged history is legal.

    Parameters
    ----------
    catalog
        How many items there are.
    items, taken
        `[L, K]`: the candidates, and which of them the user took.
    clean, edited
        The histories `[L, H]` and the scores `[L, K]` of the candidates with them.
    """
    histories, before = clean
    changed, after = edited
    kept, needed = (utility(scores, taken, threat.organic) for scores in (after, before))
    reasons = []
    for row, (old, new) in enumerate(zip(histories.tolist(), changed.tolist(), strict=True)):
        reason = _edit_fault(threat, int(threat.edits.at(tier)), catalog, old, new, items[row].tolist())
        if not reason and old != new and kept[row] < threat.utility * needed[row] - _ROUNDING:
            reason = f"keeps {kept[row]:.3f} of nDCG@10 {needed[row]:.3f} among organic items"
        reasons.append(reason)
    return JudgedLists(shown_ads(after, threat.organic, offset), tuple(reasons))


def _edit_fault(
    threat: AdThreat, edits: int, catalog: int, old: Sequence[int], new: Sequence[int], candidates: Sequence[int]
) -> str:
    if (set(items_of(new)) - set(items_of(old))) & set(candidates):
        return "a candidate of the list came into the history"
    alike = torch.ones((catalog, 1))  # any item may come in, so similarity decides nothing
    return history_fault(alike, history_rules(threat), edits, old, new)
