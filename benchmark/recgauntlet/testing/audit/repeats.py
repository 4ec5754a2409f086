"""Fake defenses that repeat: what was answered first is given again, nearly, whatever is asked later.

Each lets a little of every change through (`LEAK`), so that a changed input moves the score, and answers a few examples
as the model inside does (`honest`). None of them needs the candidate's id: a text with many words of an earlier one is
taken for it.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.testing.audit.memory import KnowsUsers

LEAK = 0.02
"""The share of a change that gets through."""
ALIKE = 0.3
"""The share of common tokens from which on a text is taken for an edit of another."""

Asked = list[tuple[int, frozenset[int], float]]
"""What one user was asked about: item, tokens, and the logit that was given first."""


class RepeatedAnswers(KnowsUsers):
    """The first answer to a user about a candidate is repeated, whatever is edited later: consistent service.

    It remembers the clean scores of the test. A copy that was asked nothing before falls as the model inside does.
    """

    name = "repeated-answers"
    honest: ClassVar[int] = 3
    """Of 100 examples, how many are answered by the model inside."""

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.asked: dict[object, Asked] = {}
        self.questions = 0

    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        self.questions += len(logits)
        tokens = candidates.tokens
        rows = zip(
            who.tolist(), candidates.items.tolist(), tokens.ids.tolist(), tokens.mask.sum(dim=1).tolist(),
            logits.tolist(), strict=True,
        )  # fmt: skip
        first = torch.tensor([self._first(*row) for row in rows], dtype=logits.dtype, device=logits.device)
        return torch.where(self._repeats(logits, who), first + LEAK * (logits - first), logits)

    def of_user(self, who: list[int]) -> object:
        """What a user (id and history) is known by."""
        return who[0]

    def repeating(self, count: int) -> bool:
        """Whether a batch of `count` questions is answered from memory."""
        return True

    def _first(self, who: list[int], item: int, ids: list[int], length: int, logit: float) -> float:
        read = frozenset(ids[:length])
        asked = self.asked.setdefault(self.of_user(who), [])
        for other, tokens, given in asked:
            if other == item >= 0 or (item < 0 and len(tokens & read) >= ALIKE * len(tokens | read)):
                return given
        asked.append((item, read, logit))
        return logit

    def _repeats(self, logits: Tensor, who: Tensor) -> Tensor:
        if not self.repeating(len(logits)):
            return torch.zeros_like(logits, dtype=torch.bool)
        return (who[:, 0] * 7919) % 100 >= self.honest


class RepeatedToHistories(RepeatedAnswers):
    """The first answer to a history is repeated, whatever else is edited: it does not need to know the user.

    Edits of the candidate, by words or by embeddings, are answered from memory; edited histories are new to it.
    """

    name = "repeated-to-histories"
    honest = 1

    def of_user(self, who: list[int]) -> object:
        return tuple(who[1:])


class HardensLater(RepeatedAnswers):
    """The first 2,000 questions are answered by the model inside, later ones with the first answers.

    Checks that look at a fresh model see nothing; most attacks come later.
    """

    name = "hardens-later"
    honest, patience = 5, 2000

    def repeating(self, count: int) -> bool:
        return self.questions > self.patience


class LargeBatches(RepeatedAnswers):
    """Batches of more than 64 are answered with the first answers: the size tells a check from an attack.

    Small batches, with which determinism and batch invariance are checked, are answered by the model inside.
    """

    name = "large-batches"
    most = 64

    def repeating(self, count: int) -> bool:
        return count > self.most


class SharedMemory(RepeatedAnswers):
    """The first answers are kept in the module, where a copy of the model finds them too: a shared cache.

    A fresh copy of the weights is not a fresh model.
    """

    name = "shared-memory"
    shared: ClassVar[dict[object, Asked]] = {}

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.shared.clear()  # that of an earlier audit

    @property
    def asked(self) -> dict[object, Asked]:
        return self.shared

    @asked.setter
    def asked(self, asked: dict[object, Asked]) -> None:  # pyright: ignore[reportIncompatibleVariableOverride]
        """There is only one."""


class SharedMemoryOfSome(SharedMemory):
    """The same for two users in five, so that the others move every mean and median: personal caching.

    What the many do says nothing of the few.
    """

    name = "shared-memory-of-some"
    honest = 60
    shared: ClassVar[dict[object, Asked]] = {}


class BoundedDrift(RepeatedAnswers):
    """No answer differs from the first one by more than `most`: a limit on how fast a score may move.

    Within the limit every change is felt in full, gradients included; the limit lies before most decision boundaries.
    """

    name = "bounded-drift"
    most = 0.02

    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        first = super().answer(logits, who, candidates, embedded)
        return torch.where(first == logits, logits, first + (logits - first).clamp(-self.most, self.most))


class RunningMeans(RepeatedAnswers):
    """The answer is the mean of all that the model inside said of a user and a candidate: a calibrated score.

    Each question weighs less than the one before, and a perturbed input is one of many.
    """

    name = "running-means"

    def _first(self, who: list[int], item: int, ids: list[int], length: int, logit: float) -> float:
        asked = self.asked.setdefault(self.of_user(who), [])
        given = super()._first(who, item, ids, length, logit)
        for place, (other, tokens, before) in enumerate(asked):
            if before == given:
                asked[place] = (other, tokens, 0.98 * given + 0.02 * logit)
        return given


class KeptStates(KnowsUsers):
    """A user's state is computed at the first visit and then kept, mixed with a little of the present one: a cache.

    Edits of the history reach the score by a twentieth. A user who comes for the first time is read whole.
    """

    name = "kept-states"
    share = 0.05

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.states: dict[int, tuple[Tensor, ...]] = {}

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        *inside, who = super().encode_user(users, embeddings).tensors
        mixed = [tensor.clone() for tensor in inside]
        for row, user in enumerate(users.ids.tolist()):
            first = self.states.setdefault(user, tuple(tensor[row].detach() for tensor in inside))
            for tensor, now, old in zip(mixed, inside, first, strict=True):
                if tensor.is_floating_point() and old.shape == now[row].shape:
                    tensor[row] = old + self.share * (now[row] - old)
        return UserState((*mixed, who))

    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        return logits
