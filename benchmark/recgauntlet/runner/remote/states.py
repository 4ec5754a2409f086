"""What the evaluation holds of users and candidates that live in the process of a model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState


class Encoding:
    """Users that the other process encodes once it is asked for their scores.

    unsent
        The users and what replaces their embeddings, until they are sent.
    differentiable
        Whether a gradient with respect to `embeddings` may be asked for.
    gradient
        What was answered of it, until autograd takes it.
    """

    def __init__(self, number: int, users: Users, embeddings: Tensor | None, *, differentiable: bool) -> None:
        self.number, self.count = number, len(users)
        self.unsent: tuple[Users, Tensor | None] | None = (users, embeddings)
        self.shape = None if embeddings is None else embeddings.shape
        self.differentiable = differentiable
        self.gradient: Tensor | None = None


@dataclass(frozen=True)
class RemoteState(UserState):
    """Rows of encodings, one after the other.

    rows
        `[U]` or, folded, `[U, size]`; None for all as they stand.
    link
        A scalar by which autograd leads from a score to the embeddings of the histories; None where there is no graph.
    """

    encodings: tuple[Encoding, ...] = ()
    rows: Tensor | None = None
    link: Tensor | None = None

    def select(self, rows: Tensor) -> RemoteState:
        return replace(self, rows=rows if self.rows is None else self.rows[rows])

    def detach(self) -> RemoteState:
        return replace(self, link=None)

    def joined(self, *others: Self) -> RemoteState:  # pyright: ignore[reportIncompatibleMethodOverride]  # only its own
        states = (self, *others)
        if not others:
            return self
        rows, start = [], 0
        for state in states:
            count = sum(encoding.count for encoding in state.encodings)
            rows.append(start + (torch.arange(count) if state.rows is None else state.rows.cpu()))
            start += count
        links = [state.link for state in states if state.link is not None]
        encodings = tuple(encoding for state in states for encoding in state.encodings)
        return RemoteState((), encodings, torch.cat(rows), torch.stack(links).sum() if links else None)

    def folded(self, size: int) -> RemoteState:
        rows = torch.arange(sum(e.count for e in self.encodings)) if self.rows is None else self.rows
        return replace(self, rows=rows.view(-1, size))

    def unfolded(self) -> RemoteState:
        return self if self.rows is None else replace(self, rows=self.rows.flatten(0, 1))


class RemoteCandidates(Candidates):
    """Candidates that the other process makes; their tokens are fetched where they are looked at."""

    number: int
    texts: Sequence[str] | None
    is_sent: bool
    known: Tokens | None

    def __init__(
        self, number: int, items: Tensor, texts: Sequence[str] | None, fetch: Callable[[RemoteCandidates], Tokens]
    ) -> None:
        self.__dict__.update(items=items, number=number, texts=texts, is_sent=False, known=None, _fetch=fetch)

    @property
    def tokens(self) -> Tokens:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The tokens `[B, L]` of their texts as shown."""
        if self.known is None:
            self.note(self.__dict__["_fetch"](self))
        assert self.known is not None
        return self.known

    def note(self, tokens: Tokens) -> None:
        """Keep the tokens, which are known now."""
        self.__dict__["known"] = tokens

    def mark_sent(self) -> None:
        """The other process has them."""
        self.__dict__["is_sent"] = True


class Encode(torch.autograd.Function):
    """Leads the gradient that was answered of an encoding to the embeddings it was made from."""

    @staticmethod
    def forward(ctx: Any, encoding: Encoding, embeddings: Tensor) -> Tensor:
        ctx.encoding, ctx.like = encoding, embeddings.new_empty(0)
        return embeddings.new_zeros(())

    @staticmethod
    def backward(ctx: Any, *_: Tensor) -> tuple[None, Tensor]:
        encoding: Encoding = ctx.encoding
        gradient, encoding.gradient = encoding.gradient, None
        assert encoding.shape is not None
        return None, ctx.like.new_zeros(encoding.shape) if gradient is None else gradient
