"""Random language models of two thin layers on disk, with vocabularies of the small task's words."""

from __future__ import annotations

from pathlib import Path

import torch
from toy_recommender import make_catalog

LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"


def thin_bert(place: Path) -> str:
    """A BERT in `place`; its name as a checkpoint."""
    from transformers import BertConfig, BertModel, BertTokenizerFast

    words = sorted({word.lower() for text in make_catalog(40).texts for word in text.split()})
    letters = [prefix + letter for letter in LETTERS for prefix in ("", "##")]
    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *dict.fromkeys([*letters, *words])]
    (place / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizerFast(vocab=str(place / "vocab.txt")).save_pretrained(place)
    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=len(vocabulary),
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
        max_position_embeddings=96,
        initializer_range=0.3,
    )
    BertModel(config).save_pretrained(place)
    return str(place)


def thin_encoder(place: Path, family: str) -> str:
    """An encoder of a family ("roberta", "distilbert", "mpnet", "electra", "deberta", "deberta-v2") in `place`, with
    the tokenizer of `thin_bert`; its name as a checkpoint."""
    from transformers import AutoConfig, AutoModel

    thin_bert(place)
    vocabulary = (place / "vocab.txt").read_text(encoding="utf-8").split()
    torch.manual_seed(0)
    options: dict[str, object] = {"initializer_range": 0.3, "vocab_size": len(vocabulary), "pad_token_id": 0}
    if family == "distilbert":
        options |= {"dim": 16, "hidden_dim": 32, "n_layers": 2, "n_heads": 2, "max_position_embeddings": 96}
    else:
        options |= {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        options |= {"max_position_embeddings": 98}
    if family == "electra":
        options |= {"embedding_size": 8}
    if family.startswith("deberta"):
        options |= {"relative_attention": True, "pos_att_type": ["p2c", "c2p"], "type_vocab_size": 0}
    AutoModel.from_config(AutoConfig.for_model(family, **options)).save_pretrained(place)
    return str(place)


CAUSAL = ("gpt2", "llama", "qwen2", "qwen3", "gemma", "gemma2", "gemma3_text")
"""Families of causal language models that `thin_gpt` makes."""


def thin_gpt(place: Path, *, positions: int = 160, family: str = "gpt2", pads: bool = False) -> str:
    """A causal language model in `place` with a byte-level tokenizer, which writes a word's blank in front of it; its
    name as a checkpoint."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    specials = ["<|endoftext|>", *(["<pad>"] if pads else [])]
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=specials,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(make_catalog(40).texts, trainer)
    names = {"pad_token": "<pad>"} if pads else {}
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>", **names).save_pretrained(place)
    torch.manual_seed(0)
    options: dict[str, object] = {"vocab_size": bpe.get_vocab_size(), "initializer_range": 0.3}
    options |= {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 1 if pads else None}
    if family == "gpt2":
        options |= {"n_positions": positions, "n_embd": 16, "n_layer": 2, "n_head": 2}
    else:
        options |= {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
        options |= {"num_key_value_heads": 1, "head_dim": 8, "max_position_embeddings": positions}
    AutoModelForCausalLM.from_config(AutoConfig.for_model(family, **options)).save_pretrained(place)
    return str(place)
