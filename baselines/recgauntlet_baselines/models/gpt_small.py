"""A small causal language model without pretrained layers, for tests and demonstrations."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, UserState
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet_baselines.models._causal import CausalRanker, Frame, mean_head, of_mean, room_for
from recgauntlet_baselines.models._vocabulary import PAD_ID, UNKNOWN_ID, CompactPieces, start_vectors


class GPTSmall(CausalRanker):
    """`gpt` without a pretrained model: two untrained layers of GPT-2's architecture, word vectors that start from
    MiniLM's. It needs no download. Until release 2026.5 it had the name `gpt`.

    Deviation from GPT-2: its vocabulary is the word pieces that the catalog uses.

    Parameters
    ----------
    layers, width, heads
        Of the model; `width` is also the size of its word vectors.
    dropout
        On embeddings and on what each half of a layer adds, not on attention weights.
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
        layers: int = 2,
        width: int = 128,
        heads: int = 4,
        dropout: float = 0.1,
        history_items: int = 10,
        history_tokens: int = 10,
    ) -> None:
        pieces = CompactPieces(catalog.texts)
        start = start_vectors(pieces.pieces, width)
        frame = Frame.bars(len(start))
        positions = room_for(frame, history_items, history_tokens) + token_length + 1
        super().__init__(
            catalog,
            token_length=token_length,
            reader=_untrained(start, positions, layers, width, heads, dropout),
            pieces_of=pieces,
            unknown=UNKNOWN_ID,
            pad=PAD_ID,
            frame=frame,
            history_items=history_items,
            history_tokens=history_tokens,
        )
        self.head = mean_head(width)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return of_mean(self.head, *self.read_candidates(user, candidates, embeddings))


def _untrained(start: Tensor, positions: int, layers: int, width: int, heads: int, dropout: float) -> Any:
    """A GPT-2 whose word vectors are `start`, and after them a separator's."""
    from transformers import GPT2Config, GPT2Model

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
    return model
