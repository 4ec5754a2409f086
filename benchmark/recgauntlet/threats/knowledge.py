"""What an attacker and the verifier may know of a task: its catalog, and frozen public resources about words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Self

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TaskCard
from recgauntlet.core.dataset import Catalog, TaskData
from recgauntlet.core.protocol import REFERENCES
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.encoder import sentence_vectors
from recgauntlet.data.prepare import item_vectors
from recgauntlet.threats.lexicon import Lexicon


@dataclass(frozen=True)
class AttackerKnowledge:
    """Public knowledge about one track. `item_vectors` may be handed in when a cache holds them.

    `references`: examples of the attacker's own, of which no test example is one; what words do to a model is learned
    on them.
    """

    catalog: Catalog
    vectors: Tensor | None = None
    references: Batch | None = None

    @classmethod
    def of(cls, card: TaskCard, data: TaskData) -> Self:
        """The world of a card's prepared data; the references are the clicked candidates of the first validation
        pairs."""
        pairs = pairs_to_batch(data.valid, np.arange(min(REFERENCES, len(data.valid))))
        clicked = pairs.select(torch.arange(0, len(pairs), 2))
        return cls(data.catalog, item_vectors(data) if card.compares_items() else None, clicked)

    @cached_property
    def item_vectors(self) -> Tensor:
        """Unit vectors `[N, 384]` of the catalog's texts in the frozen encoder."""
        return self.vectors if self.vectors is not None else torch.from_numpy(sentence_vectors(self.catalog.texts))

    @cached_property
    def lexicon(self) -> Lexicon:
        """Words of the catalog, their neighbours, and what counts as a name."""
        return Lexicon(self.catalog.texts)
