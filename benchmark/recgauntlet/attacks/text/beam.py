"""Beam search on candidate texts: one edit after the other, the most damaging drafts of every example kept."""

from __future__ import annotations

from abc import abstractmethod
from typing import ClassVar

import torch

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar
from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.attacks.text.search_step import Memory, SearchStep
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.victim import Victim


class BeamText(Attack):
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

    surface: ClassVar[Surface] = "candidate-text"

    def __init__(self, *, moves: int = 32, beam: int = 1, stop_when_fallen: bool = True, name: str = "") -> None:
        self.moves = moves
        self.beam = beam
        self.stop_when_fallen = stop_when_fallen
        self.name = name or type(self).name  # type: ignore[misc]  # two settings of one search are two attacks

    def supports(self, budget: Budget) -> bool:
        return budget.amount >= 1

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        rules = Rules.of(victim.world, budget)
        if not len(batch) or not rules.any_edit:
            return batch
        clean = rules.drafts(victim.world, batch)
        chosen, best, turns = list(clean), BestSoFar(batch), self._turns(budget)
        kept = {b: [draft] for b, draft in enumerate(clean)}
        memory = Memory()
        for turn in range(turns):
            if self.stop_when_fallen:
                fallen = best.fallen().tolist()
                kept = {b: drafts for b, drafts in kept.items() if not fallen[b]}
            plan = self._plan(victim, batch, rules, kept, turns - turn)
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
        self, victim: Victim, batch: Batch, rules: Rules, kept: dict[int, list[Draft]], turns: int
    ) -> list[tuple[int, Draft, int]]:
        """The drafts to go on from, each with its example and how many drafts it may try; one query more is left
        for asking how to rank them."""
        numbers = torch.tensor(list(kept), dtype=torch.int64, device=batch.items.device)
        left = (victim.remaining(batch.example_ids[numbers]) // turns).tolist()
        plan: list[tuple[int, Draft, int]] = []
        for (b, drafts), queries in zip(kept.items(), left, strict=True):
            afforded = max(min(1, queries // 2), 2 * queries // self.moves)  # a few tries each, or fewer drafts
            going = [draft for draft in drafts if self._open(rules, draft)][:afforded]
            for draft in going:
                share = min(self.beam * self.moves // len(going), queries // len(going) - 1)
                plan.append((b, draft, share))
        return plan

    def _turns(self, budget: Budget) -> int:
        """How many edits there may be, one after the other."""
        return int(budget.amount)

    def _open(self, rules: Rules, draft: Draft) -> bool:
        """Whether another edit is allowed."""
        return rules.edits_left(draft) > 0

    @abstractmethod
    def _options(self, step: SearchStep) -> list[list[Draft]]:
        """Legal drafts one edit further for each draft of the round."""
