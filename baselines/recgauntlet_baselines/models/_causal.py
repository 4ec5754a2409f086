"""Causal language models as rankers: they read a user's history, whose keys and values are kept, then a candidate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.data.language_model import smollm2
from recgauntlet_baselines.models._layers import TextModel, WordTokenizer, closed, in_length_groups
from recgauntlet_baselines.models._pretrained import files_of


@dataclass(frozen=True)
class Frame:
    """The token ids around texts: `opening item separator ... item separator between candidate closing`."""

    opening: tuple[int, ...]
    separator: tuple[int, ...]
    between: tuple[int, ...]
    closing: tuple[int, ...]

    @classmethod
    def bars(cls, token: int) -> Frame:
        """One token before the first text and after each."""
        return cls((token,), (token,), (), (token,))


class CausalRanker(TextModel):
    """What reads history and candidate with a causal language model; a subclass makes a logit of what it read.

    A token of a causal model sees what stands before it alone, so what the model makes of a history does not depend on
    the candidate: the user's state is the keys and values of all layers, computed once however often the candidate is
    attacked, and read through them. A candidate begins at the same position whatever the length of the history.

    Parameters
    ----------
    reader
        The model without its language head.
    pieces_of, unknown, pad
        As `WordTokenizer` has them.
    frame
        What stands around the texts.
    history_items, history_tokens
        How many of the newest items are read, and how many tokens of each.
    checkpoint
        The reader's name in messages.
    """

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        reader: Any,
        pieces_of: Callable[[list[str]], list[list[int]]],
        unknown: int,
        pad: int,
        frame: Frame,
        history_items: int,
        history_tokens: int,
        checkpoint: str = "",
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.history_items = self.history_limit = history_items
        self.history_tokens = history_tokens
        self.reader = reader
        self.frame = frame
        self._room = room_for(frame, history_items, history_tokens)
        positions = self._room + token_length + len(frame.closing)
        limit = int(getattr(reader.config, "max_position_embeddings", positions))
        if positions > limit:
            raise PluginError(
                f"history_items={history_items} of {history_tokens} tokens and a candidate need {positions} positions",
                field="history_items",
                remedy=f"read less: the model has {limit}",
            )
        self._tokenize = WordTokenizer(pieces_of, length=token_length, unknown=unknown, pad=pad)
        self._require_causal(checkpoint)

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, T * D]`: the word vectors of each item's first `T = history_tokens` tokens, padding zero."""
        ids, mask = self.history_tokens_of(users.histories, self.history_tokens)
        embedded = self.word_vectors(ids) * mask.unsqueeze(-1)
        return F.pad(embedded, (0, 0, 0, self.history_tokens - ids.shape[2])).flatten(2)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """The mask `[U, P]` of the history's tokens, real ones first, and the keys and values of all layers in turn,
        `[U, 2 * layers, heads, P, D / heads]`; `P` is the same for all users, so that states can be joined."""
        words, mask = self.read_history(users, embeddings)
        kept = in_length_groups(self._keys_and_values, words, mask)
        return UserState((F.pad(mask, (0, self._room - mask.shape[1])), kept))

    def _keys_and_values(self, words: Tensor, mask: Tensor) -> Tensor:
        start = self._room - mask.sum(dim=1, keepdim=True)  # so that every candidate begins at the same place
        cache = self._read(words, mask, start).past_key_values
        kept = torch.stack([part for layer in cache for part in layer[:2]], dim=1)
        return F.pad(kept, (0, 0, 0, self._room - mask.shape[1]))

    def read_candidates(
        self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None
    ) -> tuple[Tensor, Tensor]:
        """The last hidden states `[B, L, D]` of the candidates' tokens and of the closing, and their mask `[B, L]`."""
        embedded = self.embed(candidates) if embeddings is None else embeddings
        words, mask = closed(embedded, candidates.tokens.mask, *self.frame_vectors(self.frame.closing))
        seen = user.tensors[0]
        width = int(seen.sum(dim=1).max())
        past = (user.tensors[1][:, :, :, :width], seen[:, :width])
        return in_length_groups(partial(self._after_history, width=words.shape[1]), words, mask, whole=past), mask

    def _after_history(self, words: Tensor, mask: Tensor, kept: Tensor, seen: Tensor, *, width: int) -> Tensor:
        start = torch.full_like(mask[:, :1], self._room, dtype=torch.long)
        hidden: Tensor = self._read(words, mask, start, _Past(kept, seen)).last_hidden_state
        return F.pad(hidden, (0, 0, 0, width - words.shape[1]))

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

    def read_history(self, users: Users, embeddings: Tensor | None) -> tuple[Tensor, Tensor]:
        """Vectors `[U, P, D]` and mask of the opening, of the newest items, oldest first, each closed by a separator,
        and of what stands before a candidate; real ones first."""
        recent = users.histories[:, -self.history_items :]
        ids, mask = self.history_tokens_of(recent, self.history_tokens)
        count, items, tokens = ids.shape
        if embeddings is None:
            embedded = self.word_vectors(ids)
        else:
            embedded = embeddings[:, -items:].reshape(count, items, self.history_tokens, -1)[:, :, :tokens]
        embedded, ended = closed(embedded.flatten(0, 1), mask.flatten(0, 1), *self.frame_vectors(self.frame.separator))
        ended = ended.view(count, items, -1) & (recent >= 0).unsqueeze(-1)
        opening, between = self.frame.opening, self.frame.between
        parts = (
            self.frame_vectors(opening),
            embedded.reshape(count, -1, embedded.shape[2]),
            self.frame_vectors(between),
        )
        words = torch.cat([part.expand(count, -1, -1) for part in parts], dim=1)
        seen = F.pad(ended.flatten(1), (len(opening), len(between)), value=True)
        return real_first(words, seen)

    def frame_vectors(self, ids: Sequence[int]) -> Tensor:
        """`[len(ids), D]`."""
        return self.word_vectors(torch.tensor(ids, device=self.device, dtype=torch.long))

    def word_vectors(self, ids: Tensor) -> Tensor:
        embedded: Tensor = self.reader.get_input_embeddings()(ids)
        return embedded

    @torch.no_grad()
    def _require_causal(self, checkpoint: str) -> None:
        """PluginError where later tokens change what was read before, or the cache changes what is read."""
        self.reader.eval()
        words = self.word_vectors(torch.tensor([[self.frame.closing[0], 0, 1, self.frame.closing[0]]]))
        mask = torch.ones(words.shape[:2], dtype=torch.bool)
        try:
            begin = torch.zeros(1, 1, dtype=torch.long)
            whole = self._read(words, mask, begin).last_hidden_state
            first = self._read(words[:, :2], mask[:, :2], begin)
            kept = torch.stack([part for layer in first.past_key_values for part in layer[:2]], dim=1)
            past = _Past(kept, mask[:, :2])
            later = self._read(words[:, 2:], mask[:, 2:], begin + 2, past).last_hidden_state
            alike = torch.allclose(torch.cat([first.last_hidden_state, later], dim=1), whole, rtol=1e-3, atol=1e-3)
        except (AttributeError, TypeError, ValueError, RuntimeError, IndexError):  # however a model has no cache
            alike = False
        if not alike:
            raise PluginError(
                f"a {type(self.reader).__name__} does not read from left to right through a cache",
                where=checkpoint,
                field="checkpoint",
                remedy="choose a causal language model with attention in all layers (GPT-2, Llama, Qwen, Gemma)",
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

        cache, kept = DynamicCache(), self.kept.unbind(dim=1)  # a slice for each layer would be slow backwards
        for layer in range(len(kept) // 2):
            cache.update(kept[2 * layer], kept[2 * layer + 1], layer)
        return cache


def real_first(words: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
    """Vectors `[B, L, D]` and mask with the real places in front, cut after the last of them."""
    order = torch.argsort((~mask).long(), dim=1, stable=True)[:, : int(mask.sum(dim=1).max())]
    return words.gather(1, order.unsqueeze(-1).expand(-1, -1, words.shape[2])), mask.gather(1, order)


def room_for(frame: Frame, history_items: int, history_tokens: int) -> int:
    """Tokens that a history may have with all that stands before a candidate."""
    return len(frame.opening) + history_items * (history_tokens + len(frame.separator)) + len(frame.between)


def mean_head(width: int) -> nn.Linear:
    """What makes a logit of a mean hidden state."""
    head = nn.Linear(width, 1)
    nn.init.zeros_(head.bias)
    nn.init.normal_(head.weight, std=0.02)
    return head


def of_mean(head: nn.Module, hidden: Tensor, mask: Tensor) -> Tensor:
    """`[B]`: the logits of the means of `hidden [B, L, D]` over the places in `mask [B, L]`."""
    weight = mask / mask.sum(dim=1, keepdim=True)
    logits: Tensor = head((hidden * weight.to(hidden).unsqueeze(-1)).sum(dim=1)).squeeze(-1)
    return logits


def separator_of(tokenizer: Any, checkpoint: str) -> int:
    """The id of the end-of-text token.

    Raises
    ------
    PluginError
        Where there is none.
    """
    separator = tokenizer.eos_token_id if tokenizer.eos_token_id is not None else tokenizer.sep_token_id
    if separator is None:
        raise PluginError(
            "the tokenizer has no token to separate with",
            where=checkpoint,
            field="checkpoint",
            remedy="choose a causal language model with an end-of-text token",
        )
    return int(separator)


def fetch_causal(checkpoint: str, *, offline: bool) -> None:
    """Put a causal model into the cache: SmolLM2 where the name is empty."""
    if checkpoint:
        files_of(checkpoint, offline=offline)
    else:
        smollm2(offline=offline)
