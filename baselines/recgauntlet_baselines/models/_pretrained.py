"""Pretrained language models: found, loaded without pickles, cut to a catalog's words, and read no further than
needed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from logging import ERROR
from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError
from torch import Tensor, nn

from recgauntlet.core.errors import PluginError
from recgauntlet.data.language_model import from_gguf
from recgauntlet_baselines.models._attention import attend_in_single, attended

HUB_FILES = ("*.json", "*.safetensors", "*.txt", "*.model", "*.jinja")
"""What is read of a hub repository: no pickles and no code."""
WORKING = 4
"""Times the size of its weights that a model takes at least when all of them are trained: gradients and two moments."""


class Pretrained(NamedTuple):
    """A tokenizer, and a model without the head that it was pretrained with."""

    tokenizer: Any
    body: Any


def files_of(checkpoint: str, *, offline: bool = True) -> Path:
    """The local directory of a checkpoint: itself, a GGUF file's converted model, or a snapshot of a hub repository,
    which is downloaded unless `offline`.

    Raises
    ------
    PluginError
        Where there is none.
    """
    path = Path(checkpoint).expanduser()
    gguf = sorted(path.glob("*.gguf")) if path.is_dir() and not (path / "config.json").is_file() else []
    if path.suffix == ".gguf" or gguf:
        return from_gguf(gguf[0] if gguf else path)
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError, LocalEntryNotFoundError

    try:
        return Path(snapshot_download(checkpoint, allow_patterns=list(HUB_FILES), local_files_only=offline))
    except (HFValidationError, HfHubHTTPError, LocalEntryNotFoundError, OSError, ValueError) as error:
        raise PluginError(
            f"no such directory, and no such model of the hub {'is in its cache' if offline else 'can be read'} "
            f"({type(error).__name__})",
            where=checkpoint,
            field="checkpoint",
            remedy="give a local directory with config.json, tokenizer files and model.safetensors, a .gguf file, or a "
            "hub name that can be reached",
        ) from error


def load(checkpoint: str, layers: int = 0, *, trained: float = 1.0) -> Pretrained:
    """The model in a directory, cut to its first `layers` layers (0 keeps all), in float32; it drops no attention
    weights, because that would cost the fast attention kernel. `trained`: the share of its weights that learn.

    Raises
    ------
    PluginError
        Where it cannot be loaded, has fewer layers, lacks weights, needs more memory than is free, or its tokenizer is
        another model's.
    """
    import torch
    from transformers import AutoConfig, AutoModel, AutoTokenizer
    from transformers.utils import logging

    where = files_of(checkpoint)
    _require_safetensors(where, checkpoint)
    before = logging.get_verbosity()
    logging.set_verbosity(ERROR)  # it would report heads and layers that are left out on purpose
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        config = AutoConfig.from_pretrained(where)
        _cut(config, layers)
        for name in ("attention_probs_dropout_prob", "attention_dropout", "attn_pdrop"):
            if isinstance(getattr(config, name, None), float):
                setattr(config, name, 0.0)
        _require_memory(config, trained, checkpoint)
        tokenizer = AutoTokenizer.from_pretrained(where, use_fast=True)
        body, report = AutoModel.from_pretrained(
            where, config=config, use_safetensors=True, dtype=torch.float32, output_loading_info=True
        )
    except (OSError, ValueError, KeyError, RuntimeError, SafetensorError) as error:
        raise PluginError(
            f"the checkpoint cannot be loaded: {(str(error).splitlines() or [type(error).__name__])[0]}",
            where=checkpoint,
            field="checkpoint",
            remedy="give a hub name that can be reached, or a local directory with config.json, tokenizer files and "
            "model.safetensors",
        ) from error
    finally:
        logging.set_verbosity(before)
    lacking = sorted(name for name in report["missing_keys"] if "pooler" not in name)
    if lacking:
        raise PluginError(
            f"the checkpoint lacks {len(lacking)} weights of a {type(body).__name__}, {lacking[0]} for example",
            where=checkpoint,
            field="checkpoint",
            remedy="give the files of one model: config.json and model.safetensors must belong together",
        )
    _require_tokenizer(tokenizer, body, checkpoint)
    attend_in_single(body)
    return Pretrained(tokenizer, body)


def _cut(config: Any, layers: int) -> None:
    have = int(config.num_hidden_layers)
    if layers == 0:
        return
    if not 1 <= layers <= have:
        raise PluginError(
            f"layers={layers} cannot be kept of {have} layers",
            field="layers",
            remedy="choose a number from 1 to the number of layers, or 0 for all",
        )
    config.num_hidden_layers = layers
    if isinstance(getattr(config, "layer_types", None), list):  # one entry a layer
        config.layer_types = config.layer_types[:layers]


def _require_safetensors(where: Path, checkpoint: str) -> None:
    pickled = sorted(path.name for ending in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in where.glob(ending))
    if pickled and not any(where.glob("*.safetensors")):
        raise PluginError(
            f"has pickled weights only ({pickled[0]}), which can run code and are never read",
            where=checkpoint,
            field="checkpoint",
            remedy="choose a repository with model.safetensors, or convert the weights where you trust them: "
            "AutoModel.from_pretrained(...).save_pretrained(directory)",
        )


def _require_memory(config: Any, trained: float, checkpoint: str) -> None:
    """PluginError where the weights, and what training adds to those that learn, do not fit into free memory."""
    import psutil
    import torch
    from transformers import AutoModel

    from_config: Any = AutoModel.from_config
    with torch.device("meta"), torch.random.fork_rng(devices=[]):
        weights = sum(p.numel() for p in from_config(config).parameters())
    need, free = 4 * weights * (1 + (WORKING - 1) * trained), psutil.virtual_memory().available
    if need > free:
        raise PluginError(
            f"its {weights / 1e6:,.0f} million weights need {need / 2**30:.1f} GiB where {free / 2**30:.1f} are free",
            where=checkpoint,
            field="checkpoint",
            remedy="keep fewer layers (layers), train fewer weights (rank, tuned_layers), or choose a smaller model",
        )


def _require_tokenizer(tokenizer: Any, body: Any, checkpoint: str) -> None:
    rows = len(body.get_input_embeddings().weight)
    largest = max(tokenizer.get_vocab().values(), default=-1)
    if largest < 1 or largest >= rows:
        raise PluginError(
            f"the tokenizer does not fit: its ids reach {largest}, the model has {rows} word vectors",
            where=checkpoint,
            field="checkpoint",
            remedy="put the tokenizer files of this very model beside its weights",
        )


def adapt(body: Any, rank: int) -> None:
    """Freeze a model but for low-rank updates of all its weight matrices outside the embeddings, `rank` numbers a side
    (LoRA, Hu et al. 2022: `W + 2 B A`, `B = 0` at first); rank 0 leaves all weights to be trained.

    Raises
    ------
    PluginError
        Where the rank is negative.
    """
    if rank < 0:
        raise PluginError(f"rank={rank} is negative", field="rank", remedy="choose 4 to 64, or 0 to train all weights")
    if rank == 0:
        return
    from peft import LoraConfig, inject_adapter_in_model
    from transformers.pytorch_utils import Conv1D

    body.requires_grad_(False)
    transposed = any(isinstance(part, Conv1D) for part in body.modules())  # GPT-2's matrices
    options = LoraConfig(
        r=rank, lora_alpha=2 * rank, lora_dropout=0.0, target_modules="all-linear", fan_in_fan_out=transposed
    )
    inject_adapter_in_model(options, body)


def positions_of(encoder: Any, otherwise: int) -> int:
    """How many tokens an encoder can read; `otherwise` where its configuration has no limit. RoBERTa and MPNet count
    from the place after that of padding."""
    places = getattr(encoder.embeddings, "position_embeddings", None)
    padding = getattr(places, "padding_idx", None)
    return int(getattr(encoder.config, "max_position_embeddings", otherwise)) - (0 if padding is None else padding + 1)


def layers_of(encoder: Any) -> nn.ModuleList:
    """The stack of an encoder's layers.

    Raises
    ------
    PluginError
        Where it has none.
    """
    count = int(encoder.config.num_hidden_layers)
    found = [part for part in encoder.modules() if isinstance(part, nn.ModuleList) and len(part) == count]
    if not found:
        raise PluginError(
            f"a {type(encoder).__name__} has no stack of {count} layers",
            field="checkpoint",
            remedy="choose an encoder of BERT's kind (BERT, RoBERTa, DistilBERT, MPNet, ELECTRA, DeBERTa)",
        )
    return found[0]


def freeze_below(encoder: Any, tuned: int) -> tuple[nn.Module, ...]:
    """Freeze an encoder but for its `tuned` top layers (at most all); the embeddings and layers that are frozen."""
    stack = layers_of(encoder)
    first = max(0, len(stack) - tuned)
    encoder.requires_grad_(False)
    stack[first:].requires_grad_(True)
    return (encoder.embeddings, *stack[:first])


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
    """The ids of each word's pieces; a word that is written like a special token is read as any other."""
    pieces: list[list[int]] = tokenizer(words, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    return pieces


def with_blanks(tokenizer: Any) -> Callable[[list[str]], list[list[int]]]:
    """A tokenizer as a function of words inside a text: BPE writes a word's blank in front of it."""
    inside = word_pieces(tokenizer, ["a b"])[0][len(word_pieces(tokenizer, ["a"])[0]) :]
    blank = " " if word_pieces(tokenizer, [" b"])[0] == inside else ""
    return lambda words: word_pieces(tokenizer, [blank + word for word in words])


def kept_pieces(tokenizer: Any, pieces_of: Callable[[list[str]], list[list[int]]], texts: Sequence[str]) -> list[int]:
    """The ids, rising, of the pieces that texts use, of single characters and of special tokens."""
    words = sorted({word for text in texts for word in text.split()})
    used = {piece for ids in pieces_of(words) for piece in ids}
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
        read = attended(asked, keys, values, seen, dropped=dropped, scale=inner.scaling)
        read = self.layer.attention.output(read.transpose(1, 2).flatten(2), first)
        state: Tensor = self.layer.feed_forward_chunk(read)
        return state
