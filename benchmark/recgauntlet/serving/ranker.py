"""Scores of candidates by their ids and texts, as a service is asked for them."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import NEW_ITEM, PAD
from recgauntlet.serving.export import unknown_user
from recgauntlet.serving.limits import Limits, RequestError, check_count
from recgauntlet.serving.messages import Candidate, Ranked

CHUNK = 512
"""Candidates that are scored at once."""
_PROBED = 64
"""Users that tell whether the model reads who the user is."""


class Ranker:
    """Ranks candidates for a history with a trained model, which must be frozen and in evaluation mode."""

    def __init__(self, model: Recommender, data: TaskData, limits: Limits) -> None:
        self.model = model
        self.limits = limits
        self.catalog = data.catalog
        self.user_count = data.user_count
        self.history_length = data.test.histories.shape[1]
        self.reads_text = "candidate-text" in model.surfaces
        self.place_of = {item: place for place, item in enumerate(data.catalog.ids)}
        self._stranger = unknown_user(data)
        self._reads_users = _reads_users(model, data)

    def rank(
        self, history: Sequence[str], candidates: Sequence[Candidate], user: int | None = None, top: int | None = None
    ) -> list[Ranked]:
        """The candidates, best first; at most `top`.

        Raises
        ------
        RequestError
            Where an item is unknown, something is too long, or the model does not read what is given.
        """
        users = self._users(history, user)
        batch = self._batch(users, candidates)
        parts = torch.split(torch.arange(len(candidates), device=self.model.device), CHUNK)
        scores = torch.cat([score_batch(self.model, batch.select(part)) for part in parts])
        order = torch.argsort(scores, descending=True, stable=True).tolist()
        logits = scores.tolist()
        return [
            Ranked(place=place, candidate=row, item=candidates[row].item, score=logits[row])
            for place, row in enumerate(order[:top], start=1)
        ]

    def place(self, item: str, field: str) -> int:
        """The catalog index of an item."""
        found = self.place_of.get(item)
        if found is None:
            raise RequestError(
                "the item is not in the catalog",
                field=field,
                remedy="send ids of the catalog as the task's source has them; a new listing has a text and no item"
                if self.reads_text
                else "send ids of the catalog as the task's source has them: this model knows no other items",
            )
        return found

    def check_text(self, text: str, field: str) -> None:
        """RequestError where a text is too long."""
        check_count(len(text), self.limits.text, "characters", field)

    def _users(self, history: Sequence[str], user: int | None) -> Users:
        if len(history) > self.history_length:
            raise RequestError(
                f"{len(history):,} items, more than the {self.history_length} that the model was trained with",
                field="history",
                remedy=f"send the newest {self.history_length}",
            )
        places = [self.place(item, f"history.{n}") for n, item in enumerate(history)]
        row = [PAD] * (self.history_length - len(places)) + places
        return Users(self._tensor([self._user(user)]), self._tensor([row]))

    def _user(self, user: int | None) -> int:
        if user is not None and user >= self.user_count:
            raise RequestError(
                f"the training data has users 0 to {self.user_count - 1}",
                field="user",
                remedy="leave the user out where training did not have it",
            )
        if user is None and self._stranger is None and self._reads_users:
            raise RequestError(
                "the model knows users of its training data alone", field="user", remedy="send the index of a user"
            )
        return user if user is not None else self._stranger or 0

    def _batch(self, users: Users, candidates: Sequence[Candidate]) -> Batch:
        check_count(len(candidates), self.limits.candidates, "candidates", "candidates")
        items, texts = [], []
        for n, candidate in enumerate(candidates):
            field = f"candidates.{n}"
            if candidate.item is None and candidate.text is None:
                raise RequestError("neither an item nor a text", field=field, remedy="send an item, a text or both")
            if candidate.text is not None:
                if not self.reads_text:
                    raise RequestError(
                        "this model does not read texts", field=f"{field}.text", remedy="send the item alone"
                    )
                self.check_text(candidate.text, f"{field}.text")
            place = NEW_ITEM if candidate.item is None else self.place(candidate.item, f"{field}.item")
            items.append(place)
            texts.append(self.catalog.texts[place] if candidate.text is None else candidate.text)
        zeros = torch.zeros(len(items), device=self.model.device)
        return Batch(
            users=users,
            rows=zeros.long(),
            items=self._tensor(items),
            labels=zeros,
            example_ids=zeros.long(),
            texts=tuple(texts) if any(candidate.text is not None for candidate in candidates) else None,
        )

    def _tensor(self, values: Sequence[int] | Sequence[Sequence[int]]) -> Tensor:
        return torch.tensor(values, dtype=torch.int64, device=self.model.device)


@torch.no_grad()
def _reads_users(model: Recommender, data: TaskData) -> bool:
    """Whether users with one history and different indices get different scores."""
    count = min(_PROBED, data.user_count)
    ids = torch.linspace(0, data.user_count - 1, count).long()
    history = torch.from_numpy(data.test.histories[:1]).repeat(count, 1)
    items = torch.from_numpy(data.test.clicked[:1]).repeat(count)
    blank = torch.zeros(count)
    batch = Batch(Users(ids, history), torch.arange(count), items, blank, blank.long())
    scores = score_batch(model, batch.to(model.device))
    return not torch.allclose(scores, scores[:1].expand(count), rtol=1e-4, atol=1e-5)
