"""Attacks on whole lists: users who edit their histories so that fewer ads are shown to them.

How many ads a list shows is written as the score of a model (`ListExposure`), so that the searches over histories work
on lists as they do on single candidates.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar
from recgauntlet.attacks.history.greedy import HistoryAttack, HistoryGradient, HistoryQuery, RandomHistory
from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
from recgauntlet.core.card import HistoryThreat
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD, Surface
from recgauntlet.threats.victim import Victim

PLACES = 10
SHARPNESS = 0.2
"""Standard deviations of a list's scores over which an ad counts as near to being shown."""
ILLEGAL = 100.0
"""What a list costs that is too useless for its user: more than any number of ads."""


@dataclass(frozen=True)
class Lists:
    """What is known of `L` lists of `K` candidates, the first `organic` of which are not sponsored.

    items, taken
        `[L, K]`: the candidates, and which of them the user wants.
    shown
        `[L, S]`: the ads that the list shows with the clean history.
    offset
        What the platform adds to sponsored scores.
    least
        `[L]`: the nDCG@10 among organic candidates that must be left.
    spread
        `[L]`: the standard deviation of the clean scores.
    """

    items: Tensor
    taken: Tensor
    shown: Tensor
    organic: int
    offset: float
    least: Tensor
    spread: Tensor


class ListExposure(Recommender):
    """A model whose candidates are lists and whose score is how many ads a list shows to a user.

    Candidate `n` is the list `n` of `lists`. With `m_k` the lead of the k-th best sponsored candidate over the organic
    one that it has to overtake (the k-th ad is shown where `m_k > 0`), the score is the number of ads shown plus half
    the mean of `sigmoid(m_k / (SHARPNESS spread))`, less 0.75: below 0 where no ad is shown. The second part breaks
    ties between edits that hide as many ads, and is what the gradient follows. A list that has lost too much utility
    costs ILLEGAL.
    """

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"history"})

    def __init__(self, model: Recommender, lists: Lists) -> None:
        super().__init__(model.catalog, token_length=model.token_length)
        self.model = model
        self.lists = lists

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self.model.tokenize(texts)

    def embed_history(self, users: Users) -> Tensor:
        return self.model.embed_history(users)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        return self.model.encode_user(users, embeddings)

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        none = torch.zeros((len(items), 1), dtype=torch.int64, device=items.device)
        return Candidates(items, Tokens(none, none > 0, none))

    def embed(self, candidates: Candidates) -> Tensor:
        raise TypeError("a list has no embeddings")

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        asked = candidates.items
        items = self.lists.items[asked]
        rows = torch.arange(len(items), device=items.device).repeat_interleave(items.shape[1])
        scores = self.model.score(user.select(rows), self.model.candidates(items.reshape(-1)))
        return self._exposure(scores.reshape(items.shape), asked)

    def _exposure(self, scores: Tensor, asked: Tensor) -> Tensor:
        organic, sponsored = scores[:, : self.lists.organic], scores[:, self.lists.organic :]
        best = organic.sort(dim=1, descending=True).values[:, :PLACES].flip(1)
        depth = min(PLACES, sponsored.shape[1])
        ads = sponsored.sort(dim=1, descending=True).values[:, :depth] + self.lists.offset
        lead = ads - best[:, :depth]
        soft = torch.sigmoid(lead / (SHARPNESS * self.lists.spread[asked, None])).mean(dim=1)
        useless = self._utility(organic, asked) < self.lists.least[asked] - 1e-6
        return (lead > 0).sum(dim=1) + 0.5 * soft - 0.75 + ILLEGAL * useless

    def _utility(self, organic: Tensor, asked: Tensor) -> Tensor:
        """`[B]`: nDCG@10; tied candidates in the order they stand."""
        taken = self.lists.taken[asked, : organic.shape[1]].float()
        gains = taken.gather(1, organic.argsort(dim=1, descending=True, stable=True))[:, :PLACES]
        discounts = 1 / torch.log2(torch.arange(2, PLACES + 2, device=gains.device))
        ideal = torch.cumsum(discounts, dim=0)[taken.sum(dim=1).long().clamp(1, PLACES) - 1]
        return (gains * discounts).sum(dim=1) / ideal

    def ads_seen(self, public: Tensor) -> Tensor:
        """`[L, E]`: the mean of the vectors `public [N, E]` of the ads that each list shows."""
        ads = public[self.lists.items[:, self.lists.organic :]] * self.lists.shown[:, :, None]
        return ads.sum(dim=1) / self.lists.shown.sum(dim=1, keepdim=True).clamp(min=1)


