"""Attacks as a stranger's package would register them: honest ones for each surface, a cheat and a crash."""

from __future__ import annotations

import torch

from recgauntlet import Attack, Batch, Budget, Randomness, Victim


def damage(victim: Victim, batch: Batch) -> torch.Tensor:
    return (1 - 2 * batch.labels) * victim.scores(batch)


class BorderStep(Attack):
    """A step along the gradient to the very border of the ball."""

    name = "border-step"
    surface = "embedding"

    def __init__(self, *, length: float = 1.0) -> None:
        self.length = length

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        _, gradient, _ = victim.embedding_gradient(batch)
        step = gradient * (1 - 2 * batch.labels)[:, None, None]
        norm = step.flatten(1).norm(dim=1).clamp(min=1e-12)[:, None, None]
        return batch.with_delta(step / norm * (self.length * budget.amount * victim.scale.norm))


class OneMoreWord(Attack):
    """The worst of a few popular words, behind the text."""

    name = "one-more-word"
    surface = "candidate-text"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        texts = list(batch.texts or [victim.world.catalog.texts[i] for i in batch.items.tolist()])
        best, worst = batch.with_texts(texts), torch.full_like(batch.labels, -torch.inf)
        for word in victim.world.lexicon.popular[: budget.queries]:
            tried = batch.with_texts([f"{' '.join(text.split())} {word}" for text in texts])
            found = damage(victim, tried)
            better = (found > worst).tolist()
            worst = torch.maximum(worst, found)
            pairs = zip(better, tried.texts or (), best.texts or (), strict=True)
            best = best.with_texts([new if is_better else old for is_better, new, old in pairs])
        return best


class DropOne(Attack):
    """The worst history of those with one item less."""

    name = "drop-one"
    surface = "history"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        clean = batch.histories()
        best, worst = clean.clone(), torch.full_like(batch.labels, -torch.inf)
        for place in range(min(clean.shape[1], budget.queries)):
            tried = clean.clone()
            tried[:, 1 : place + 1] = clean[:, :place]
            tried[:, 0] = -1
            tried = torch.where((tried >= 0).any(dim=1, keepdim=True), tried, clean)
            found = damage(victim, batch.with_histories(tried))
            better = found > worst
            best, worst = torch.where(better[:, None], tried, best), torch.maximum(worst, found)
        return batch.with_histories(best)


class Cheat(Attack):
    """A history of the one item that looks worst, whatever the budget."""

    name = "cheat"
    surface = "history"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        return batch.with_histories((batch.histories() + 7) % len(victim.world.catalog))


class Crash(Attack):
    """Quotes the first text it sees in its last words, from the standard tier on."""

    name = "crash"
    surface = "candidate-text"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        if budget.tier != "low":
            raise ValueError(victim.world.catalog.texts[int(batch.items[0])])
        return batch


class CrashAlways(Attack):
    """Never returns."""

    name = "crash-always"
    surface = "history"

    def perturb(self, victim: Victim, batch: Batch, budget: Budget, rng: Randomness) -> Batch:
        raise ZeroDivisionError("by zero")
