"""What flows between data, models and attacks: users, candidates and batches of both.

Shapes: `B` candidates, `U` users, `H` history items, `L` tokens, `D` embedding size. A batch holds its users
once and says by `rows` which user each candidate is shown to, so that a model encodes every user once however
many candidates are scored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import torch
from torch import Tensor

from recgauntlet.core.types import NEW_ITEM


@dataclass(frozen=True)
class Users:
    """`U` users and what they did before.

    ids
        `[U]` user indices, int64.
    histories
        `[U, H]` catalog indices of what each user took, int64; newest last, PAD in front.
    """

    ids: Tensor
    histories: Tensor

    def __len__(self) -> int:
        return int(self.ids.shape[0])

    def select(self, rows: Tensor) -> Users:
        """The users at `rows`."""
        return Users(self.ids[rows], self.histories[rows])

    def to(self, device: torch.device) -> Users:
        """The same users on `device`."""
        return Users(self.ids.to(device), self.histories.to(device))


@dataclass(frozen=True)
class Tokens:
    """Tokenized texts.

    ids
        `[B, L]` tokens of the model's own vocabulary, int64.
    mask
        `[B, L]` true where a real token stands.
    word_of_token
        `[B, L]` index of the whitespace-separated word that each token came from; PAD for special and padding tokens.
    """

    ids: Tensor
    mask: Tensor
    word_of_token: Tensor

    def to(self, device: torch.device) -> Tokens:
        """The same tokens on `device`."""
        return Tokens(self.ids.to(device), self.mask.to(device), self.word_of_token.to(device))

    def select(self, rows: Tensor) -> Tokens:
        """The rows `rows`, cut to the longest of them."""
        mask = self.mask[rows]
        width = max(1, int(mask.sum(dim=1).max())) if len(mask) else 1
        return Tokens(self.ids[rows, :width], mask[:, :width], self.word_of_token[rows, :width])


@dataclass(frozen=True)
class Candidates:
    """Items to be scored.

    items
        `[B]` catalog indices, NEW_ITEM (-1) where the id is hidden.
    tokens
        The tokens `[B, L]` of their texts as shown.
    """

    items: Tensor
    tokens: Tokens

    def __len__(self) -> int:
        return int(self.items.shape[0])


@dataclass(frozen=True)
class UserState:
    """Whatever a model needs of `U` encoded users.

    tensors
        Tensors `[U, ...]` of the model's choice.
    """

    tensors: tuple[Tensor, ...]

    def select(self, rows: Tensor) -> UserState:
        """The states at `rows`; these very ones where `rows` are all in order, since states may be large."""
        looks = rows.device.type == "cpu" and self.tensors and not torch.compiler.is_compiling()
        if looks and torch.equal(rows, torch.arange(len(self.tensors[0]))):
            return self
        return UserState(tuple(tensor[rows] for tensor in self.tensors))

    def detach(self) -> UserState:
        """The same state outside the graph."""
        return UserState(tuple(tensor.detach() for tensor in self.tensors))

    def joined(self, *others: Self) -> UserState:
        """These users and then those of `others`."""
        return UserState(tuple(torch.cat(parts) for parts in zip(*(s.tensors for s in (self, *others)), strict=True)))

    def folded(self, size: int) -> UserState:
        """The states of `U / size` groups of users that follow each other, each tensor `[U / size, size, ...]`."""
        return UserState(tuple(tensor.view(-1, size, *tensor.shape[1:]) for tensor in self.tensors))

    def unfolded(self) -> UserState:
        """The states of users one by one, of those that `folded` put into groups."""
        return UserState(tuple(tensor.flatten(0, 1) for tensor in self.tensors))


@dataclass(frozen=True)
class Batch:
    """`B` examples, each a candidate shown to a user.

    users
        The `U` users, each once.
    rows
        `[B]` index in `users` of the user that each candidate is shown to.
    items
        `[B]` catalog indices of the candidates, or NEW_ITEM where the id is hidden; then `texts` has the text.
    labels
        `[B]` floats, 1 clicked, 0 not.
    example_ids
        `[B]` ids that stay with an example through every stage; the key of its randomness.
    texts
        The candidates' texts as shown, or None for the catalog's own.
    delta
        `[B, L, D]` added to the candidates' embeddings, or None.
    """

    users: Users
    rows: Tensor
    items: Tensor
    labels: Tensor
    example_ids: Tensor
    texts: tuple[str, ...] | None = None
    delta: Tensor | None = None

    def __len__(self) -> int:
        return int(self.items.shape[0])

    def select(self, index: Tensor) -> Batch:
        """The examples at `index [K]` (repeats allowed). The users stay the same object, so caches stay valid."""
        picked = index.tolist()
        return replace(
            self,
            rows=self.rows[index],
            items=self.items[index],
            labels=self.labels[index],
            example_ids=self.example_ids[index],
            texts=None if self.texts is None else tuple(self.texts[i] for i in picked),
            delta=None if self.delta is None else self.delta[index],
        )

    def with_texts(self, texts: Sequence[str]) -> Batch:
        """The same examples, the candidates' texts replaced by `texts` (length B)."""
        return replace(self, texts=tuple(texts))

    def joined(self, other: Batch) -> Batch:
        """These examples and then those of `other`; ValueError where one alone has texts, or a delta."""
        if (self.texts is None) != (other.texts is None) or (self.delta is None) != (other.delta is None):
            raise ValueError("only batches with the same parts can be joined")
        users, rows = self.users, other.rows
        if other.users is not self.users:
            ids, histories = ([self.users.ids, other.users.ids], [self.users.histories, other.users.histories])
            users, rows = Users(torch.cat(ids), torch.cat(histories)), rows + len(self.users)
        return Batch(
            users=users,
            rows=torch.cat([self.rows, rows]),
            items=torch.cat([self.items, other.items]),
            labels=torch.cat([self.labels, other.labels]),
            example_ids=torch.cat([self.example_ids, other.example_ids]),
            texts=None if self.texts is None or other.texts is None else self.texts + other.texts,
            delta=None if self.delta is None or other.delta is None else torch.cat([self.delta, other.delta]),
        )

    def as_new_listings(self, texts: Sequence[str]) -> Batch:
        """The same examples, the candidates' item ids hidden (NEW_ITEM): `texts` (length B) are all that is known."""
        return replace(self, items=torch.full_like(self.items, NEW_ITEM), texts=tuple(texts))

    def with_delta(self, delta: Tensor | None) -> Batch:
        """The same examples with `delta [B, L, D]` added to the candidates' embeddings."""
        return replace(self, delta=delta)

    def with_histories(self, histories: Tensor) -> Batch:
        """The same examples, each with a user of its own whose history is the row of `histories [B, H]`."""
        users = Users(self.users.ids[self.rows], histories)
        return replace(self, users=users, rows=torch.arange(len(self), device=self.rows.device))

    def histories(self) -> Tensor:
        """The history each example is scored with, `[B, H]`."""
        return self.users.histories[self.rows]

    def to(self, device: torch.device) -> Batch:
        """The same batch on `device`."""
        return replace(
            self,
            users=self.users.to(device),
            rows=self.rows.to(device),
            items=self.items.to(device),
            labels=self.labels.to(device),
            example_ids=self.example_ids.to(device),
            delta=None if self.delta is None else self.delta.to(device),
        )
