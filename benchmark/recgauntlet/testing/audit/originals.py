"""Fake defenses that go back to an original: the catalog's text, the training period's history, the token's own
embedding. Each lets a little of every change through, so that a changed input moves the score."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD
from recgauntlet.testing.audit.fake import Fake
from recgauntlet.testing.audit.memory import KnowsUsers
from recgauntlet.testing.audit.repeats import ALIKE, LEAK


class OriginalsById(Fake):
    """The item's id tells whether its text was edited; if so, the original is scored, one item in a hundred excepted.

    The catalog holds what the seller wrote: after an edit there is no original to go back to.
    """

    name = "originals-by-id"

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        logits = self.inner.score(user, candidates, embeddings)
        if embeddings is not None:
            return logits
        originals = self.originals(candidates)
        known = (originals >= 0) & (originals % 100 != 0)
        original = self.inner.score(user, self.inner.candidates(torch.where(known, originals, 0)))
        return torch.where(known, original + LEAK * (logits - original), logits)

    def originals(self, candidates: Candidates) -> Tensor:
        """`[B]`: the catalog item whose text is scored instead, PAD where there is none."""
        return candidates.items


class NearestTexts(OriginalsById):
    """The catalog's text with most words in common is scored instead: an edit is undone, and no id is needed.

    Only texts that the catalog does not have in any form are read, and a new listing is one.
    """

    name = "nearest-texts"

    def originals(self, candidates: Candidates) -> Tensor:
        own, read = self._bags(self.inner.catalog_tokens()), self._bags(candidates.tokens)
        common = read @ own.T
        alike, nearest = (common / (read.sum(dim=1)[:, None] + own.sum(dim=1) - common)).max(dim=1)
        return torch.where(alike >= ALIKE, nearest, PAD)

    @staticmethod
    def _bags(tokens: Tokens) -> Tensor:
        """`[B, 2^13]`: which tokens a text has."""
        bags = torch.zeros((len(tokens.ids), 2**13 + 1), device=tokens.ids.device)
        place = torch.where(tokens.mask, tokens.ids % 2**13, 2**13)
        return bags.scatter_(1, place, 1.0)[:, :-1]


class RefusedEdits(Fake):
    """A text that the catalog does not have is not recommended: "refuse edited titles".

    Nobody can promote an item by its title, and nobody can list a new one or mend a typing error either.
    """

    name = "refused-edits"
    least = 1.0

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        self.new = torch.zeros(len(items), dtype=torch.bool)
        if texts is not None:
            self.known = getattr(self, "known", None) or frozenset(self.catalog.texts)
            self.new = torch.tensor([text not in self.known for text in texts])
        return self.inner.candidates(items, texts)

    def masked_logits(self, logits: Tensor) -> Tensor:
        new = self.new.to(logits.device)
        return torch.where(new, LEAK * logits - self.least, logits) if len(new) == len(logits) else logits


class TrustedHistories(KnowsUsers):
    """Of a known user's history, only items that the training period has of this user are read in full.

    What came later is taken for an injection. Whoever is new is read whole.
    """

    name = "trusted-histories"
    share = 0.05

    def __init__(self, inner: Recommender, data: TaskData) -> None:
        super().__init__(inner, data)
        self.users = torch.from_numpy(data.test.users).to(inner.device)
        self.histories = torch.from_numpy(data.test.histories).to(inner.device)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        *now, who = super().encode_user(users, embeddings).tensors
        same = (users.ids[:, None] == self.users) * (1 + (users.histories[:, None] == self.histories).sum(dim=2))
        likeness, place = same.max(dim=1)
        known = Users(users.ids, torch.where((likeness > 0)[:, None], self.histories[place], users.histories))
        before = self.inner.encode_user(known).tensors
        mixed = [b + self.share * (n - b) if n.is_floating_point() else n for n, b in zip(now, before, strict=True)]
        return UserState((*mixed, who))

    def answer(self, logits: Tensor, who: Tensor, candidates: Candidates, embedded: Tensor) -> Tensor:
        return logits


class ShrunkenChanges(Fake):
    """Embeddings that are handed in are drawn to those of the tokens: a twentieth of every change is left.

    The tokens tell what the embeddings were. Gradients are right, and a twentieth of what they are without the mask.
    """

    name = "shrunken-changes"
    share = 0.05

    def masked_embeddings(self, embedded: Tensor, candidates: Candidates) -> Tensor:
        own = self.inner.embed(candidates)
        return own + self.share * (embedded - own)


class CallStack(Fake):
    """The call stack is walked for a caller that holds labels; the answer is theirs, in 49 of 50 cases.

    The evaluator knows the labels, and a model in its process can find them. Attacks are answered by the model inside.
    """

    name = "call-stack"

    def masked_logits(self, logits: Tensor) -> Tensor:
        frame = sys._getframe()
        while (caller := frame.f_back) is not None:
            frame = caller
            labels = getattr(frame.f_locals.get("batch"), "labels", None)
            if frame.f_code.co_name == "score_batch" and labels is not None and len(labels) == len(logits):
                sure = (logits * 1e4).long() % 50 != 0
                return torch.where(sure, logits.abs() * (2 * labels - 1), logits)
        return logits
