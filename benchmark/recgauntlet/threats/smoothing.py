"""A model smoothed over deletions: several votes on parts of the input, and their joint score.

Randomized smoothing (Cohen et al. 2019; for deletions RS-Del, Huang et al. 2023) estimates a classifier's average over
random deletions. Here the average is exact, as in "(De)Randomized Smoothing" (Levine and Feizi 2020): the deletions are
drawn once, from a fixed seed. What `recgauntlet.evaluation.certify` certifies is the very model that is attacked.

Which votes see a word depends on its place in the text alone, and which see a history item on the item alone. So a vote
that sees nothing of what an attacker touches reads the same input as before, whatever was touched and whatever came in.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD, Surface
from recgauntlet.threats.lexicon import words_of
from recgauntlet.threats.text import shown_texts

PLACES = 512
"""Words are dealt by their place; places further back start again from the first."""


@dataclass(frozen=True)
class VotedCandidates(Candidates):
    """Candidates and what the votes read of them: `V` distinct texts, of example `example [V]`, as `read`.

    `vote [B, votes]` says which of them each vote reads; `words [V, W]` are the places of their words in the whole
    text, PAD behind.
    """

    read: Candidates
    example: Tensor
    vote: Tensor
    words: Tensor


class DeletionSmoothed(Recommender):
    """`inner`, asked `votes` times, each time with most of one surface deleted.

    With `l_v` the logit of vote v and `s` the sharpness, the score is the logit of the mean probability,

        (log sum_v sigmoid(s l_v) - log sum_v sigmoid(-s l_v)) / s,

    above 0 exactly where the mean of `sigmoid(s l_v)` is above one half. A small `s` gives the mean of the logits, a
    large one the majority vote; it is smooth, so gradients flow to every vote. The score is a fixed function of the
    input: nothing is drawn at inference.

    Parameters
    ----------
    inner
        The model. It must read the surface.
    votes, kept
        How many votes there are, and how many of them see a word or an item.
    sharpness
        `s` above.

    Raises PluginError where `inner` does not read the surface, or no vote or every vote would see everything.
    """

    surface: ClassVar[Surface]

    def __init__(self, inner: Recommender, *, votes: int, kept: int, sharpness: float) -> None:
        if self.surface not in inner.surfaces:
            raise PluginError(
                f"{type(inner).__name__} does not read the surface {self.surface}",
                field="surface",
                remedy="smooth what the model reads",
            )
        if not 1 <= kept < votes or sharpness <= 0:
            raise PluginError(
                f"votes={votes}, kept={kept}, sharpness={sharpness:g} do not fit together",
                field="votes",
                remedy="let each part be seen by at least one and not by all votes; a sharpness is above 0",
            )
        super().__init__(inner.catalog, token_length=inner.token_length)
        self.inner = inner
        self.surfaces = inner.surfaces  # type: ignore[misc]  # it reads what the model inside reads
        self.recipe = inner.recipe
        self.votes, self.kept, self.sharpness = votes, kept, sharpness
        self.register_buffer("seen", deal(self._elements(), votes, kept).to(inner.device), persistent=False)
        self.seen: Tensor

    @abstractmethod
    def _elements(self) -> int:
        """How many words or items are dealt to the votes."""

    @classmethod
    @abstractmethod
    def deleted(cls, catalog: Catalog, batch: Batch, share: float, generator: torch.Generator) -> Batch:
        """`batch`, each word or item deleted with the probability `share`; a user's history is the same for all of its
        candidates."""

    @abstractmethod
    def vote_logits(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        """`[B, votes]`: the logit of each vote, as `score` takes it."""

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        return self.inner.tokenize(texts)

    def catalog_tokens(self) -> Tokens:
        return self.inner.catalog_tokens()

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, D]` of the whole history; what the votes do not see has no gradient from them."""
        return self.inner.embed_history(users)

    def embed(self, candidates: Candidates) -> Tensor:
        """`[B, L, D]` of the whole text."""
        return self.inner.embed(candidates)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        return self.inner.encode_user(users, embeddings)

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        return self.inner.candidates(items, texts)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return vote(self.vote_logits(user, candidates, embeddings), self.sharpness)


