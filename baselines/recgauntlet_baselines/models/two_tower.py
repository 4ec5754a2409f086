"""A two-tower model on a pretrained sentence encoder, whose frozen layers read the catalog once (Wu et al. 2021)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import OneOf, SearchSpace
from recgauntlet.core.types import Scalar
from recgauntlet.data.encoder import model_path
from recgauntlet_baselines.models._layers import AdditiveAttention, TextModel, WordTokenizer, closed, in_length_groups
from recgauntlet_baselines.models._pretrained import files_of, load, special_ids, with_blanks

READ_AT_ONCE = 512


@dataclass(frozen=True)
class Kept:
    """A result over the whole catalog and what it was computed from; remade when that differs."""

    made_from: tuple[object, ...]
    values: Tensor


class TwoTower(TextModel):
    """PLM-NR (SIGIR 2021): a pretrained encoder makes item vectors, attention over a history makes the user vector.

    With `h` the encoder's last hidden states of an item's text and `att` additive attention:

        n = W att(h) + b;  u = att(n_1 ... n_H);  score = exp(s) * <u, n> + offset

    Only the top `tuned_layers` layers learn, as in the paper, which tunes the last two of twelve. So what the layers
    below say of a catalog text never changes: it is computed once and kept outside the weights, and a training step
    pays for the layers that learn, once an item however often it stands. In evaluation item vectors are kept too. A
    candidate whose text or embeddings were changed runs through all layers.

    Deviations from the paper: the encoder is MiniLM, six layers trained for sentence similarity, and the attention over
    its tokens starts as their mean, which is what it was trained for; the user encoder is the plain attention of NAML;
    a candidate is scored by itself (binary cross-entropy), because the decision boundary must be at 0, with a learned
    scale `exp(s)` and offset of the dot product.

    Parameters
    ----------
    checkpoint
        A hub name or a local path of an encoder of BERT's kind; empty: MiniLM, which ships with this package.
    layers
        How many of the encoder's layers are kept, from the bottom; 0 keeps all.
    tuned_layers
        How many of the kept layers, from the top, learn; with 0 the attentions and the dense layer alone.
    item_size
        Size of an item's and a user's vector.
    attention_size
        Hidden size of both additive attentions.
    history_items
        How many of the newest items are read.
    """

    citation = bibtex("wu2021empowering", "wang2020minilm")
    search_space: ClassVar[SearchSpace] = {
        "tuned_layers": OneOf((0, 1, 2)),
        "item_size": OneOf((64, 128, 256)),
        "history_items": OneOf((20, 50)),
    }
    recipe = TrainingRecipe(epochs=3, batch_size=500, learning_rate=1e-3, weight_decay=0.01, warmup=0.1, patience=2)
    """Large batches: most of a catalog's items stand in any, and each is encoded once."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        checkpoint: str = "",
        layers: int = 0,
        tuned_layers: int = 1,
        item_size: int = 128,
        attention_size: int = 48,
        history_items: int = 50,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.history_items = history_items
        tokenizer, self.encoder = load(checkpoint or str(model_path()), layers)
        self._first, self._last, unknown, pad = special_ids(tokenizer)
        self._tokenize = WordTokenizer(
            with_blanks(tokenizer),
            length=token_length,
            unknown=unknown,
            pad=pad,
        )
        stack = self._layers()
        if not 0 <= tuned_layers <= len(stack):
            raise PluginError(
                f"tuned_layers={tuned_layers} of {len(stack)} layers cannot learn",
                field="tuned_layers",
                remedy=f"choose a number from 0 to {len(stack)}",
            )
        self._frozen = len(stack) - tuned_layers
        self.encoder.requires_grad_(False)
        stack[self._frozen :].requires_grad_(True)
        width = int(self.encoder.config.hidden_size)
        self.word_pool = AdditiveAttention(width, attention_size)
        nn.init.zeros_(self.word_pool.query.weight)  # the mean over the tokens
        self.dense = nn.Linear(width, item_size)
        self.history_pool = AdditiveAttention(item_size, attention_size)
        self.log_scale = nn.Parameter(-0.5 * torch.log(torch.tensor(float(item_size))))
        self.offset = nn.Parameter(torch.zeros(()))
        self._read: Kept | None = None
        self._items: Kept | None = None
        self._require_layer_by_layer(checkpoint)

    @classmethod
    def fetch(cls, options: Mapping[str, Scalar], *, offline: bool = False) -> None:
        if options["checkpoint"]:
            files_of(str(options["checkpoint"]), offline=offline)

    def train(self, mode: bool = True) -> Self:
        """What is frozen draws no dropout."""
        super().train(mode)
        self.encoder.embeddings.eval()
        self._layers()[: self._frozen].eval()
        return self

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        if embeddings is None and self._as_in_catalog(candidates):
            items, place = torch.unique(candidates.items, return_inverse=True)
            vectors = self._encode_items(items)[place]
        else:
            embedded = self.embed(candidates) if embeddings is None else embeddings
            vectors = in_length_groups(self._encode_texts, embedded, candidates.tokens.mask)
        return (user.tensors[0] * vectors).sum(dim=1) * self.log_scale.exp() + self.offset

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, item_size]` item vectors; every item is encoded once however often it stands."""
        histories = users.histories
        read = histories[:, -self.history_items :]
        items, place = torch.unique(read.clamp(min=0), return_inverse=True)
        vectors = self._encode_items(items)[place] * (read >= 0).unsqueeze(-1)
        return F.pad(vectors, (0, 0, histories.shape[1] - read.shape[1], 0))

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        items = self.embed_history(users) if embeddings is None else embeddings
        mask = (users.histories >= 0)[:, -self.history_items :]
        return UserState((self.history_pool(items[:, -self.history_items :], mask),))

    def _encode_texts(self, embedded: Tensor, mask: Tensor) -> Tensor:
        """`[B, item_size]` of token embeddings `[B, L, D]`: through all layers."""
        hidden, seen = self._read_frozen(embedded, mask)
        return self._finish(hidden, seen)

    def _encode_items(self, items: Tensor) -> Tensor:
        """`[B, item_size]` of catalog items, without a graph from what is kept where that still holds."""
        learns = torch.is_grad_enabled() and any(p.requires_grad for p in self.parameters())
        if self.training or learns:
            return self._finish_items(items)
        made_from = self._signature(self)
        if self._items is None or self._items.made_from != made_from:
            every = torch.split(torch.arange(len(self.catalog), device=items.device), READ_AT_ONCE)
            self._items = Kept(made_from, torch.cat([self._finish_items(rows) for rows in every]).detach())
        return self._items.values[items]

    def _finish_items(self, items: Tensor) -> Tensor:
        """`[B, item_size]`: the learning layers on what the frozen ones said of each item."""
        lengths = self.catalog_tokens().mask.sum(dim=1) + 2
        starts = lengths.cumsum(dim=0) - lengths
        place = torch.arange(int(lengths[items].max()), device=items.device)
        seen = place < lengths[items].unsqueeze(1)
        hidden = self._catalog_hidden()[(starts[items].unsqueeze(1) + place) * seen]
        return in_length_groups(self._finish, hidden, seen)

    @torch.no_grad()
    def _catalog_hidden(self) -> Tensor:
        """`[T, D]`: what the frozen layers give for all tokens of the catalog, text after text, pads left out."""
        made_from = self._signature(self.encoder.embeddings, *self._layers()[: self._frozen])
        if self._read is None or self._read.made_from != made_from:
            tokens = self.catalog_tokens()
            order = torch.argsort(tokens.mask.sum(dim=1), stable=True)
            texts: list[Tensor] = []
            for rows in torch.split(order, READ_AT_ONCE):
                part = tokens.select(rows)
                hidden, seen = self._read_frozen(self.word_vectors(part.ids), part.mask)
                texts += torch.split(hidden[seen], seen.sum(dim=1).tolist())
            self._read = Kept(made_from, torch.cat([texts[i] for i in torch.argsort(order).tolist()]))
        return self._read.values

    def _read_frozen(self, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Hidden states and mask `[B, L + 2]` after the frozen layers: a first and a last token around each text."""
        first, last = self.word_vectors(torch.tensor([self._first, self._last], device=mask.device))
        words, seen = closed(embedded, mask, last)
        words, seen = torch.cat([first.expand(len(words), 1, -1), words], dim=1), F.pad(seen, (1, 0), value=True)
        hidden = self.encoder.embeddings(inputs_embeds=words)
        return self._through(self._layers()[: self._frozen], hidden, seen), seen

    def _finish(self, hidden: Tensor, seen: Tensor) -> Tensor:
        vectors: Tensor = self.dense(self.word_pool(self._through(self._layers()[self._frozen :], hidden, seen), seen))
        return vectors

    @staticmethod
    def _through(layers: Any, hidden: Tensor, seen: Tensor) -> Tensor:
        bias = torch.zeros_like(seen, dtype=hidden.dtype).masked_fill(~seen, torch.finfo(hidden.dtype).min)
        for layer in layers:
            given = layer(hidden, attention_mask=bias[:, None, None, :])
            hidden = given[0] if isinstance(given, tuple) else given  # transformers 4 wraps it
        return hidden

    def _layers(self) -> nn.ModuleList:
        stack = getattr(getattr(self.encoder, "encoder", None), "layer", None)
        if not isinstance(stack, nn.ModuleList):
            raise PluginError(
                f"a {type(self.encoder).__name__} has no stack of layers like BERT's",
                field="checkpoint",
                remedy="choose an encoder of BERT's kind (BERT, RoBERTa, ELECTRA, MiniLM, BGE, E5, GTE)",
            )
        return stack

    def word_vectors(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.encoder.get_input_embeddings()(ids)
        return embedded

    def _as_in_catalog(self, candidates: Candidates) -> bool:
        """Whether every candidate has its item's own text."""
        if bool((candidates.items < 0).any()):
            return False  # new listings
        own, shown = self.catalog_tokens(), candidates.tokens
        width = min(own.ids.shape[1], shown.ids.shape[1])
        rows, mask = own.mask[candidates.items], shown.mask[:, :width]
        same = (own.ids[candidates.items, :width] == shown.ids[:, :width]) | ~mask
        return bool((rows.sum(dim=1) == shown.mask.sum(dim=1)).all() and same.all())

    def _signature(self, *modules: nn.Module) -> tuple[object, ...]:
        """Differs where weights do: their sums, for a defense may write to them in ways that torch does not count."""
        weights = [p for module in modules for p in module.parameters()]
        sums = torch.stack([p.detach().sum() for p in weights]).tolist()
        return (self.device, weights[0].dtype, *sums)

    @torch.no_grad()
    def _require_layer_by_layer(self, checkpoint: str) -> None:
        """PluginError where the layers, run one by one, do not give what the encoder gives."""
        self.encoder.eval()
        ids = torch.tensor([[self._first, self._last, self._last]])
        seen = torch.ones_like(ids, dtype=torch.bool)
        whole = self.encoder(input_ids=ids, attention_mask=seen.long()).last_hidden_state
        try:
            hidden = self._through(self._layers(), self.encoder.embeddings(inputs_embeds=self.word_vectors(ids)), seen)
            alike = torch.allclose(hidden, whole, rtol=1e-3, atol=1e-3)
        except TypeError:
            alike = False
        if not alike:
            raise PluginError(
                f"the layers of a {type(self.encoder).__name__} cannot be run one by one",
                where=checkpoint,
                field="checkpoint",
                remedy="choose an encoder of BERT's kind (BERT, RoBERTa, ELECTRA, MiniLM, BGE, E5, GTE)",
            )
