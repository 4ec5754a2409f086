"""Keyword stuffing: words chosen from the catalog by the model's scores only."""

from __future__ import annotations

import torch
from torch import Tensor

from recgauntlet.attacks.common import wrong_way
from recgauntlet.attacks.text.beam import BeamText
from recgauntlet.attacks.text.edits import Draft
from recgauntlet.attacks.text.greedy import shared
from recgauntlet.attacks.text.search_step import SearchStep
from recgauntlet.core.references import bibtex
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.text import TextThreatModel

_PROBES = 32
_RIDGE = 10.0
"""How far the reference users are trusted to stand in for a reader; between 0.1 and 10 little changes."""


class Keywords(BeamText):
    """Words that sell: what each word of the catalog does is learned on a few reference examples, and then corrected
    for the reader at hand (after universal triggers, Wallace et al. 2019, found here by queries alone).

    First, half of an example's tries append the words of which the references promise most (mean and one standard
    deviation). The answers fit weights of the reference users by ridge regression, drawn towards equal ones; with these
    weights every word of the vocabulary is ranked for the example. Later edits follow that ranking: half of the tries
    append, half replace the most important words (by deletion).

    Deviations: no gradient; what is learned are single words, ranked anew for each reader, not one phrase for all.
    """

    name = "keywords"
    citation = bibtex("wallace2019universal")

    def supports(self, budget: Budget) -> bool:
        return budget.amount >= 1 and TextThreatModel.of(budget).may_insert

    def _options(self, step: SearchStep) -> list[list[Draft]]:
        rules, words = step.rules, step.rules.vocabulary
        if not words:
            return [[] for _ in step.drafts]
        index = {word: v for v, word in enumerate(words)}
        probed = self._probe(step)
        step.find_order([i for i in range(len(step.drafts)) if not self._done(step, i)])
        out: list[list[Draft]] = []
        for i, draft in enumerate(step.drafts):
            most, end = step.most[i] - len(probed[i]), len(draft.words)
            if self._done(step, i) or most < 1:
                out.append([])
                continue
            own = step.rules.stuffing_of(draft, words)
            promise = step.memory.promise[step.numbers[i]][[index[word] for word in own]]
            ranked = [own[v] for v in promise.topk(min(2 * most + _PROBES, len(own))).indices.tolist()]
            known = {option.words[end] for option in probed[i]}
            appended = rules.word_moves(draft, ((end, word) for word in ranked if word not in known), most)
            places = step.first_places(i, 3) if rules.may_replace else []
            replaced = rules.word_moves(draft, ((place, word) for word in ranked for place in places), most)
            out.append(shared(appended, replaced, most))
        return out

    def _done(self, step: SearchStep, i: int) -> bool:
        return self.stop_when_fallen and step.numbers[i] in step.fallen

    def _probe(self, step: SearchStep) -> list[list[Draft]]:
        """Ask about the most promising words for each example that is not known yet, and learn what every word
        promises it. What was asked about each draft."""
        words = step.rules.vocabulary
        fresh = {b: i for i, b in reversed(list(enumerate(step.numbers))) if b not in step.memory.promise}
        probed: list[list[Draft]] = [[] for _ in step.drafts]
        if not fresh:
            return probed
        effects = step.victim.word_effects(words)
        hope = effects.mean(dim=1, keepdim=True)
        spread = effects.std(dim=1, correction=0, keepdim=True)
        signs = wrong_way(step.batch).cpu()
        most = len(words) if step.rules.narrow else min(2 * _PROBES, len(words))
        first = {sign: (sign * hope + spread).squeeze(1).topk(most).indices.tolist() for sign in (1, -1)}
        number = {word: v for v, word in enumerate(words)}
        asked: dict[int, list[int]] = {}
        for b, i in fresh.items():
            draft, own = step.drafts[i], frozenset(step.rules.stuffing_of(step.drafts[i], words))
            moves = ((len(draft.words), words[v]) for v in first[int(signs[b])] if words[v] in own)
            probed[i] = step.rules.word_moves(draft, moves, min(_PROBES, step.most[i] // 2))
            asked[b] = [number[option.words[-1]] for option in probed[i]]
        step.ask(probed)
        for b, i in fresh.items():
            logits = torch.tensor([step.logit(i, option) for option in probed[i]])
            step.memory.promise[b] = float(signs[b]) * _fit(effects, torch.tensor(asked[b]), logits)
        return probed


def _fit(effects: Tensor, asked: Tensor, logits: Tensor) -> Tensor:
    """What each word does to a reader's logit, `[V]`: a weighted sum of what it does to the reference users,
    `effects [V, R]`, fitted to the reader's `logits [P]` at the words `asked [P]`."""
    count = effects.shape[1]
    equal = torch.full((count,), 1 / count)
    if not len(asked):
        return effects @ equal
    seen, scale = effects[asked], effects.std(correction=0).clamp(min=1e-6)
    inputs, level = (seen - seen.mean(dim=0)) / scale, logits.mean()
    missing = (logits - level) / scale - inputs @ equal
    penalty = _RIDGE / count * torch.eye(count)
    weights = equal + torch.linalg.solve(inputs.T @ inputs + penalty, inputs.T @ missing)
    promise: Tensor = (effects - seen.mean(dim=0)) @ weights + level
    promise[asked] = logits
    return promise
