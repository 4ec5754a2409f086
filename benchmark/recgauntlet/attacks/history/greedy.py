"""Attacks on the user's history: random, greedy along the gradient, and greedy by queries alone."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import (
    FALLEN,
    LEAST_QUERIES,
    BestSoFar,
    first_of_each,
    rank_within,
    worst_first,
    wrong_way,
)
from recgauntlet.attacks.history.edits import (
    DELETE,
    INSERT,
    REPLACE,
    Histories,
    Moves,
    best_moves,
    carried_over,
    elsewhere,
)
from recgauntlet.attacks.history.neighbours import Neighbours, allowed_items
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import HistoryThreat
from recgauntlet.core.references import bibtex
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD, Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.history import HistoryThreatModel
from recgauntlet.threats.victim import Victim

_OPERATIONS = {"replace": REPLACE, "insert": INSERT, "delete": DELETE}
_ELEMENTS = 2**24
"""The most elements of one temporary tensor."""
_MOVED = 16
"""Of how many single edits, the most damaging ones, a beam search tries the item at other places."""


class HistoryAttack(Attack):
    """What all attacks on histories share: whole edits, and similarity by the public vectors."""

    surface: ClassVar[Surface] = "history"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        threat = HistoryThreatModel.of(budget).card
        if not len(batch) or budget.amount < 1:
            return batch
        public = victim.world.item_vectors.to(batch.items.device)
        return batch.with_histories(self._search(victim, batch, threat, int(budget.amount), public, rng))

    @abstractmethod
    def _search(
        self, victim: Victim, batch: Batch, threat: HistoryThreat, edits: int, public: Tensor, rng: Randomness
    ) -> Tensor:
        """The perturbed histories `[B, H]`; `public [N, E]` are the catalog's unit vectors."""


class RandomHistory(HistoryAttack):
    """The worst of `trials` histories, each with as many random legal edits as the budget allows.

    The yardstick of every other history attack, not a published one. Operations, places and items are uniform
    among the legal ones; an edit that finds none (no item is near enough) is skipped.
    """

    name = "random"
    is_random = True

    def __init__(self, *, trials: int = 10) -> None:
        self.trials = trials

    def _search(
        self, victim: Victim, batch: Batch, threat: HistoryThreat, edits: int, public: Tensor, rng: Randomness
    ) -> Tensor:
        clean = batch.histories()
        best, chosen = BestSoFar(batch), clean.clone()
        source = rng.child(self.name)
        draws = np.stack([source.numpy(int(i)).random((self.trials, edits, 3)) for i in batch.example_ids.tolist()])
        uniform = torch.from_numpy(draws).to(clean.device)
        kinds = torch.tensor([_OPERATIONS[op] for op in threat.operations], device=clean.device)
        for trial in range(self.trials):
            rows = best.rows_to_try(victim)
            if not len(rows):
                break
            state = Histories.of(clean[rows], threat.window, edits)
            for edit in range(edits):
                state = _random_move(state, threat, public, kinds, uniform[rows, trial, edit])
            shown = state.shown(clean.shape[1])
            better = best.improve(rows, victim.scores(batch.select(rows).with_histories(shown)))
            chosen[rows[better]] = shown[better]
        return chosen


def _random_move(state: Histories, threat: HistoryThreat, public: Tensor, kinds: Tensor, uniform: Tensor) -> Histories:
    """One random legal move in each of `B` histories, from `uniform [B, 3]`."""
    operation = _nth(torch.ones((len(uniform), len(kinds)), dtype=torch.bool, device=kinds.device), uniform[:, 0])
    operation = kinds[operation]
    places = torch.where((operation == DELETE)[:, None], state.may_delete(), state.fresh)
    place = _nth(places, uniform[:, 1])
    at = state.items.gather(1, place[:, None]).squeeze(1)
    near = allowed_items(public, at, threat.min_cosine)
    item = _nth(near, uniform[:, 2])
    possible = places.any(dim=1) & (near.any(dim=1) | (operation == DELETE))
    rows = torch.nonzero(possible).flatten()
    return state.put(rows, state.select(rows).moved(operation[rows], place[rows], item[rows]))


def _nth(eligible: Tensor, uniform: Tensor) -> Tensor:
    """`[B]`: an eligible column of `eligible [B, K]`, by a uniform number in [0, 1); 0 where there is none."""
    wanted = (uniform * eligible.sum(dim=1)).long()
    return ((eligible.cumsum(dim=1) == (wanted + 1)[:, None]) & eligible).int().argmax(dim=1)


