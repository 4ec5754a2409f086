"""One turn of a greedy search on texts: what is asked of the victim to propose moves."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recgauntlet.attacks.search import wrong_way
from recgauntlet.attacks.text_moves import Draft, Rules
from recgauntlet.batch import PAD, Batch
from recgauntlet.rng import Randomness
from recgauntlet.victim import Victim


class Round:
    """One turn of a greedy search: the examples `rows [K]` of a batch, their drafts, and at most how many
    queries each may use for its options. `order` is remembered over the turns: places by importance, per
    row."""

    def __init__(
        self,
        victim: Victim,
        batch: Batch,
        rules: Rules,
        rows: Tensor,
        drafts: list[Draft],
        most: list[int],
        order: dict[int, list[int]],
        rng: Randomness,
    ) -> None:
        self.victim = victim
        self.batch = batch
        self.rules = rules
        self.rows = rows
        self.drafts = drafts
        self.most = most
        self.order = order
        self.rng = rng

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
        example = int(self.batch.example_ids[self.rows[i]])
        return self.rng.child("options").numpy(example, draft.cost, len(draft.touched))

    def find_order(self, which: Sequence[int]) -> None:
        """Rank the places of the examples `which` by what removing the word does, where that is not known
        yet; each place is a query, taken off the options. Where queries are short, the first places are asked
        about."""
        index: list[int] = []
        texts: list[str] = []
        places: list[tuple[int, list[int]]] = []
        for i in which:
            row = int(self.rows[i])
            if row not in self.order:
                asked = self.rules.open_places(self.drafts[i])[: self.most[i] // 2]
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
            self.order[int(self.rows[i])] = sorted(asked, key=lambda place: (-known[place], place))

    def first_places(self, i: int, most: int) -> list[int]:
        """The most important places of the example `i` that may still be changed."""
        open_ = set(self.rules.open_places(self.drafts[i]))
        return [place for place in self.order[int(self.rows[i])] if place in open_][:most]

    def by_importance(self, i: int, moves: list[tuple[int, str]]) -> list[tuple[int, str]]:
        """Moves by the importance of their place, where it is known."""
        rank = {place: r for r, place in enumerate(self.order.get(int(self.rows[i]), []))}
        return sorted(moves, key=lambda move: rank.get(move[0], len(rank)))

    def public_ranking(self) -> list[list[int]]:
        """For each example, the popular words by public similarity to the user's history, most promising
        first."""
        world, active = self.victim.world, self.batch.select(self.rows)
        vectors = world.item_vectors
        histories = active.histories().cpu()
        real = (histories != PAD).unsqueeze(-1)
        taste = (vectors[histories.clamp(min=0)] * real).sum(dim=1) / real.sum(dim=1).clamp(min=1)
        words = torch.from_numpy(self.rules.lexicon.popular_vectors)
        place = {word: v for v, word in enumerate(self.rules.lexicon.popular)}
        words = words[[place[word] for word in self.rules.popular]]
        promise = (taste - vectors.mean(dim=0)) @ words.T * wrong_way(active).cpu()[:, None]
        ranking: list[list[int]] = promise.argsort(dim=1, descending=True, stable=True).tolist()
        return ranking
