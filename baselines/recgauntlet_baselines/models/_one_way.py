"""Encoders of BERT's kind, layer by layer: texts by themselves, and a candidate that sees a history.

The history does not see the candidate (the attention mask of UniLM's sequence-to-sequence objective, Dong et al. 2019),
so its keys and values are computed once however many candidates are read after it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch
from torch import Tensor, nn

from recgauntlet.core.errors import PluginError
from recgauntlet_baselines.models._attention import attended
from recgauntlet_baselines.models._pretrained import layers_of


def keys_and_values(layers: Iterable[nn.Module], hidden: Tensor, mask: Tensor) -> Tensor:
    """Of every layer in turn, `[B, 2 * layers, heads, P, D / heads]`, for texts `hidden [B, P, D]` that are read by
    themselves; `mask [B, P]`: the real tokens."""
    seen = (mask | ~mask.any(dim=1, keepdim=True))[:, None, None, :]  # a text of no token sees all, not nothing
    stack: list[Any] = list(layers)
    kept: list[Tensor] = []
    for number, layer in enumerate(stack):
        kept += _keys_and_values(layer, hidden)
        if number + 1 < len(stack):
            hidden = _state(layer, hidden, kept[-2], kept[-1], seen)
    return torch.stack(kept, dim=1)


def states(layers: Iterable[nn.Module], hidden: Tensor, mask: Tensor) -> Tensor:
    """The states `[B, L, D]` after layers that read texts `hidden [B, L, D]` by themselves; `mask [B, L]`: the real
    tokens."""
    seen = mask[:, None, None, :]
    for layer in layers:
        hidden = _state(layer, hidden, *_keys_and_values(layer, hidden), seen)
    return hidden


def first_states(layers: Iterable[nn.Module], hidden: Tensor, mask: Tensor, past: Tensor, seen: Tensor) -> Tensor:
    """The last layer's state `[B, D]` of the first token of texts `hidden [B, L, D]`, `mask [B, L]`, that are read
    after texts with the `keys_and_values` `past`, real at `seen [B, P]`."""
    stack: list[Any] = list(layers)
    both = torch.cat([seen, mask], dim=1)[:, None, None, :]
    kept = past.unbind(dim=1)  # one step backwards, where a slice for each layer would fill a whole tensor each
    for number, layer in enumerate(stack):
        keys, values = _keys_and_values(layer, hidden)
        keys, values = torch.cat([kept[2 * number], keys], dim=2), torch.cat([kept[2 * number + 1], values], dim=2)
        asking = hidden if number + 1 < len(stack) else hidden[:, :1]
        hidden = _state(layer, asking, keys, values, both)
    return hidden[:, 0]


def embedded_at(encoder: Any, words: Tensor) -> Tensor:
    """What an encoder's layers read, `[B, L, D]`, of texts with the word vectors `words [B, L, E]`."""
    embeddings = encoder.embeddings
    padding = getattr(embeddings.position_embeddings, "padding_idx", None)  # RoBERTa counts from behind it
    begin = 0 if padding is None else padding + 1
    places = torch.arange(begin, begin + words.shape[1], device=words.device).expand(words.shape[:2])
    segment = torch.zeros(words.shape[:2], dtype=torch.long, device=words.device)
    hidden: Tensor = embeddings(inputs_embeds=words, token_type_ids=segment, position_ids=places)
    project = getattr(encoder, "embeddings_project", None)  # ELECTRA
    return hidden if project is None else project(hidden)


@torch.no_grad()
def require_one_way(encoder: Any, checkpoint: str) -> None:
    """PluginError unless a text that is read after nothing has the state that the encoder gives it."""
    encoder.eval()
    size = encoder.get_input_embeddings().weight.shape[1]
    words = torch.linspace(-0.1, 0.1, 5 * size).view(1, 5, size)
    mask = torch.ones(1, 5, dtype=torch.bool)
    try:
        layers = layers_of(encoder)
        hidden = embedded_at(encoder, words)
        nothing = keys_and_values(layers, hidden, mask)[:, :, :, :0]
        alone = first_states(layers, hidden, mask, nothing, mask[:, :0])
        whole = encoder(inputs_embeds=words, attention_mask=mask.long()).last_hidden_state[:, 0]
        alike = torch.allclose(alone, whole, rtol=1e-3, atol=1e-3)
    except (AttributeError, TypeError):
        alike = False
    if not alike:
        raise PluginError(
            f"the layers of a {type(encoder).__name__} do not give keys and values as BERT's do",
            where=checkpoint,
            field="one_way",
            remedy="choose one_way=false, or an encoder of BERT's kind (BERT, RoBERTa, ELECTRA, MiniLM, BGE, E5)",
        )


def _keys_and_values(layer: Any, hidden: Tensor) -> tuple[Tensor, Tensor]:
    inner = layer.attention.self
    return _heads(inner, inner.key(hidden)), _heads(inner, inner.value(hidden))


def _state(layer: Any, asking: Tensor, keys: Tensor, values: Tensor, seen: Tensor) -> Tensor:
    """What a layer makes of the tokens `asking [B, Q, D]`, which see `keys` and `values` where `seen [B, 1, 1, N]`."""
    inner = layer.attention.self
    read = attended(_heads(inner, inner.query(asking)), keys, values, seen)
    state: Tensor = layer.feed_forward_chunk(layer.attention.output(read.transpose(1, 2).flatten(2), asking))
    return state


def _heads(inner: Any, part: Tensor) -> Tensor:
    return part.view(len(part), part.shape[1], -1, inner.attention_head_size).transpose(1, 2)
