"""Beam search on candidate texts: one edit after the other, the most damaging drafts of every example kept."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import ClassVar

import torch

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import LEAST_QUERIES, BestSoFar
from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.attacks.text.random import RandomText
from recgauntlet.attacks.text.search_step import Memory, SearchStep
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.victim import Victim


class TextSearch(Attack):
    """A search that changes one word after the other: as a whole, or where `edits` is "characters" by a slip."""

    surface: ClassVar[Surface] = "candidate-text"

    def supports(self, budget: Budget) -> bool:
        return self._most_edits(budget) >= 1

    def _most_edits(self, budget: Budget) -> int:
        """How many words may be changed in the way of this search."""
        return budget.characters if self.edits == "characters" else int(budget.amount)

    def _edits_left(self, rules: Rules, draft: Draft) -> int:
        """How many more words may be changed in the way of this search."""
        return rules.misspellings_left(draft) if self.edits == "characters" else rules.edits_left(draft)

    def _moves(self, rules: Rules, draft: Draft) -> list[tuple[int, str]]:
        """The changes of single words: each a place and the word to put there."""
        misspell = self.edits == "characters"
        places = rules.open_places(draft, misspell=misspell)
        if misspell:
            return [(place, word) for place in places for word in rules.lexicon.misspellings(draft.words[place])]
        return [(place, word) for place in places for word in rules.replacements(draft, place)]

    def _legal(self, rules: Rules, draft: Draft, moves: Iterable[tuple[int, str]], most: int) -> list[Draft]:
        """The first `most` legal drafts that `moves` lead to."""
        return (rules.misspelt if self.edits == "characters" else rules.word_moves)(draft, moves, most)


class BeamText(TextSearch):
    """Propose legal drafts one edit further, score them all in one call, keep the worst few of each example.

    What is left of an example's queries is shared evenly over the edits still to come and the drafts kept, so a large
    limit makes the search wide; where it is small, fewer drafts go on, so that each has at least half of `moves`. An
    example drops out as soon as it falls.

    Parameters
    ----------
    moves
        The most drafts an edit may try for each place in the beam: a turn costs an example at most `beam * moves`
        queries, beside those that rank moves.
    beam
        How many drafts are kept; 1 is a greedy search.
    stop_when_fallen
        Whether an example is left alone once the victim errs on it.
    name
        Another name for this setting.
    """

    def __init__(self, *, moves: int = 32, beam: int = 1, stop_when_fallen: bool = True, name: str = "") -> None:
        self.moves = moves
        self.beam = beam
        self.stop_when_fallen = stop_when_fallen
        self.name = name or type(self).name  # type: ignore[misc]  # two settings of one search are two attacks

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        rules = Rules.of(victim.world, budget)
        if not len(batch) or not rules.any_edit:
            return batch
        if budget.queries < LEAST_QUERIES * self._most_edits(budget):
            return RandomText(trials=budget.queries).perturb(victim, batch, budget, rng)
        clean = rules.drafts(victim.world, batch)
        chosen, best = list(clean), BestSoFar(batch)
        turns = max(self._edits_left(rules, draft) for draft in clean)
        kept = {b: [draft] for b, draft in enumerate(clean)}
        memory = Memory()
        for _ in range(turns):
            if self.stop_when_fallen:
                fallen = best.fallen().tolist()
                kept = {b: drafts for b, drafts in kept.items() if not fallen[b]}
            plan = self._plan(victim, batch, rules, kept)
            if not plan:
                break
            rows = torch.tensor([b for b, _, _ in plan], device=batch.items.device)
            drafts, most = [draft for _, draft, _ in plan], [queries for _, _, queries in plan]
            step = SearchStep(victim, batch, rules, rows, drafts, most, memory, rng)
            step.ask(self._options(step))
            worst = step.worst(self.beam)
            kept = {b: [draft for draft, _ in found] for b, found in worst.items()}
            reached = torch.tensor([found[0][1] for found in worst.values()], device=rows.device)
            better = best.improve(torch.tensor(list(worst), dtype=torch.int64, device=rows.device), reached)
            for (b, drafts), is_better in zip(kept.items(), better.tolist(), strict=True):
                chosen[b] = drafts[0] if is_better else chosen[b]
        return batch.with_texts([draft.text for draft in chosen])

    def _plan(
        self, victim: Victim, batch: Batch, rules: Rules, kept: dict[int, list[Draft]]
    ) -> list[tuple[int, Draft, int]]:
        """The drafts to go on from, each with its example and how many drafts it may try; one query more is left
        for asking how to rank them."""
        numbers = torch.tensor(list(kept), dtype=torch.int64, device=batch.items.device)
        remaining = victim.remaining(batch.example_ids[numbers]).tolist()
        plan: list[tuple[int, Draft, int]] = []
        for (b, drafts), left in zip(kept.items(), remaining, strict=True):
            queries = self._share(left, max(1, self._edits_left(rules, drafts[0])))
            afforded = max(min(1, queries // 2), 2 * queries // self.moves)  # a few tries each, or fewer drafts
            going = [draft for draft in drafts if self._edits_left(rules, draft) > 0][:afforded]
            for draft in going:
                share = min(self.beam * self.moves // len(going), queries // len(going) - 1)
                plan.append((b, draft, share))
        return plan

    def _share(self, queries: int, edits: int) -> int:
        """How many of what is left of an example's queries the next of `edits` changes may take."""
        return queries // edits

    @abstractmethod
    def _options(self, step: SearchStep) -> list[list[Draft]]:
        """Legal drafts one edit further for each draft of the round."""
