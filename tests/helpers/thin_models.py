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


def thin_gpt(place: Path, *, positions: int = 160) -> str:
    """A GPT-2 in `place` with a byte-level tokenizer, which writes a word's blank in front of it; its name as a
    checkpoint."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import GPT2Config, GPT2LMHeadModel, PreTrainedTokenizerFast

    bpe = Tokenizer(models.BPE())
    bpe.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    bpe.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<|endoftext|>"],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    bpe.train_from_iterator(make_catalog(40).texts, trainer)
    PreTrainedTokenizerFast(tokenizer_object=bpe, eos_token="<|endoftext|>").save_pretrained(place)
    torch.manual_seed(0)
    config = GPT2Config(
        vocab_size=bpe.get_vocab_size(),
        n_positions=positions,
        n_embd=16,
        n_layer=2,
        n_head=2,
        initializer_range=0.3,
        bos_token_id=0,
        eos_token_id=0,
    )
    GPT2LMHeadModel(config).save_pretrained(place)
    return str(place)
