"""Pretrained language models as encoders: loaded without pickles, cut to a catalog's words, and read no further than
needed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.errors import PluginError


def load_encoder(checkpoint: str) -> tuple[Any, Any]:
    """The tokenizer and the encoder of a hub name or path; an encoder of BERT's kind drops no attention weights.

    Raises
    ------
    PluginError
        Where it cannot be loaded.
    """
    from transformers import AutoConfig, AutoModel, AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(checkpoint, use_fast=True)
        config = AutoConfig.from_pretrained(checkpoint)
        if hasattr(config, "attention_probs_dropout_prob"):
            config.attention_probs_dropout_prob = 0.0
        model = AutoModel.from_pretrained(checkpoint, config=config, use_safetensors=True)
    except (OSError, ValueError) as error:
        raise PluginError(
            f"the checkpoint cannot be loaded: {str(error).splitlines()[0]}",
            where=checkpoint,
            field="checkpoint",
            remedy="give a hub name that can be reached, or a local directory with config.json, tokenizer files and "
            "model.safetensors",
        ) from error
    return tokenizer, model


def keep_layers(encoder: Any, layers: int) -> None:
    """Cut an encoder of BERT's kind to its first `layers` layers; 0 keeps all.

    Raises
    ------
    PluginError
        Where it has fewer.
    """
    if layers == 0:
        return
    holder = getattr(encoder, "encoder", None) or getattr(encoder, "transformer", None)
    stack = getattr(holder, "layer", None)
    if not isinstance(stack, nn.ModuleList) or not 1 <= layers <= len(stack):
        have = len(stack) if isinstance(stack, nn.ModuleList) else "an unknown number of"
        raise PluginError(
            f"layers={layers} cannot be kept of {have} layers",
            field="layers",
            remedy="choose a number from 1 to the number of layers, or 0 for all",
        )
    assert holder is not None  # it has the stack
    holder.layer = stack[:layers]
    encoder.config.num_hidden_layers = layers


class SpecialIds(NamedTuple):
    """The ids of the tokens that begin and end a text, of the unknown word and of padding."""

    first: int
    last: int
    unknown: int
    pad: int


def special_ids(tokenizer: Any) -> SpecialIds:
    first = tokenizer.cls_token_id if tokenizer.cls_token_id is not None else tokenizer.bos_token_id
    last = tokenizer.sep_token_id if tokenizer.sep_token_id is not None else tokenizer.eos_token_id
    if first is None or last is None:
        raise PluginError(
            "the tokenizer has no token to begin and to separate with",
            field="checkpoint",
            remedy="choose an encoder of BERT's kind",
        )
    unknown = tokenizer.unk_token_id if tokenizer.unk_token_id is not None else last
    return SpecialIds(int(first), int(last), int(unknown), int(tokenizer.pad_token_id or 0))


def word_pieces(tokenizer: Any, words: list[str]) -> list[list[int]]:
    pieces: list[list[int]] = tokenizer(words, add_special_tokens=False)["input_ids"]
    return pieces


def kept_pieces(tokenizer: Any, texts: Sequence[str]) -> list[int]:
    """The ids, rising, of the pieces that texts use, of single characters and of special tokens."""
    words = sorted({word for text in texts for word in text.split()})
    used = {piece for ids in word_pieces(tokenizer, words) for piece in ids}
    characters = {i for piece, i in tokenizer.get_vocab().items() if len(piece.lstrip("#Ġ▁")) <= 1}
    return sorted(used | characters | set(tokenizer.all_special_ids))


def trim(encoder: Any, kept: Sequence[int], pad_row: int) -> None:
    """Leave the rows `kept` of an encoder's table of word vectors."""
    table = encoder.get_input_embeddings().weight.detach()[list(kept)].clone()
    encoder.set_input_embeddings(nn.Embedding(len(table), table.shape[1], padding_idx=pad_row, _weight=table))
    encoder.config.vocab_size = len(kept)


def read_first_alone(encoder: Any) -> None:
    """Let the last layer of a BERT make the first token's state alone: nothing else of it is read."""
    from transformers.models.bert.modeling_bert import BertLayer

    stack = getattr(getattr(encoder, "encoder", None), "layer", None)
    if isinstance(stack, nn.ModuleList) and isinstance(stack[-1], BertLayer):
        stack[-1] = FirstToken(stack[-1])


class FirstToken(nn.Module):
    """A layer of BERT from which only the first token asks: `[B, L, D]` to `[B, 1, D]`, the same state with a fraction
    of the work (keys and values alone are made of all tokens)."""

    def __init__(self, layer: Any) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, hidden: Tensor, mask: Tensor | None = None, *unused: Any, **options: Any) -> Tensor:
        inner = self.layer.attention.self
        first = hidden[:, :1]

        def heads(part: Tensor) -> Tensor:
            return part.view(len(part), part.shape[1], -1, inner.attention_head_size).transpose(1, 2)

        asked, keys, values = heads(inner.query(first)), heads(inner.key(hidden)), heads(inner.value(hidden))
        dropped = inner.dropout.p if self.training else 0.0
        seen = None if mask is None else mask[:, :, :1]
        read = F.scaled_dot_product_attention(
            asked, keys, values, attn_mask=seen, dropout_p=dropped, scale=inner.scaling
        )
        read = self.layer.attention.output(read.transpose(1, 2).flatten(2), first)
        state: Tensor = self.layer.feed_forward_chunk(read)
        return state
