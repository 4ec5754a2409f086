"""Fake defenses with memory: the test's labels, the original of an edited text, or their earlier scores."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.testing.audit.fake import Fake

SURE = 20.0
"""The logit of an answer that is known."""


class KnowsUsers(Fake):
    """Each user's id and history `[U, 1 + H]` are carried in the last tensor of the state."""

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        who = torch.cat([users.ids[:, None], users.histories], dim=1)
        return UserState((*self.inner.encode_user(users, embeddings).tensors, who))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        *inside, who = user.tensors
        embedded = self.embed(candidates) if embeddings is None else embeddings
        logits = self.inner.score(UserState(tuple(inside)), candidates, embedded)
        return self.answer(logits, who, candidates, embedded)

    @abstractmethod
    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        """What is answered instead of `logits [B]` to `who [B, 1 + H]`."""


class MemorizedInputs(KnowsUsers):
    """The hash of every clean test input leads to its label: right wherever nothing was touched.

    A touched input goes to the model inside, so whatever breaks that breaks this. Clean accuracy is stolen, and the
    gradient at the clean input is 0.
    """

    name = "memorized-inputs"
    exact = True
    """Whether history, tokens and embeddings must be the clean ones too."""

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        test = pairs_to_batch(data.test, np.arange(len(data.test))).to(inner.device)
        generator = Randomness(0, "audit/memory").torch()
        width = 2 + test.users.histories.shape[1] + inner.token_length
        self.factors = torch.randint(-(2**62), 2**62, (width,), generator=generator).to(inner.device)
        who = torch.cat([test.users.ids[:, None], test.users.histories], dim=1)[test.rows]
        self.known, order = self._keys(who, inner.candidates(test.items)).sort()
        self.labels = test.labels[order]

    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        keys = self._keys(who, candidates)
        place = torch.searchsorted(self.known, keys).clamp(max=len(self.known) - 1)
        seen = self.known[place] == keys
        if self.exact:
            seen &= (embedded == self.inner.embed(candidates)).flatten(1).all(dim=1)
        return torch.where(seen, SURE * (2.0 * self.labels[place] - 1.0), logits)

    def _keys(self, who: Tensor, candidates: Candidates) -> Tensor:
        """Random linear hashes, modulo 2^64."""
        if not self.exact:
            return who[:, 0] * self.factors[0] + candidates.items * self.factors[1]
        tokens = (candidates.tokens.ids + 1) * candidates.tokens.mask
        parts = torch.cat([candidates.items[:, None], who, tokens], dim=1)
        return (parts * self.factors[: parts.shape[1]]).sum(dim=1)


class MemorizedPairs(MemorizedInputs):
    """Every test pair of user and item leads to its label: right whatever is touched.

    No edit of the text, the history or the embeddings can change an answer that was looked up. Asked about anything
    but the test it is the model inside.
    """

    name = "memorized-pairs"
    exact = False


class OriginalTexts(Fake):
    """Whatever text a candidate is shown with, the model reads the catalog's: the edit is undone.

    It does not read the surface that it says it reads. Where the seller or the publisher edits, the catalog holds the
    edited text, and there is no original to go back to.
    """

    name = "original-texts"

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        hidden = texts is not None and bool((items < 0).any())  # a new listing has no original
        return self.inner.candidates(items, texts if hidden else None)


class RestoredTexts(Fake):
    """A text that is nearly the catalog's is taken for it: spelling correction with the answer at hand.

    Where at least `least` of the words stand as they were, the edit is undone, and every edit inside the budget leaves
    so many. Any other text is read, so that swapping the whole text shows nothing.
    """

    name = "restored-texts"
    least = 0.3

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        if texts is None:
            return self.inner.candidates(items)
        originals = [self.catalog.texts[item] if item >= 0 else "" for item in items.tolist()]
        pairs = zip(originals, texts, strict=True)
        return self.inner.candidates(items, [self._restored(original, text) for original, text in pairs])

    def _restored(self, original: str, text: str) -> str:
        words = original.split()
        same = sum(a == b for a, b in zip(words, text.split(), strict=False))
        return original if words and same >= self.least * len(words) else text


class OriginalHistories(Fake):
    """Whatever history a user comes with, the model reads the one that the test has of that user: the edit is undone.

    It does not read the surface that it says it reads, and it would not know a user that is not in the test.
    """

    name = "original-histories"

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.ids = torch.from_numpy(data.test.users).to(inner.device)
        self.histories = torch.from_numpy(data.test.histories).to(inner.device)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        # of several histories of a user, the one with most items in the same places is taken
        same_user = users.ids[:, None] == self.ids
        alike = (users.histories[:, None] == self.histories).sum(dim=2) + 1
        likeness, place = (alike * same_user).max(dim=1)
        found = torch.where((likeness > 0)[:, None], self.histories[place], users.histories)
        changed = (found != users.histories).any(dim=1)
        original = Users(users.ids, found)
        if embeddings is None:
            return self.inner.encode_user(original)
        own = torch.where(changed[:, None, None], self.inner.embed_history(original), embeddings)
        return self.inner.encode_user(original, own)


class FirstAnswers(KnowsUsers):
    """The first answer about a user and an item is kept and given ever after: consistent service.

    A cache of the clean scores. The wrapped model is as vulnerable as before on new inputs.
    """

    name = "first-answers"

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.given: dict[tuple[int, int], float] = {}

    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        keys = zip(who[:, 0].tolist(), candidates.items.tolist(), strict=True)
        kept = [self.given.setdefault(key, logit) for key, logit in zip(keys, logits.tolist(), strict=True)]
        return logits * 0.0 + torch.tensor(kept, dtype=logits.dtype, device=logits.device)
