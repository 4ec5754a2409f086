"""A causal language model as a ranker: it reads the history, then the candidate, whose tokens give the logit."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._layers import TextModel, WordTokenizer, closed, in_length_groups
from recgauntlet_baselines.models._pretrained import load_encoder, word_pieces
from recgauntlet_baselines.models._vocabulary import PAD_ID, UNKNOWN_ID, CompactPieces, start_vectors


class GPTRanker(TextModel):
    """`| oldest item | ... | newest item | candidate |`, where `|` is a separator, read by a causal language model.

    A token of a causal model sees what stands before it alone, so what the model makes of a history does not depend on
    the candidate: the user's state is the keys and values of all layers, computed once however often the candidate is
    attacked, and read through them. With `h` the mean of the last hidden states of the candidate's tokens and of the
    closing separator, `score = <w, h> + b`. A candidate begins at the same position whatever the length of the history.

    It is the simplest of the rankers that prompt a language model with a history (as in Liu et al. 2023): texts and
    separators without words of instruction, trained on clicks with a logit of its own instead of a yes or no token.

    By default a small model of GPT-2's architecture whose token vectors start from MiniLM's, because no pretrained
    causal model can be had offline. Deviation from GPT-2: its vocabulary is the word pieces that the catalog uses.

    Parameters
    ----------
    checkpoint
        A hub name or a local path of a causal language model (safetensors), read with its own tokenizer. `layers`,
        `width`, `heads` and `dropout` are then its own.
    layers, width, heads
        Of the default model; `width` is also the size of its word vectors.
    dropout
        Of the default model: on embeddings and on what each half of a layer adds, not on attention weights.
    history_items, history_tokens
        How many of the newest items are read, and how many tokens of each.
    """

    citation = bibtex("radford2019language", "liu2023chatgpt")
    search_space: ClassVar[SearchSpace] = {
        "history_items": OneOf((5, 10, 20)),
        "layers": OneOf((1, 2, 3)),
        "dropout": Between(0.0, 0.3),
    }
    recipe = TrainingRecipe(epochs=3, batch_size=128, learning_rate=3e-3, weight_decay=0.01, warmup=0.1, patience=2)

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        checkpoint: str = "",
        layers: int = 2,
        width: int = 128,
        heads: int = 4,
        dropout: float = 0.1,
        history_items: int = 10,
        history_tokens: int = 10,
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.history_items = history_items
        self.history_tokens = history_tokens
        self._room = 1 + history_items * (history_tokens + 1)
        positions = self._room + token_length + 1
        if checkpoint:
            self.reader, pieces_of, unknown, pad, self._separator = _pretrained(checkpoint)
        else:
            pieces_of = CompactPieces(catalog.texts)
            unknown, pad = UNKNOWN_ID, PAD_ID
            self.reader, self._separator = _small(pieces_of, positions, layers, width, heads, dropout)
        limit = int(getattr(self.reader.config, "max_position_embeddings", positions))
        if positions > limit:
            raise PluginError(
                f"history_items={history_items} of {history_tokens} tokens and a candidate need {positions} positions",
                field="history_items",
                remedy=f"read less: the model has {limit}",
            )
        self._tokenize = WordTokenizer(pieces_of, length=token_length, unknown=unknown, pad=pad)
        self.head = nn.Linear(int(self.reader.config.hidden_size), 1)
        nn.init.zeros_(self.head.bias)
        nn.init.normal_(self.head.weight, std=0.02)
        self._require_causal(checkpoint)

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, T * D]`: the word vectors of each item's first `T = history_tokens` tokens, padding zero."""
        ids, mask = self.history_tokens_of(users.histories, self.history_tokens)
        embedded = self.word_vectors(ids) * mask.unsqueeze(-1)
        return F.pad(embedded, (0, 0, 0, self.history_tokens - ids.shape[2])).flatten(2)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """The mask `[U, P]` of the history's tokens, real ones first, and the keys and values of all layers in turn,
        `[U, 2 * layers, heads, P, D / heads]`; `P` is the same for all users, so that states can be joined."""
        words, mask = self._sequence(users, embeddings)
        kept = in_length_groups(self._keys_and_values, words, mask)
        return UserState((F.pad(mask, (0, self._room - mask.shape[1])), kept))

    def _keys_and_values(self, words: Tensor, mask: Tensor) -> Tensor:
        start = self._room - mask.sum(dim=1, keepdim=True)  # so that every candidate begins at the same place
        cache = self._read(words, mask, start).past_key_values
        kept = torch.stack([part for layer in cache for part in layer[:2]], dim=1)
        return F.pad(kept, (0, 0, 0, self._room - mask.shape[1]))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        embedded = self.embed(candidates) if embeddings is None else embeddings
        words, mask = closed(embedded, candidates.tokens.mask, self._separator_vector())
        seen = user.tensors[0]
        width = int(seen.sum(dim=1).max())
        past = _Past(user.tensors[1][:, :, :, :width], seen[:, :width])
        hidden = self._read(words, mask, torch.full_like(mask[:, :1], self._room, dtype=torch.long), past)
        weight = mask / mask.sum(dim=1, keepdim=True)
        read = (hidden.last_hidden_state * weight.to(hidden.last_hidden_state).unsqueeze(-1)).sum(dim=1)
        logits: Tensor = self.head(read).squeeze(-1)
        return logits

    def _read(self, words: Tensor, mask: Tensor, start: Tensor, past: _Past | None = None) -> Any:
        """The model's answer to `words [B, L, D]` after `past`; the places of real tokens are counted without gaps from
        `start [B, 1]`."""
        seen = mask if past is None else torch.cat([past.mask, mask], dim=1)
        place = start + mask.long().cumsum(dim=1) - 1
        return self.reader(
            inputs_embeds=words,
            attention_mask=seen.long(),
            position_ids=place.clamp(min=0),
            past_key_values=None if past is None else past.cache(),
            use_cache=True,
        )

    def _sequence(self, users: Users, embeddings: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vectors `[U, P, D]` and mask of a separator and the newest items, oldest first, each closed by a
        separator."""
        recent = users.histories[:, -self.history_items :]
        ids, mask = self.history_tokens_of(recent, self.history_tokens)
        count, items, tokens = ids.shape
        if embeddings is None:
            embedded = self.word_vectors(ids)
        else:
            embedded = embeddings[:, -items:].reshape(count, items, self.history_tokens, -1)[:, :, :tokens]
        separator = self._separator_vector()
        embedded, ended = closed(embedded.flatten(0, 1), mask.flatten(0, 1), separator)
        ended = ended.view(count, items, -1) & (recent >= 0).unsqueeze(-1)
        words = torch.cat([separator.expand(count, 1, -1), embedded.reshape(count, -1, len(separator))], dim=1)
        seen = F.pad(ended.flatten(1), (1, 0), value=True)
        order = torch.argsort((~seen).long(), dim=1, stable=True)[:, : int(seen.sum(dim=1).max())]
        return words.gather(1, order.unsqueeze(-1).expand(-1, -1, words.shape[2])), seen.gather(1, order)

    def _separator_vector(self) -> Tensor:
        return self.word_vectors(torch.tensor(self._separator, device=self.device))

    def word_vectors(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.reader.get_input_embeddings()(ids)
        return embedded

    @torch.no_grad()
    def _require_causal(self, checkpoint: str) -> None:
        """PluginError where later tokens change what was read before, or the cache changes what is read."""
        self.reader.eval()
        words = self.word_vectors(torch.tensor([[self._separator, 0, 1, self._separator]]))
        mask = torch.ones(words.shape[:2], dtype=torch.bool)
        try:
            begin = torch.zeros(1, 1, dtype=torch.long)
            whole = self._read(words, mask, begin).last_hidden_state
            first = self._read(words[:, :2], mask[:, :2], begin)
            kept = torch.stack([part for layer in first.past_key_values for part in layer[:2]], dim=1)
            past = _Past(kept, mask[:, :2])
            later = self._read(words[:, 2:], mask[:, 2:], begin + 2, past).last_hidden_state
            alike = torch.allclose(torch.cat([first.last_hidden_state, later], dim=1), whole, rtol=1e-3, atol=1e-3)
        except (AttributeError, TypeError):
            alike = False
        if not alike:
            raise PluginError(
                f"a {type(self.reader).__name__} does not read from left to right through a cache",
                where=checkpoint,
                field="checkpoint",
                remedy="choose a causal language model (GPT-2, Llama, Qwen, SmolLM)",
            )


@dataclass(frozen=True)
class _Past:
    """Keys and values of what was read before, alternating layer by layer, `[B, 2 * layers, heads, P, D / heads]`, and
    its mask `[B, P]`."""

    kept: Tensor
    mask: Tensor

    def cache(self) -> Any:
        """As transformers wants it; a new one each time, for reading adds to it."""
        from transformers import DynamicCache

        cache = DynamicCache()
        for layer in range(self.kept.shape[1] // 2):
            cache.update(self.kept[:, 2 * layer], self.kept[:, 2 * layer + 1], layer)
        return cache


def _small(
    pieces: CompactPieces, positions: int, layers: int, width: int, heads: int, dropout: float
) -> tuple[Any, int]:
    """An untrained GPT-2 whose word vectors are MiniLM's, and the id of its separator."""
    from transformers import GPT2Config, GPT2Model

    start = start_vectors(pieces.pieces, width)
    config = GPT2Config(
        vocab_size=len(start) + 1,
        n_positions=positions,
        n_embd=width,
        n_layer=layers,
        n_head=heads,
        resid_pdrop=dropout,
        embd_pdrop=dropout,
        attn_pdrop=0.0,  # it would cost the fast attention kernel
        initializer_range=width**-0.5,  # GPT-2's 0.02 would drown positions and attention in word vectors of unit size
        bos_token_id=len(start),
        eos_token_id=len(start),
    )
    model = GPT2Model(config)
    with torch.no_grad():
        model.wte.weight[: len(start)] = start
        model.wte.weight[len(start)].normal_()  # of the size of the others
    return model, len(start)


def _pretrained(checkpoint: str) -> tuple[Any, Callable[[list[str]], list[list[int]]], int, int, int]:
    """A model without its language head, the tokenizer as a function of words, and the ids of the unknown word, of
    padding and of the separator."""
    tokenizer, model = load_encoder(checkpoint)
    separator = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    if separator is None:
        raise PluginError(
            "the tokenizer has no token to separate with",
            where=checkpoint,
            field="checkpoint",
            remedy="choose a causal language model with an end-of-text token",
        )
    inside = word_pieces(tokenizer, ["a b"])[0][len(word_pieces(tokenizer, ["a"])[0]) :]
    blank = " " if word_pieces(tokenizer, [" b"])[0] == inside else ""  # BPE writes a word's blank in front of it
    return (
        model,
        lambda words: word_pieces(tokenizer, [blank + word for word in words]),
        int(tokenizer.unk_token_id if tokenizer.unk_token_id is not None else separator),
        int(tokenizer.pad_token_id if tokenizer.pad_token_id is not None else separator),
        int(separator),
    )
