"""The random baseline of attacks on texts."""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.common import BestSoFar
from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Surface
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.victim import Victim


class RandomText(Attack):
    """The worst of `trials` texts, each with as many random legal edits as the budget allows.

    The yardstick of every other text attack, not a published one. Every other trial edits characters where
    the threat allows it. Operations, places and words are uniform among the legal ones.
    """

    name = "random"
    surface: ClassVar[Surface] = "candidate-text"
    is_random = True

    def __init__(self, *, trials: int = 10) -> None:
        self.trials = trials

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        rules = Rules.of(victim.world, budget)
        if not len(batch) or not rules.any_edit:
            return batch
        clean = rules.drafts(victim.world, batch)
        chosen, best = list(clean), BestSoFar(batch)
        source = rng.child(self.name)
        generators = [source.numpy(int(i)) for i in batch.example_ids.tolist()]
        for trial in range(self.trials):
            rows = best.rows_to_try(victim)
            tricks = budget.characters > 0 and (trial % 2 == 1 or not rules.may_replace)
            edit = _random_characters if tricks else _random_words
            if not len(rows):
                break
            drafts = [edit(clean[b], rules, generators[b]) for b in rows.tolist()]
            logits = victim.scores(batch.select(rows).with_texts([draft.text for draft in drafts]))
            better = best.improve(rows, logits).tolist()
            for b, draft, is_better in zip(rows.tolist(), drafts, better, strict=True):
                chosen[b] = draft if is_better else chosen[b]
        return batch.with_texts([draft.text for draft in chosen])


def _random_words(draft: Draft, rules: Rules, generator: np.random.Generator) -> Draft:
    while rules.edits_left(draft) > 0:
        places: list[int] = rules.open_places(draft) if rules.may_replace else []
        append = rules.stuffing and (not places or generator.random() < 0.5)
        moves: list[tuple[int, str]] = []
        for place in [len(draft.words)] if append else generator.permutation(places).tolist():
            words = rules.stuffing_of(draft, rules.popular) if append else rules.replacements(draft, place)
            moves += [(place, words[i]) for i in generator.permutation(len(words))[:8]]
            if moves:
                break
        found = rules.word_moves(draft, moves, 1)
        if not found:
            break
        draft = found[0]
    return draft


def _random_characters(draft: Draft, rules: Rules, generator: np.random.Generator) -> Draft:
    while rules.misspellings_left(draft) > 0:
        places = rules.open_places(draft, misspell=True)
        found: list[Draft] = []
        for place in generator.permutation(places).tolist():
            words = rules.lexicon.misspellings(draft.words[place])
            found = rules.misspelt(draft, ((place, words[i]) for i in generator.permutation(len(words))), 1)
            if found:
                break
        if not found:
            break
        draft = found[0]
    return draft
