"""Exhaustive search: every legal edit is scored, so that what the suite misses can be counted.

No part of the suite: it takes as many queries as there are inputs. One edit is searched exactly; each further edit goes
on from the `beam` most damaging inputs found so far. The search of an example ends with the first chunk of inputs that
holds one on which the victim errs.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import FALLEN, BestSoFar, first_of_each, wrong_way
from recgauntlet.attacks.history.edits import DELETE, INSERT, REPLACE, Histories
from recgauntlet.attacks.history.greedy import HistoryAttack
from recgauntlet.attacks.history.neighbours import allowed_items
from recgauntlet.attacks.text.beam import TextSearch
from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import HistoryThreat, TextThreat, Threat
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.victim import Victim

BEAM = 32
"""Inputs to go on from."""
MOVES = 2000
"""The most words tried in each of these after the first edit, where thousands may stand at every place: those that did
most by themselves."""
CHUNK = 2048
_ALL = 10**9


def exhaustive_for(threat: Threat, *, beam: int = BEAM) -> tuple[Attack, ...]:
    """The exhaustive searches of a discrete threat: one for each way in which its inputs are edited."""
    if isinstance(threat, HistoryThreat):
        return (ExhaustiveHistory(beam=beam),)
    if isinstance(threat, TextThreat):
        return (ExhaustiveWords(beam=beam), ExhaustiveCharacters(beam=beam))
    return ()


class ExhaustiveWords(TextSearch):
    """Every replaced and every added word, example by example."""

    name = "exhaustive-words"

    def __init__(self, *, beam: int = BEAM, moves: int = MOVES, stop_when_fallen: bool = True) -> None:
        self.beam = beam
        self.moves = moves
        self.stop_when_fallen = stop_when_fallen

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        rules = Rules.of(victim.world, budget)
        if not len(batch) or not rules.any_edit:
            return batch
        rows = torch.arange(len(batch), device=batch.items.device)
        clean = zip(rows[:, None], rules.drafts(victim.world, batch), strict=True)
        return batch.with_texts([self._worst(victim, batch.select(row), rules, draft).text for row, draft in clean])

    def _worst(self, victim: Victim, one: Batch, rules: Rules, clean: Draft) -> Draft:
        """The most damaging draft found for the single example of `one`."""
        best, chosen, kept = BestSoFar(one), clean, [clean]
        alone: dict[tuple[int, str], float] = {}
        for turn in range(self._edits_left(rules, clean)):
            drafts = self._further(rules, kept, alone)
            if not drafts or bool(best.fallen()):
                break
            parts = (drafts[at : at + CHUNK] for at in range(0, len(drafts), CHUNK))
            inputs = (_copies(one, len(part)).with_texts([draft.text for draft in part]) for part in parts)
            logits = _logits(victim, inputs, stop_when_fallen=self.stop_when_fallen)
            damage = best.sign * logits
            if turn == 0:
                alone = {_move(draft): did for draft, did in zip(drafts, damage.tolist(), strict=False)}
            order = damage.argsort(descending=True, stable=True)[: self.beam]
            kept = [drafts[k] for k in order.tolist()]
            if bool(best.improve(torch.zeros_like(order[:1]), logits[order[:1]])):
                chosen = kept[0]
        return chosen

    def _further(self, rules: Rules, kept: list[Draft], alone: dict[tuple[int, str], float]) -> list[Draft]:
        """The drafts one edit further than `kept`, each once; where it is known what each edit did by itself, the most
        damaging edits of a draft first."""
        found: dict[tuple[str, ...], Draft] = {}
        for draft in kept:
            moves = self._moves(rules, draft)
            if alone:
                known = {move: alone.get((min(move[0], draft.count), move[1]), -torch.inf) for move in moves}
                moves.sort(key=lambda move: -known[move])
            for further in self._legal(rules, draft, moves, self.moves if alone else _ALL):
                found.setdefault(further.words, further)
        return list(found.values())

    def _moves(self, rules: Rules, draft: Draft) -> list[tuple[int, str]]:
        if not rules.stuffing or self.edits == "characters":
            return super()._moves(rules, draft)
        places = [*(rules.open_places(draft) if rules.may_replace else ()), len(draft.words)]
        return [(place, word) for place in places for word in rules.stuffing_of(draft, rules.vocabulary)]


class ExhaustiveCharacters(ExhaustiveWords):
    """Every misspelling, example by example."""

    name = "exhaustive-characters"
    edits: ClassVar[str] = "characters"


def _move(draft: Draft) -> tuple[int, str]:
    """The only edit of a draft."""
    (place,) = draft.touched
    return place, draft.words[place]


class ExhaustiveHistory(HistoryAttack):
    """Every replaced, inserted and deleted item, example by example."""

    name = "exhaustive-history"

    def __init__(self, *, beam: int = BEAM, stop_when_fallen: bool = True) -> None:
        self.beam = beam
        self.stop_when_fallen = stop_when_fallen

    def _search(
        self, victim: Victim, batch: Batch, threat: HistoryThreat, edits: int, public: Tensor, rng: Randomness
    ) -> Tensor:
        found = batch.histories().clone()
        for b in range(len(batch)):
            row = torch.tensor([b], device=found.device)
            found[b] = self._worst(victim, batch.select(row), threat, edits, public)
        return found

    def _worst(self, victim: Victim, one: Batch, threat: HistoryThreat, edits: int, public: Tensor) -> Tensor:
        """`[H]`: the most damaging history found for the single example of `one`."""
        width = one.histories().shape[1]
        best, chosen = BestSoFar(one), one.histories()[0]
        kept = Histories.of(one.histories(), threat.window, edits)
        for _ in range(edits):
            after = _all_moves(kept, threat, public)
            if not len(after.items) or bool(best.fallen()):
                break
            after = after.select(first_of_each(torch.cat([after.items, after.fresh.long()], dim=1)))
            inputs = (_copies(one, len(part)).with_histories(part) for part in torch.split(after.shown(width), CHUNK))
            logits = _logits(victim, inputs, stop_when_fallen=self.stop_when_fallen)
            order = (best.sign * logits).argsort(descending=True, stable=True)[: self.beam]
            kept = after.select(order)
            if bool(best.improve(torch.zeros_like(order[:1]), logits[order[:1]])):
                chosen = kept.shown(width)[0]
        return chosen


def _copies(one: Batch, count: int) -> Batch:
    """The single example of `one`, `count` times."""
    return one.select(torch.zeros(count, dtype=torch.int64, device=one.items.device))


def _logits(victim: Victim, inputs: Iterable[Batch], *, stop_when_fallen: bool) -> Tensor:
    """The logits of `inputs`, one chunk after the other; with `stop_when_fallen` none after the first chunk that holds
    one on which the victim errs."""
    found: list[Tensor] = []
    for part in inputs:
        found.append(victim.scores(part))
        if stop_when_fallen and bool((wrong_way(part) * found[-1] > FALLEN).any()):
            break
    return torch.cat(found)


def _all_moves(histories: Histories, threat: HistoryThreat, public: Tensor) -> Histories:
    """All histories one legal edit away from any of `histories [B, H]`."""
    b, place = torch.nonzero(histories.fresh, as_tuple=True)
    near = allowed_items(public, histories.items[b, place], threat.min_cosine)
    k, item = torch.nonzero(near, as_tuple=True)
    found = []
    for operation in threat.operations:
        if operation == "delete":
            rows, places = torch.nonzero(histories.may_delete(), as_tuple=True)
            found.append(histories.select(rows).moved(torch.full_like(rows, DELETE), places, torch.zeros_like(rows)))
        else:
            kind = torch.full_like(item, REPLACE if operation == "replace" else INSERT)
            found.append(histories.select(b[k]).moved(kind, place[k], item))
    return Histories(torch.cat([one.items for one in found]), torch.cat([one.origin for one in found]))
