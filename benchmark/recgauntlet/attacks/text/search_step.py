"""One step of a text search: the queries that propose drafts, and the drafts' scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from operator import itemgetter

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.common import FALLEN, wrong_way
from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.core.batch import Batch
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.threats.victim import Victim


@dataclass
class Memory:
    """What a search knows of each example over its turns, by row of the batch: `order`, its places by importance,
    `promise [V]`, what each word of the vocabulary would do, and `effects`, the damage of each single change that was
    tried (a place and the word put there)."""

    order: dict[int, list[int]] = field(default_factory=dict)
    promise: dict[int, Tensor] = field(default_factory=dict)
    effects: dict[int, dict[tuple[int, str], float]] = field(default_factory=dict)


@dataclass
class SearchStep:
    """One turn of a search: `K` drafts, of the examples `rows [K]` of a batch, and at most how many options each may
    try. An example with several drafts stands in several rows."""

    victim: Victim
    batch: Batch
    rules: Rules
    rows: Tensor
    drafts: list[Draft]
    most: list[int]
    memory: Memory
    rng: Randomness
    fallen: set[int] = field(default_factory=set)
    """Rows of the examples that an option of this turn has fooled the victim on."""

    def __post_init__(self) -> None:
        self.numbers: list[int] = self.rows.tolist()
        self._signs: list[float] = wrong_way(self.batch).tolist()
        self._found: dict[int, dict[tuple[str, ...], tuple[Draft, float]]] = {}

    def ask(self, options: list[list[Draft]]) -> None:
        """Score all `options [K, ...]` in one call; a text that an example was asked about in this turn is not scored
        again, whatever order its edits were made in."""
        rows: list[int] = []
        new: list[Draft] = []
        for b, drafts in zip(self.numbers, options, strict=True):
            found = self._found.setdefault(b, {})
            for draft in drafts:
                if draft.words not in found:
                    found[draft.words] = (draft, 0.0)
                    rows.append(b)
                    new.append(draft)
        if not new:
            return
        index = torch.tensor(rows, device=self.rows.device)
        logits = self.victim.scores(self.batch.select(index).with_texts([draft.text for draft in new]))
        for b, draft, logit in zip(rows, new, logits.tolist(), strict=True):
            self._found[b][draft.words] = (draft, logit)
            if len(draft.touched) == 1:
                (place,) = draft.touched
                self.memory.effects.setdefault(b, {})[place, draft.words[place]] = self._signs[b] * logit
            if self._signs[b] * logit > FALLEN:
                self.fallen.add(b)

    def worst(self, count: int) -> dict[int, list[tuple[Draft, float]]]:
        """The `count` most damaging of what was asked about each example, worst first, with their logits."""
        out: dict[int, list[tuple[Draft, float]]] = {}
        for b, found in self._found.items():
            if found:
                out[b] = sorted(found.values(), key=itemgetter(1), reverse=self._signs[b] > 0)[:count]
        return out

    def logit(self, i: int, draft: Draft) -> float:
        """What was found of a draft that the round asked about."""
        return self._found[self.numbers[i]][draft.words][1]

    def slopes(self, texts: Sequence[str], which: Sequence[int] | None = None) -> tuple[Tensor, Tensor]:
        """On the CPU: how the damage grows with each word's vector, `[K, W, D]`, and the slope's product with
        the word as it is, `[K, W]`. One query each."""
        rows = self.rows if which is None else self.rows[list(which)]
        active = self.batch.select(rows).with_texts(texts)
        slopes, current = self.victim.word_slopes(active)
        sign = wrong_way(active).cpu()
        return slopes * sign[:, None, None], current * sign[:, None]

    def generator(self, i: int) -> np.random.Generator:
        """Draws for the example `i` in this state of its draft."""
        draft = self.drafts[i]
        example = int(self.batch.example_ids[self.numbers[i]])
        return self.rng.child("options").numpy(example, len(draft.touched))

    def find_order(self, which: Sequence[int], *, misspell: bool = False) -> None:
        """Rank the places of the examples `which` by what removing the word does, where that is not known
        yet; each place is a query, taken off the options. Where queries are short, the first places are asked
        about."""
        index: list[int] = []
        texts: list[str] = []
        places: list[tuple[int, list[int]]] = []
        for i in which:
            row = self.numbers[i]
            if row not in self.memory.order:
                self.memory.order[row] = []
                asked = self.rules.open_places(self.drafts[i], misspell=misspell)[: self.most[i] // 2]
                places.append((i, asked))
                index += [row] * len(asked)
                texts += [self.drafts[i].without(place) for place in asked]
                self.most[i] -= len(asked)
        rows = torch.tensor(index, dtype=torch.int64, device=self.rows.device)
        active = self.batch.select(rows).with_texts(texts)
        damage = (wrong_way(active) * self.victim.scores(active)).tolist() if texts else []
        start = 0
        for i, asked in places:
            known = dict(zip(asked, damage[start : start + len(asked)], strict=True))
            start += len(asked)
            self.memory.order[self.numbers[i]] = sorted(asked, key=lambda place: (-known[place], place))

    def first_places(self, i: int, most: int, *, misspell: bool = False) -> list[int]:
        """The most important places of the example `i` that may still be changed."""
        open_ = set(self.rules.open_places(self.drafts[i], misspell=misspell))
        return [place for place in self.memory.order[self.numbers[i]] if place in open_][:most]

    def by_importance(self, i: int, moves: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """Moves by the importance of their place, where it is known."""
        rank = {place: r for r, place in enumerate(self.memory.order.get(self.numbers[i], []))}
        return sorted(moves, key=lambda move: rank.get(move[0], len(rank)))

    def public_ranking(self) -> list[list[str]]:
        """For each draft, the words to stuff it with (popular ones, or those of near items) by public similarity to
        the user's history, the most promising first."""
        lexicon, rules = self.victim.world.lexicon, self.rules
        known = rules.vocabulary if rules.narrow else lexicon.popular
        own = [rules.stuffing_of(draft, rules.popular) for draft in self.drafts]
        if not known:
            return [[] for _ in own]
        world, active = self.victim.world, self.batch.select(self.rows)
        vectors = world.item_vectors
        histories = active.histories().cpu()
        real = (histories != PAD).unsqueeze(-1)
        taste = (vectors[histories.clamp(min=0)] * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        words = torch.from_numpy(lexicon.vectors_of(known))
        place = {word: v for v, word in enumerate(known)}
        promise = (taste - vectors.mean(dim=0)) @ words.T * wrong_way(active).cpu()[:, None]
        out = []
        for row, several in zip(promise, own, strict=True):
            order = row[[place[word] for word in several]].argsort(descending=True, stable=True)
            out.append([several[v] for v in order.tolist()])
        return out
