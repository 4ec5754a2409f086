"""Median of users: the history is dealt into groups, each is a user of its own, and the median of their logits
counts."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses._wrapper import Wrapped


@dataclass(kw_only=True, eq=False)
class MedianUser(Defense):
    """`M(x) = median over groups j with items of M(history of group j, candidate)`.

    The group of an item depends on the item alone (a hash), as in deep partition aggregation (Levine and Feizi 2021):
    to insert or delete an item touches one group, to replace one touches two, whatever else is in it. While fewer than
    half of the groups with items are touched, the logit stays between two logits of groups that are not. Order within a
    group is kept. Of an even number of groups the mean of the middle two counts.

    Deviations from the paper: it deals training examples to models of their own; here one history is dealt to one
    model, the median of logits stands in place of a vote, and nothing is certified: an attack may still move the groups
    that it reaches. Scoring costs `groups` times that of the model inside.

    A model that does not read histories is served as it is.

    Parameters
    ----------
    groups
        How many groups.
    grouped_training
        Whether training, too, shows each user by one group of the history (dealt anew at each step) instead of the
        whole.
    """

    citation = bibtex("levine2021deep")
    search_space: ClassVar[SearchSpace] = {"groups": Between(2, 9), "grouped_training": OneOf((False, True))}

    groups: int = 3
    grouped_training: bool = False

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        if self.grouped_training and "history" in model.surfaces:
            batch = replace(batch, users=self.one_group(batch.users, context))
        return super().training_loss(model, batch, context)

    def one_group(self, users: Users, context: TrainingContext) -> Users:
        """Each user with one of the groups of the history that have items."""
        generator = context.rng.torch(context.step)
        salt = int(torch.randint(2**20, (1,), generator=generator))
        group = group_of(users.histories, self.groups, salt)
        newest = (users.histories != PAD).sum(dim=1)
        width = users.histories.shape[1]
        chance = torch.rand(len(users), generator=generator).to(users.histories.device)
        # the group of an item that is drawn: a group with more items is seen more often
        drawn = (width - 1 - (chance * newest).long()).clamp(min=0)
        chosen = group.gather(1, drawn[:, None])
        order, kept = packed(group == chosen)
        return Users(users.ids, users.histories.gather(1, order).masked_fill(~kept, PAD))

    def wrap(self, model: Recommender) -> Recommender:
        return MedianOfGroups(model, self.groups) if "history" in model.surfaces else model


class MedianOfGroups(Wrapped):
    """`inner`, applied to each group of a history. A state is `inner`'s with a second dimension, the groups, and which
    groups have items, `[U, groups]`."""

    def __init__(self, inner: Recommender, groups: int) -> None:
        super().__init__(inner)
        self.groups = groups

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        embedded = self.inner.embed_history(users) if embeddings is None else embeddings
        group = group_of(users.histories, self.groups)
        order, kept = packed(torch.stack([group == j for j in range(self.groups)], dim=1).flatten(0, 1))
        width = max(1, int(kept.sum(dim=1).max())) if len(kept) else 1
        order, kept = order[:, -width:], kept[:, -width:]
        histories = users.histories.repeat_interleave(self.groups, dim=0).gather(1, order).masked_fill(~kept, PAD)
        row = torch.arange(len(users), device=order.device).repeat_interleave(self.groups)
        parts = embedded[row[:, None], order] * kept.unsqueeze(-1)
        state = self.inner.encode_user(Users(users.ids.repeat_interleave(self.groups), histories), parts)
        full = kept.any(dim=1).view(len(users), self.groups)
        full = full | ~full.any(dim=1, keepdim=True)  # for a user without items, all groups agree
        return UserState((*(t.view(len(users), self.groups, *t.shape[1:]) for t in state.tensors), full))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        *states, full = user.tensors
        row = torch.arange(len(candidates), device=full.device).repeat_interleave(self.groups)
        tokens = candidates.tokens
        again = Candidates(candidates.items[row], Tokens(tokens.ids[row], tokens.mask[row], tokens.word_of_token[row]))
        own = UserState(tuple(tensor.flatten(0, 1) for tensor in states))
        logits = self.inner.score(own, again, None if embeddings is None else embeddings[row])
        return masked_median(logits.view(len(candidates), self.groups), full)


def group_of(histories: Tensor, groups: int, salt: int = 0) -> Tensor:
    """`[U, H]`: the group of each item of `histories [U, H]`, -1 for PAD: a multiplicative hash."""
    mixed = ((histories + 1 + salt) * 2654435761) % 2**32 // 2**16
    return (mixed % groups).masked_fill(histories == PAD, -1)


def packed(member: Tensor) -> tuple[Tensor, Tensor]:
    """For `member [N, H]` the places in an order that has the members last, their order kept; and which of the ordered
    places are members, both `[N, H]`."""
    order = torch.argsort(member.byte(), dim=1, stable=True)
    return order, member.gather(1, order)


def masked_median(values: Tensor, mask: Tensor) -> Tensor:
    """`[B]`: the median of each row of `values [B, G]` where `mask [B, G]` is true, at least once a row."""
    ordered = values.masked_fill(~mask, torch.inf).sort(dim=1).values
    count = mask.sum(dim=1, keepdim=True)
    middle = torch.cat([(count - 1) // 2, count // 2], dim=1)
    return ordered.gather(1, middle).mean(dim=1)
