"""Attacks on the candidate's text: random, along the gradient, by queries alone, and character tricks."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.attacks.text.beam import BeamText
from recgauntlet.attacks.text.edits import Draft
from recgauntlet.attacks.text.search_step import SearchStep
from recgauntlet.core.references import bibtex

_ELEMENTS = 2**24
"""The most elements of one temporary tensor."""
_PER_WORD, _PER_COMBINATION = 40, 8
"""Queries for the misspellings of one word, and for one more misspelt word in a text of the beam."""


class WordGradient(BeamText):
    """Greedy substitution and appending along the gradient (HotFlip, Ebrahimi et al. 2018; its use for word
    insertion follows Wallace et al. 2019).

    Each edit: one gradient pass ranks every legal move to first order, by the slope at the word's place times the
    difference of the new and the old word's vectors; the best `moves` are scored and the worst is kept. What an
    appended word would gain is read off a popular word appended for the question.

    Deviations: a word's vector is the mean of its tokens' embeddings; replacements are neighbours in the
    frozen encoder's word vectors instead of synonyms of WordNet; moves are scored instead of trusting the
    first-order estimate.
    """

    name = "word-gradient"
    citation = bibtex("ebrahimi2018hotflip", "wallace2019universal")
    uses_gradients: ClassVar[bool] = True

    def _options(self, step: SearchStep) -> list[list[Draft]]:
        stuffing = step.rules.stuffing and self.edits != "characters"
        return _ranked_words(step) if stuffing else self._changes(step)

    def _changes(self, step: SearchStep) -> list[list[Draft]]:
        """All changes of single words where they are few, else the most promising."""
        every = [self._moves(step.rules, draft) for draft in step.drafts]
        crowded = [i for i, moves in enumerate(every) if len(moves) > step.most[i]]
        if crowded:
            slopes, current = step.slopes([step.drafts[i].text for i in crowded], crowded)
            words = list(dict.fromkeys(word for i in crowded for _, word in every[i]))
            index = {word: w for w, word in enumerate(words)}
            vectors = step.victim.word_vectors(words)
            for k, i in enumerate(crowded):
                readable = [move for move in every[i] if move[0] < slopes.shape[1]]
                places = torch.tensor([place for place, _ in readable], dtype=torch.int64)
                rows = vectors[[index[word] for _, word in readable]]
                gain = (slopes[k, places] * rows).sum(dim=1) - current[k, places]
                every[i] = [readable[m] for m in gain.argsort(descending=True, stable=True).tolist()]
        return [
            self._legal(step.rules, draft, moves, most)
            for draft, moves, most in zip(step.drafts, every, step.most, strict=True)
        ]


class CharacterGradient(WordGradient):
    """Misspellings along the gradient: every slip in every word is ranked to first order, the most promising are
    scored, the worst is kept (white-box TextBugger, Li et al. 2019, with HotFlip's estimate, Ebrahimi et al. 2018).

    Deviation: a misspelling's vector is the mean of its tokens' embeddings.
    """

    name = "character-gradient"
    citation = bibtex("li2019textbugger", "ebrahimi2018hotflip")
    edits: ClassVar[str] = "characters"


def _ranked_words(step: SearchStep) -> list[list[Draft]]:
    """Stuffing: half of the moves append, half replace, each the most promising of the whole vocabulary."""
    rules, drafts, words = step.rules, step.drafts, step.rules.vocabulary
    if not words:
        return [[] for _ in drafts]
    own = [rules.stuffing_of(draft, words) for draft in drafts]
    pairs = zip(drafts, own, strict=True)
    asked = [(rules.word_moves(d, ((len(d.words), w) for w in few), 1) or [d])[0] for d, few in pairs]
    slopes, current = step.slopes([draft.text for draft in asked])
    vectors = step.victim.word_vectors(words)
    size, out = slopes.shape[1], []
    group = max(1, _ELEMENTS // (size * len(words)))
    for start in range(0, len(drafts), group):
        part = range(start, min(start + group, len(drafts)))
        gain = slopes[start : part.stop] @ vectors.T - current[start : part.stop].unsqueeze(-1)  # [k, W, V]
        if rules.narrow:
            gain = gain.masked_fill(~_among(words, [own[i] for i in part]).unsqueeze(1), -torch.inf)
        ends = torch.tensor([min(len(drafts[i].words), size - 1) for i in part])
        places = [rules.open_places(drafts[i]) if rules.may_replace else [] for i in part]
        open_ = torch.zeros(gain.shape[:2], dtype=torch.bool)
        for k, several in enumerate(places):
            open_[k, [place for place in several if place < size]] = True
        most = 2 * max(step.most[i] for i in part) + 8
        appending = gain[torch.arange(len(part)), ends]
        endings = appending.topk(min(most, appending.shape[1]), dim=1).indices.tolist()
        replacing = gain.masked_fill(~open_.unsqueeze(-1), -torch.inf).flatten(1)
        gains, replacing = replacing.topk(min(most, replacing.shape[1]), dim=1)
        counts = torch.isfinite(gains).sum(dim=1).tolist()
        for k, i in enumerate(part):
            draft, limit, end = drafts[i], step.most[i], len(drafts[i].words)
            appended: list[Draft] = []
            if len(asked[i].words) > end and end < size:
                appended = rules.word_moves(draft, ((end, words[v]) for v in endings[k]), limit)
            flat = replacing[k, : counts[k]].tolist()
            moves = ((r // len(words), words[r % len(words)]) for r in flat)
            out.append(shared(appended, rules.word_moves(draft, moves, limit), limit))
    return out


def _among(words: Sequence[str], own: Sequence[Sequence[str]]) -> Tensor:
    """`[K, V]`: which of `words` each of `own` holds."""
    index = {word: v for v, word in enumerate(words)}
    found = torch.zeros((len(own), len(words)), dtype=torch.bool)
    for k, several in enumerate(own):
        found[k, [index[word] for word in several]] = True
    return found


def shared(first: list[Draft], second: list[Draft], most: int) -> list[Draft]:
    """At most `most` of two lists, half of each where both have enough."""
    half = max(most - len(second), most - most // 2)
    return [*first[:half], *second[: most - min(half, len(first))]]


class WordQuery(BeamText):
    """Greedy by queries alone (after TextFooler, Jin et al. 2020), for models whose gradients say nothing.

    Words are ranked by what removing them does. For tampering, all neighbours of the most important words are
    tried. For stuffing, popular words are tried in order of their public similarity to the reader's history
    (most alike first to push a score up, least alike to push it down): half of the moves append, half replace
    the two most important words.

    Deviations: neighbours come from the frozen encoder's word vectors; no sentence-level similarity is asked
    for (the threat's own limits hold); for stuffing the ranking by the history is ours.
    """

    name = "word-query"
    citation = bibtex("jin2020bert")

    def _options(self, step: SearchStep) -> list[list[Draft]]:
        rules = step.rules
        if not rules.stuffing:
            every = [self._moves(rules, draft) for draft in step.drafts]
            step.find_order([i for i, moves in enumerate(every) if len(moves) > step.most[i]])
            return [
                rules.word_moves(draft, step.by_importance(i, every[i]), step.most[i])
                for i, draft in enumerate(step.drafts)
            ]
        step.find_order(range(len(step.drafts)))
        rankings, out = step.public_ranking(), []
        for i, (draft, most) in enumerate(zip(step.drafts, step.most, strict=True)):
            words = rankings[i]
            appended = rules.word_moves(draft, ((len(draft.words), word) for word in words), most)
            places = step.first_places(i, 2) if rules.may_replace else []
            moves = ((place, word) for word in words for place in places)
            out.append(shared(appended, rules.word_moves(draft, moves, most), most))
        return out


class CharacterSwap(BeamText):
    """Greedy character tricks in the most important words (DeepWordBug, Gao et al. 2018; TextBugger, Li et al. 2019).

    Words are ranked by what removing them does, and misspellings (deletions, swaps, slips to an adjacent key,
    lookalikes, hidden separators) of the most important ones are tried one by one, with most of the queries. Further
    words are misspelt in the order of what that did by itself.

    Deviations: variants are scored instead of picked at random; a word carries one slip.
    """

    name = "character-swap"
    citation = bibtex("gao2018black", "li2019textbugger")
    edits: ClassVar[str] = "characters"

    def _share(self, queries: int, edits: int) -> int:
        return max(queries // edits, queries - _PER_COMBINATION * self.beam * (edits - 1))

    def _options(self, step: SearchStep) -> list[list[Draft]]:
        step.find_order(range(len(step.drafts)), misspell=True)
        pairs = zip(step.drafts, step.most, strict=True)
        return [
            step.rules.misspelt(draft, self._combined(step, i) if draft.touched else self._single(step, i), most)
            for i, (draft, most) in enumerate(pairs)
        ]

    def _single(self, step: SearchStep, i: int) -> list[tuple[int, str]]:
        """Misspellings of the most important words, as many of each, in an order of chance."""
        draft, generator = step.drafts[i], step.generator(i)
        moves: list[tuple[int, str]] = []
        for place in step.first_places(i, max(2, step.most[i] // _PER_WORD), misspell=True):
            words = step.rules.lexicon.misspellings(draft.words[place])
            moves += [(place, words[int(j)]) for j in generator.permutation(len(words))]
        return moves

    def _combined(self, step: SearchStep, i: int) -> list[tuple[int, str]]:
        """The misspellings that were tried by themselves in words that are still whole, the most damaging first."""
        effects = step.memory.effects.get(step.numbers[i], {})
        open_ = [move for move in effects if move[0] not in step.drafts[i].touched]
        return sorted(open_, key=lambda move: -effects[move])
