"""How natural texts are and how alike: perplexities by SmolLM2, and cosines of sentence vectors by MiniLM."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recgauntlet.core.types import FloatArray
from recgauntlet.data.encoder import ENCODER, sentence_vectors

if TYPE_CHECKING:
    import torch

START = "<|endoftext|>"
"""Stood before every document in SmolLM2's training, so that a text's first word is predicted too."""
LONGEST = 512
"""Tokens of a text that are read; the rest is cut off."""
BATCH_TOKENS = 512
"""Tokens of a batch, padding included: their logits over 49,152 words take 100 MB."""


class TextMeasures:
    """Perplexities and sentence vectors, each text measured once however often it is asked for.

    `directory` holds the causal language model (`recgauntlet.data.language_model.smollm2`), which is loaded when it is
    first needed and runs on `device`.
    """

    def __init__(self, directory: Path, device: torch.device | str = "cpu") -> None:
        self._directory, self._device = directory, device
        self._loaded: tuple[Any, Any] | None = None
        self._perplexities: dict[str, float] = {}
        self._vectors: dict[str, FloatArray] = {}

    @property
    def language_model(self) -> str:
        """The name of the language model with the first letters of its checksum."""
        return self._directory.name

    @property
    def encoder(self) -> str:
        """The name of the encoder of sentence vectors."""
        return ENCODER

    def perplexity_ratios(self, clean: Sequence[str], edited: Sequence[str]) -> FloatArray:
        """`[N]`: the perplexity of each edited text over that of its clean text; above 1 is less natural.

        The perplexity is the exponential of the mean negative log-likelihood of a text's tokens; 1 for a text without
        tokens. Two texts may have different numbers of tokens, so the ratio is one of predictability a token.
        """
        self.perplexities([*clean, *edited])  # in batches of texts of like length
        known, pairs = self._perplexities, zip(clean, edited, strict=True)
        return np.array([known[after] / known[before] for before, after in pairs], dtype=np.float32)

    def perplexities(self, texts: Sequence[str]) -> FloatArray:
        """`[N]`: the perplexity of each text."""
        known = self._perplexities
        new = [text for text in dict.fromkeys(texts) if text not in known]
        known.update(zip(new, self._measured(new), strict=True))
        return np.array([known[text] for text in texts], dtype=np.float32)

    def forget(self) -> None:
        """Drop what was measured; the language model stays."""
        self._perplexities.clear()
        self._vectors.clear()

    def cosines(self, clean: Sequence[str], edited: Sequence[str]) -> FloatArray:
        """`[N]`: the cosine between the sentence vectors of each clean text and its edited text."""
        known = self._vectors
        new = [text for text in dict.fromkeys((*clean, *edited)) if text not in known]
        if new:
            known.update(zip(new, sentence_vectors(new), strict=True))
        pairs = zip(clean, edited, strict=True)
        return np.array([float(known[before] @ known[after]) for before, after in pairs], dtype=np.float32)

    def _measured(self, texts: Sequence[str]) -> list[float]:
        """The perplexities of `texts`, in batches of texts of like length."""
        if not texts:
            return []
        import torch
        from torch.nn.functional import cross_entropy

        tokenizer, model = self._load()
        start = tokenizer.convert_tokens_to_ids(START)
        coded = [
            [start, *ids[:LONGEST]]
            for ids in tokenizer(list(texts), add_special_tokens=False, return_attention_mask=False)["input_ids"]
        ]
        out = [1.0] * len(texts)
        rest = sorted((n for n, ids in enumerate(coded) if len(ids) > 1), key=lambda n: len(coded[n]))
        with torch.inference_mode():
            while rest:
                width = len(coded[rest[-1]])  # the longest first: what memory they need shows at once
                size = max(1, BATCH_TOKENS // width)
                rows, rest = rest[-size:], rest[:-size]
                ids = torch.zeros(len(rows), width, dtype=torch.int64)
                mask = torch.zeros_like(ids)
                for place, n in enumerate(rows):
                    ids[place, : len(coded[n])] = torch.tensor(coded[n])
                    mask[place, : len(coded[n])] = 1
                ids, mask = ids.to(self._device), mask.to(self._device)
                logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits[:, :-1]
                lost = cross_entropy(logits.transpose(1, 2).float(), ids[:, 1:], reduction="none")
                mean = (lost * mask[:, 1:]).sum(dim=1) / mask[:, 1:].sum(dim=1)
                for n, value in zip(rows, mean.exp().tolist(), strict=True):
                    out[n] = value
        return out

    def _load(self) -> tuple[Any, Any]:
        if self._loaded is None:
            from transformers import AutoModelForCausalLM, AutoTokenizer
            from transformers.utils import logging

            logging.disable_progress_bar()  # type: ignore[no-untyped-call]
            tokenizer = AutoTokenizer.from_pretrained(str(self._directory), local_files_only=True)
            model: Any = AutoModelForCausalLM.from_pretrained(str(self._directory), local_files_only=True)
            self._loaded = tokenizer, model.to(self._device).eval().requires_grad_(False)
        return self._loaded