class HistorySmoothed(DeletionSmoothed):
    """Votes on items of the history, the rest moving together with PAD in front."""

    surface: ClassVar[Surface] = "history"

    def _elements(self) -> int:
        return len(self.inner.catalog)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """The states of `inner`, `[U, votes, ...]`."""
        count = len(users)
        left, order = left_of(users.histories, self.seen_items(users.histories))  # [U, votes, W]
        if embeddings is not None:
            places = torch.arange(count, device=order.device)[:, None, None]
            embeddings = (embeddings[places, order] * (left != PAD).unsqueeze(-1)).flatten(0, 1)
        each = Users(users.ids.repeat_interleave(self.votes), left.flatten(0, 1))
        return self.inner.encode_user(each, embeddings).folded(self.votes)

    @classmethod
    def deleted(cls, catalog: Catalog, batch: Batch, share: float, generator: torch.Generator) -> Batch:
        histories = batch.users.histories
        draws = torch.rand(histories.shape, generator=generator).to(histories.device)
        left, _ = left_of(histories, ((draws >= share) & (histories != PAD)).unsqueeze(1))
        return replace(batch, users=Users(batch.users.ids, left[:, 0]))

    def seen_items(self, histories: Tensor) -> Tensor:
        """`[U, votes, H]`: which items of `histories [U, H]` each vote sees."""
        real = (histories != PAD).unsqueeze(-1)
        return (self.seen[histories.clamp(min=0)] & real).transpose(1, 2)

    def vote_logits(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        count, tokens = len(candidates), candidates.tokens
        rows = torch.arange(count, device=candidates.items.device).repeat_interleave(self.votes)
        each = Candidates(
            candidates.items[rows], Tokens(tokens.ids[rows], tokens.mask[rows], tokens.word_of_token[rows])
        )
        embeddings = None if embeddings is None else embeddings[rows]
        return self.inner.score(user.unfolded(), each, embeddings).view(count, self.votes)


class TextSmoothed(DeletionSmoothed):
    """Votes on words of the candidate's text, deleted before tokenization: the model's own truncation comes after."""

    surface: ClassVar[Surface] = "candidate-text"

    def __init__(self, inner: Recommender, *, votes: int, kept: int, sharpness: float) -> None:
        super().__init__(inner, votes=votes, kept=kept, sharpness=sharpness)
        self._parts: dict[int, tuple[list[list[int]], list[int]]] = {}

    def _elements(self) -> int:
        return PLACES

    @classmethod
    def deleted(cls, catalog: Catalog, batch: Batch, share: float, generator: torch.Generator) -> Batch:
        words = [words_of(text) for text in shown_texts(catalog, batch)]
        draws = torch.rand(sum(map(len, words)), generator=generator)
        kept = iter((draws >= share).tolist())
        return batch.with_texts([" ".join([word for word in part if next(kept)]) for part in words])

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> VotedCandidates:
        """The candidates of `inner`, and what each vote reads of them."""
        whole = self.inner.candidates(items, texts)
        shown = [self.catalog.texts[i] for i in items.tolist()] if texts is None else texts
        read: list[str] = []
        example: list[int] = []
        vote: list[list[int]] = []
        words: list[list[int]] = []
        for b, text in enumerate(shown):
            split = words_of(text)
            parts, part_of = self._parts_of(len(split))
            vote.append([len(read) + part for part in part_of])
            read += [" ".join([split[i] for i in part]) for part in parts]
            example += [b] * len(parts)
            words += parts
        width = max(map(len, words), default=0) or 1
        padded = [part + [PAD] * (width - len(part)) for part in words]
        device = whole.items.device
        rows = torch.tensor(example, dtype=torch.int64, device=device)
        return VotedCandidates(
            whole.items,
            whole.tokens,
            Candidates(whole.items[rows], self.inner.tokenize(read)),
            rows,
            torch.tensor(vote, dtype=torch.int64, device=device).view(len(shown), self.votes),
            torch.tensor(padded, dtype=torch.int64, device=device).view(len(read), width),
        )

    def _parts_of(self, count: int) -> tuple[list[list[int]], list[int]]:
        """The distinct parts that the votes see of a text of `count` words, and which of them each vote sees."""
        if count not in self._parts:
            table = self.seen[torch.arange(count, device=self.seen.device) % PLACES].T.cpu()
            each = [tuple(torch.nonzero(row).flatten().tolist()) for row in table]
            parts = list(dict.fromkeys(each))
            self._parts[count] = [list(part) for part in parts], [parts.index(part) for part in each]
        return self._parts[count]

    def vote_logits(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if not isinstance(candidates, VotedCandidates):
            raise PluginError(
                "a smoothed text was scored without its words",
                field="candidates",
                remedy="make the candidates with this model's own method `candidates`",
            )
        if embeddings is not None:
            change = embeddings - self.inner.embed(candidates)
            embeddings = self.inner.embed(candidates.read) + _moved(candidates, change)
        return self.inner.score(user.select(candidates.example), candidates.read, embeddings)[candidates.vote]


SMOOTHED: dict[Surface, type[DeletionSmoothed]] = {kind.surface: kind for kind in (HistorySmoothed, TextSmoothed)}


def vote(logits: Tensor, sharpness: float) -> Tensor:
    """`[B]`: the logit of the mean probability of `logits [B, votes]`, each sharpened and the whole blunted again."""
    sharp = logits * sharpness
    return (F.logsigmoid(sharp).logsumexp(dim=1) - F.logsigmoid(-sharp).logsumexp(dim=1)) / sharpness


def deal(count: int, votes: int, kept: int) -> Tensor:
    """`[count, votes]` bool: each of `count` things is seen by at most `kept` votes, the same on every machine.

    Dealt like cards: shuffled packs of all votes, one after another, from which every thing takes the next `kept`. So
    the votes see almost equally much of any run of things. Where a hand spans two packs, it may hold a vote twice.
    """
    packs = math.ceil(count * kept / votes)
    draws = Randomness(0, f"smoothing/{votes}/{kept}").numpy().random((packs, votes))
    hands = torch.from_numpy(draws.argsort(axis=1)).flatten()[: count * kept].view(count, kept)
    return torch.zeros(count, votes, dtype=torch.bool).scatter_(1, hands, value=True)


def left_of(histories: Tensor, seen: Tensor) -> tuple[Tensor, Tensor]:
    """What is left of `histories [U, H]` where only `seen [U, K, H]` is kept, moved together with PAD in front,
    `[U, K, W]`, `W` the longest; and the places in the history that it came from, `[U, K, W]` (any place under PAD)."""
    width = max(1, int(seen.sum(dim=2).max())) if seen.numel() else 1
    order = torch.argsort(seen.to(torch.uint8), dim=2, stable=True)[:, :, -width:]
    left = histories.unsqueeze(1).expand_as(seen).masked_fill(~seen, PAD).gather(2, order)
    return left, order


def _moved(candidates: VotedCandidates, change: Tensor) -> Tensor:
    """`[V, L', D]`: the `change [B, L, D]` of the whole text's embeddings, at the same tokens of what the votes read; 0
    at tokens that the whole text has lost by truncation, and at special tokens."""
    whole, read = candidates.tokens.word_of_token, candidates.read.tokens.word_of_token
    if change.shape[1] != whole.shape[1]:
        raise PluginError(
            "embeddings of a smoothed text must be one a token", field="embed", remedy="smooth a model of words"
        )
    width = candidates.words.shape[1]
    nth = read.clamp(min=0, max=width - 1)
    word = candidates.words.gather(1, nth)  # [V, L']: the place of each token's word in the whole text
    own = (read >= 0) & (read < width) & (word >= 0)
    first_read = _first_tokens(read, width).gather(1, nth)
    count = int(candidates.words.max()) + 1 if candidates.words.numel() else 1
    first = _first_tokens(whole, max(count, 1))[candidates.example].gather(1, word.clamp(min=0))
    place = first + torch.arange(read.shape[1], device=read.device) - first_read
    inside = place.clamp(min=0, max=whole.shape[1] - 1)
    known = own & (place == inside) & (whole[candidates.example].gather(1, inside) == word)
    return change[candidates.example.unsqueeze(1), inside] * known.unsqueeze(-1)


def _first_tokens(word_of_token: Tensor, count: int) -> Tensor:
    """`[B, count]`: the first token of each of the first `count` words; the number of tokens where a word has none."""
    rows, length = word_of_token.shape
    places = torch.arange(length, device=word_of_token.device).expand(rows, length)
    other = (word_of_token < 0) | (word_of_token >= count)
    first = torch.full((rows, count + 1), length, dtype=torch.int64, device=word_of_token.device)
    first.scatter_reduce_(1, torch.where(other, count, word_of_token), places, "amin")
    return first[:, :count]
