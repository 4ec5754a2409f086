"""Exhaustive search: every legal edit is scored, so that what the suite misses can be counted.

No part of the suite: it takes as many queries as there are inputs. One edit is searched exactly; each further edit goes
on from the `beam` most damaging inputs found so far.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar, first_of_each, worst_first
from recgauntlet.attacks.history.edits import DELETE, INSERT, REPLACE, Histories, allowed_items
from recgauntlet.attacks.history.greedy import HistoryAttack
from recgauntlet.attacks.text.beam import BeamText
from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.attacks.text.search_step import SearchStep
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import HistoryThreat, TextThreat, Threat
from recgauntlet.core.rng import Randomness
from recgauntlet.threats.victim import Victim

BEAM, STUFFING_BEAM = 32, 4
"""Inputs to go on from; fewer where thousands of words may stand at every place."""
_ALL = 10**9


def exhaustive_for(threat: Threat) -> tuple[Attack, ...]:
    """The exhaustive searches of a discrete threat: one for each way in which its inputs are edited."""
    if isinstance(threat, HistoryThreat):
        return (ExhaustiveHistory(),)
    if isinstance(threat, TextThreat):
        words = ExhaustiveWords(beam=STUFFING_BEAM if "insert-word" in threat.operations else BEAM)
        return (words, ExhaustiveCharacters())
    return ()


class ExhaustiveWords(BeamText):
    """Every replaced and every added word."""

    name = "exhaustive-words"

    def __init__(self, *, beam: int = BEAM) -> None:
        super().__init__(moves=_ALL, beam=beam, name=self.name)

    def _options(self, step: SearchStep) -> list[list[Draft]]:
        return [self._legal(step.rules, draft, self._moves(step.rules, draft), _ALL) for draft in step.drafts]

    def _moves(self, rules: Rules, draft: Draft) -> list[tuple[int, str]]:
        if not rules.stuffing:
            return super()._moves(rules, draft)
        places = [*(rules.open_places(draft) if rules.may_replace else ()), len(draft.words)]
        return [(place, word) for place in places for word in rules.vocabulary]


class ExhaustiveCharacters(ExhaustiveWords):
    """Every misspelling."""

    name = "exhaustive-characters"
    edits: ClassVar[str] = "characters"

    def _moves(self, rules: Rules, draft: Draft) -> list[tuple[int, str]]:
        return BeamText._moves(self, rules, draft)


class ExhaustiveHistory(HistoryAttack):
    """Every replaced, inserted and deleted item."""

    name = "exhaustive-history"

    def __init__(self, *, beam: int = BEAM) -> None:
        self.beam = beam

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
            rows = torch.zeros(len(after.items), dtype=torch.int64, device=public.device)
            logits = victim.scores(one.select(rows).with_histories(after.shown(width)))
            order = worst_first(rows, best.sign[0] * logits)[: self.beam]
            kept = after.select(order)
            if bool(best.improve(rows[:1], logits[order[:1]])):
                chosen = kept.shown(width)[0]
        return chosen


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
    return Histories(torch.cat([one.items for one in found]), torch.cat([one.fresh for one in found]))
