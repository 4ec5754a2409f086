"""A trained model as one function of tensors, for exporters that follow tensors alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import torch
from pydantic import BaseModel, ConfigDict
from torch import Tensor, nn

from recgauntlet.core.batch import Candidates, Tokens, Users
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import PAD

InputName = Literal["history", "user", "items", "token_ids", "token_mask"]
INPUTS: tuple[InputName, ...] = ("history", "user", "items", "token_ids", "token_mask")
CANDIDATES = "candidates"
"""The name of the one dimension of a free size."""
CHUNK = 256


class TensorSpec(BaseModel):
    """An input or output of an exported graph."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str
    dtype: str
    shape: tuple[int | str, ...]
    """A text is the name of a dimension of a free size."""
    meaning: str


class ScoringGraph(nn.Module):
    """Logits `[C]` of the candidates of one user, by the contract's `encode_user` and `score`.

    What does not depend on the request is computed here, once: the vector of every catalog item in a history, and the
    embedding of every candidate, where the model reads no candidate texts. Texts come as tokens, which the model's
    `tokenize` makes.
    """

    history_vectors: Tensor
    candidate_vectors: Tensor

    def __init__(self, model: Recommender, history_length: int) -> None:
        super().__init__()
        self.model = model.eval().requires_grad_(False)
        self.history_length = history_length
        self.reads_text = "candidate-text" in model.surfaces
        items = torch.arange(len(model.catalog), device=model.device)
        with torch.no_grad():
            vectors = [_history_vectors(model, part) for part in torch.split(items, CHUNK)]
            self.register_buffer("history_vectors", torch.cat(vectors), persistent=True)
            if not self.reads_text:
                embedded = [model.embed(model.candidates(part)) for part in torch.split(items, CHUNK)]
                self.register_buffer("candidate_vectors", torch.cat(embedded), persistent=True)

    def forward(
        self,
        history: Tensor,
        user: Tensor | None = None,
        items: Tensor | None = None,
        token_ids: Tensor | None = None,
        token_mask: Tensor | None = None,
    ) -> Tensor:
        """`[C]` of `history [1, H]`, `user [1]`, `items [C]`, `token_ids` and `token_mask [C, L]`; what the model does
        not read may be left out."""
        given = items if token_ids is None else token_ids[:, 0]
        if given is None:
            raise ValueError("give items, or token_ids and token_mask")
        first = torch.zeros_like(given)  # [C]: all are shown to user 0
        items = first if items is None else items
        ids = first.unsqueeze(1) if token_ids is None else token_ids
        mask = torch.ones_like(ids, dtype=torch.bool) if token_mask is None else token_mask
        users = Users(torch.zeros_like(history[:, 0]) if user is None else user, history)
        there = (history != PAD).unsqueeze(-1)
        state = self.model.encode_user(users, self.history_vectors[history.clamp(min=0)] * there)
        embedded = None if self.reads_text else self.candidate_vectors[items]
        candidates = Candidates(items, Tokens(ids, mask, torch.zeros_like(ids)))
        return self.model.score(state.select(first), candidates, embedded)

    def example(self, count: int = 3) -> dict[InputName, Tensor]:
        """Inputs for `count` candidates that an exporter follows."""
        length = self.model.token_length
        tensors: dict[InputName, Tensor] = {
            "history": torch.zeros(1, self.history_length, dtype=torch.int64),
            "user": torch.zeros(1, dtype=torch.int64),
            "items": torch.zeros(count, dtype=torch.int64),
        }
        if self.reads_text:
            tensors["token_ids"] = torch.zeros(count, length, dtype=torch.int64)
            tensors["token_mask"] = torch.ones(count, length, dtype=torch.bool)
        return tensors

    def specs(self, names: Sequence[InputName], user_count: int, unknown: int | None) -> tuple[TensorSpec, ...]:
        """What the inputs `names` are; `unknown` is a user without training pairs, None where there is none."""
        stranger = f"; {unknown} for a user that training did not have" if unknown is not None else ""
        length, count = self.model.token_length, len(self.model.catalog)
        meanings = {
            "history": f"catalog indices from 0 to {count - 1} of what the user took, the newest last; {PAD} in front "
            "where there are fewer",
            "user": f"index of the user in the training data, from 0 to {user_count - 1}{stranger}",
            "items": f"catalog indices of the candidates, from 0 to {count - 1}",
            "token_ids": "tokens of the candidates' texts by the served model's tokenize (a defense that repairs "
            f"texts does it there), at most {length}; 0 behind the last",
            "token_mask": "true where a token stands",
        }
        shapes: Mapping[str, tuple[int | str, ...]] = {
            "history": (1, self.history_length),
            "user": (1,),
            "items": (CANDIDATES,),
            "token_ids": (CANDIDATES, length),
            "token_mask": (CANDIDATES, length),
        }
        return tuple(
            TensorSpec(
                name=name, dtype="bool" if name == "token_mask" else "int64", shape=shapes[name], meaning=meanings[name]
            )
            for name in names
        )


def graph_inputs(
    model: Recommender, names: Sequence[InputName], user: Tensor, history: Tensor, items: Tensor
) -> dict[InputName, Tensor]:
    """The inputs `names` for catalog items `items [C]` shown to `user [1]` with `history [1, H]`."""
    tensors: dict[InputName, Tensor] = {"history": history, "user": user, "items": items}
    if "token_ids" in names or "token_mask" in names:
        tokens = model.candidates(items).tokens
        wide = items.new_zeros(len(items), model.token_length)
        tensors["token_ids"], tensors["token_mask"] = wide.clone(), wide.bool()
        width = tokens.ids.shape[1]
        tensors["token_ids"][:, :width] = tokens.ids * tokens.mask
        tensors["token_mask"][:, :width] = tokens.mask
    return {name: tensors[name] for name in names}


def _history_vectors(model: Recommender, items: Tensor) -> Tensor:
    """`[K, D]` of `items [K]`, each in a history of its own."""
    users = Users(torch.zeros_like(items), items.unsqueeze(1))
    return model.embed_history(users)[:, 0]