class _BeamHistory(HistoryAttack):
    """One edit after the other: rank all legal moves to first order, score the most promising of all examples in one
    call, keep the worst few of each example.

    What is left of an example's queries is shared evenly over the edits still to come and the histories kept. Histories
    that come out alike are scored once. An example drops out as soon as it falls.

    A beam of several also learns from the single edits that it tries first: what is left of the first edit's queries
    tries the items of the most damaging ones at other places, and half of each later edit's tries are the single edits
    that did most by themselves.

    Parameters
    ----------
    moves
        The most moves an edit may try for each place in the beam, and one query more to rank them.
    beam
        How many histories are kept; 1 is a greedy search.
    stop_when_fallen
        Whether an example is left alone once the victim errs on it.
    name
        Another name for this setting.
    """

    per_place: ClassVar[int] = 3

    def __init__(self, *, moves: int = 48, beam: int = 1, stop_when_fallen: bool = True, name: str = "") -> None:
        self.moves = moves
        self.beam = beam
        self.stop_when_fallen = stop_when_fallen
        self.name = name or type(self).name  # type: ignore[misc]  # two settings of one search are two attacks

    def _search(
        self, victim: Victim, batch: Batch, threat: HistoryThreat, edits: int, public: Tensor, rng: Randomness
    ) -> Tensor:
        queries = int(victim.remaining(batch.example_ids).max())
        if queries < LEAST_QUERIES * edits:
            return RandomHistory(trials=queries)._search(victim, batch, threat, edits, public, rng)
        clean = batch.histories()
        width = clean.shape[1]
        best, chosen = BestSoFar(batch), clean.clone()
        values, near = self._values(victim, public), Neighbours(public, threat.min_cosine)
        kept, rows = Histories.of(clean, threat.window, edits), torch.arange(len(batch), device=clean.device)
        nothing = clean[:, :0]
        alone = Moves(nothing, nothing, nothing, nothing.bool())
        for turn in range(edits):
            left = victim.remaining(batch.example_ids[rows]).to(rows.device) // (edits - turn)
            going = rank_within(rows) < left // 2
            if self.stop_when_fallen:
                going &= ~best.fallen()[rows]
            kept, rows, left = kept.select(going), rows[going], left[going]
            if not len(rows):
                break
            count = torch.bincount(rows, minlength=len(batch))[rows]
            most = torch.minimum(self.beam * self.moves // count, left // count - 1)
            again = carried_over(Moves(*(part[rows] for part in alone)), kept, most // 2)
            new = most - again.possible.sum(dim=1)
            limit, barred = int(new.max()), self._barred(victim, batch)
            moves = [
                best_moves(
                    kept.select(part),
                    threat,
                    near,
                    slopes,
                    values,
                    new[part],
                    limit,
                    width,
                    self.per_place,
                    None if barred is None else barred[rows[part]],
                )
                for part, slopes in self._in_groups(victim, batch, public, rows, kept, values)
            ]
            ranked = map(torch.cat, zip(*moves, strict=True))
            promising = [torch.cat(both, dim=1) for both in zip(again, ranked, strict=True)]
            tried = _try(victim, batch, rows, kept, Moves(*promising), most)
            if turn == 0 and self.beam > 1:
                alone = tried.table(best.sign, len(batch))
                left -= 1 + torch.bincount(tried.rows, minlength=len(batch))[rows]
                if self.stop_when_fallen:
                    left[torch.isin(rows, tried.rows[best.sign[tried.rows] * tried.logits > FALLEN])] = 0
                further = elsewhere(Moves(*(part[rows] for part in alone)), kept, threat, public, _MOVED)
                tried = tried.joined(_try(victim, batch, rows, kept, further, left))
                alone = tried.table(best.sign, len(batch))
            order = worst_first(tried.rows, best.sign[tried.rows] * tried.logits)
            order = order[rank_within(tried.rows[order]) < self.beam]
            kept, rows, logits = tried.histories.select(order), tried.rows[order], tried.logits[order]
            first = rank_within(rows) == 0
            better = best.improve(rows[first], logits[first])
            chosen[rows[first][better]] = kept.shown(width)[first][better]
        return chosen

    def _in_groups(
        self, victim: Victim, batch: Batch, public: Tensor, rows: Tensor, state: Histories, values: Tensor
    ) -> Iterator[tuple[Tensor, Tensor]]:
        """Places among `rows [K]` and the slopes there (as `_slopes` gives them), in groups small enough for the
        memory."""
        size = max(1, _ELEMENTS // (state.items.shape[1] * max(values.shape)))
        for start in range(0, len(rows), size):
            part = torch.arange(start, min(start + size, len(rows)), device=rows.device)
            shown = state.shown(batch.users.histories.shape[1])[part]
            yield part, self._slopes(victim, batch.select(rows[part]).with_histories(shown), public)

    def _barred(self, victim: Victim, batch: Batch) -> Tensor | None:
        """`[B, M]`: items that may not come into the history of each example; None where the threat bars none."""
        return None

    @abstractmethod
    def _values(self, victim: Victim, public: Tensor) -> Tensor:
        """The vector of each catalog item, `[N, D]`."""

    @abstractmethod
    def _slopes(self, victim: Victim, active: Batch, public: Tensor) -> Tensor:
        """How the damage grows with the vector at each place, `[B, H, D]`, or `[B, 1, D]` where that is the same for
        all; at most one query an example."""


@dataclass(frozen=True)
class _Tried:
    """`M` histories that were scored, each once an example: of which examples, their logits, and the operation, place
    and item `[M, 3]` of the last move."""

    histories: Histories
    rows: Tensor
    logits: Tensor
    moves: Tensor

    def joined(self, other: _Tried) -> _Tried:
        """These and then those of `other`."""
        items = torch.cat([self.histories.items, other.histories.items])
        origin = torch.cat([self.histories.origin, other.histories.origin])
        rows = torch.cat([self.rows, other.rows])
        logits, moves = torch.cat([self.logits, other.logits]), torch.cat([self.moves, other.moves])
        return _Tried(Histories(items, origin), rows, logits, moves)

    def table(self, sign: Tensor, count: int) -> Moves:
        """The moves of each of `count` examples, the most damaging first."""
        order = worst_first(self.rows, sign[self.rows] * self.logits)
        rank = rank_within(self.rows[order])
        table = torch.full((count, int(rank.max()) + 1 if len(rank) else 0, 3), PAD, device=rank.device)
        table[self.rows[order], rank] = self.moves[order]
        operation, place, item = table.unbind(dim=2)
        return Moves(operation, place, item, operation != PAD)


def _try(victim: Victim, batch: Batch, rows: Tensor, before: Histories, moves: Moves, most: Tensor) -> _Tried:
    """Score the first `most [K]` possible moves of the histories `before`, of the examples `rows [K]`, in one call."""
    possible = moves.possible & (moves.possible.cumsum(dim=1) <= most[:, None])
    b, k = torch.nonzero(possible, as_tuple=True)
    made = torch.stack([moves.operation[b, k], moves.place[b, k], moves.item[b, k]], dim=1)
    after = before.select(b).moved(*made.unbind(dim=1))
    first = first_of_each(torch.cat([rows[b][:, None], after.items], dim=1))
    after, rows = after.select(first), rows[b[first]]
    shown = after.shown(batch.users.histories.shape[1])
    return _Tried(after, rows, victim.scores(batch.select(rows).with_histories(shown)), made[first])


class HistoryGradient(_BeamHistory):
    """Greedy along the gradient of the logit with respect to the history's vectors (HotFlip, Ebrahimi et al. 2018,
    carried over to item sequences; the substitution attack on sequential recommenders of Yue et al. 2022).

    Deviations: insertions and deletions beside substitutions; the `moves` most promising moves are scored and
    the worst is taken, instead of trusting the first-order estimate; candidates are not ten nearest items but
    all that the threat allows.
    """

    name = "history-gradient"
    per_place: ClassVar[int] = 12
    citation = bibtex("ebrahimi2018hotflip", "yue2022defending")
    uses_gradients: ClassVar[bool] = True

    def _values(self, victim: Victim, public: Tensor) -> Tensor:
        return victim.history_item_vectors()

    def _slopes(self, victim: Victim, active: Batch, public: Tensor) -> Tensor:
        _, _, gradient = victim.history_gradient(active)
        gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
        return gradient * wrong_way(active)[:, None, None]


class HistoryQuery(_BeamHistory):
    """Greedy by queries alone, for models whose gradients say nothing: places and items are ranked by public
    similarity to the candidate. To push a score up, items least like the candidate make way for ones most
    like it; to push it down, the reverse; deletions likewise.

    Ours, after the black-box similarity ranking of text attacks (Jin et al. 2020).
    """

    name = "history-query"

    def _values(self, victim: Victim, public: Tensor) -> Tensor:
        return public

    def _slopes(self, victim: Victim, active: Batch, public: Tensor) -> Tensor:
        return (public[active.items] * wrong_way(active)[:, None])[:, None, :]