def _lists(victim: Victim) -> ListExposure:
    if not isinstance(victim.model, ListExposure):
        raise TypeError("this attack is on lists with ads")
    return victim.model


class FolkRule(HistoryAttack):
    """What users advise each other: delete what is most like the ads, insert what is least like them, by turns.

    Similarity is that of public text vectors to the mean of the ads shown; an item comes in as the newest. Each number
    of edits up to the budget is tried, one query each, and the best is kept.
    """

    name = "folk-rule"

    def _search(
        self, victim: Victim, batch: Batch, threat: HistoryThreat, edits: int, public: Tensor, rng: Randomness
    ) -> Tensor:
        model = _lists(victim)
        likeness = model.ads_seen(public)[batch.items] @ public.T
        barred = likeness.scatter(1, model.lists.items[batch.items], torch.inf)
        best, chosen = BestSoFar(batch), batch.histories().clone()
        rows, now = torch.arange(len(batch), device=chosen.device), chosen.clone()
        for turn in range(edits):
            for row in range(len(batch)):
                now[row] = _folk_edit(now[row], likeness[row], barred[row], threat, deletes=turn % 2 == 0)
            better = best.improve(rows, victim.scores(batch.with_histories(now)))
            chosen[rows[better]] = now[better]
        return chosen


def _folk_edit(history: Tensor, likeness: Tensor, barred: Tensor, threat: HistoryThreat, *, deletes: bool) -> Tensor:
    """`[H]`: the history after one edit; unchanged where the rule has none to offer."""
    own = history[history != PAD]
    inside = own[max(0, len(own) - threat.window) :]
    if deletes and "delete" in threat.operations and len(own) > 1:
        place = len(own) - len(inside) + int(likeness[inside].argmax())
        after = torch.cat([own[:place], own[place + 1 :]])
    elif not deletes and "insert" in threat.operations:
        after = torch.cat([own, barred.scatter(0, own, torch.inf).argmin()[None]])[-len(history) :]
    else:
        return history
    return torch.cat([torch.full((len(history) - len(after),), PAD, device=history.device), after])


class DodgingQuery(HistoryQuery):
    """`history-query` for lists: moves are ranked by public similarity to the ads that are shown."""

    name = "dodging-query"

    def _barred(self, victim: Victim, batch: Batch) -> Tensor | None:
        return _lists(victim).lists.items[batch.items]

    def _slopes(self, victim: Victim, active: Batch, public: Tensor) -> Tensor:
        return -_lists(victim).ads_seen(public)[active.items][:, None, :]


class DodgingGradient(HistoryGradient):
    """`history-gradient` for lists: moves are ranked by the gradient of the exposure."""

    name = "dodging-gradient"
    citation = bibtex("ebrahimi2018hotflip")

    def _barred(self, victim: Victim, batch: Batch) -> Tensor | None:
        return _lists(victim).lists.items[batch.items]


def dodging_attacks() -> tuple[Attack, ...]:
    """The attackers of a threat with ads, in order; random edits, the yardstick, last."""
    return (
        FolkRule(),
        DodgingQuery(),
        DodgingGradient(),
        DodgingGradient(beam=2, name="dodging-gradient-beam"),
        RandomHistory(),
    )
