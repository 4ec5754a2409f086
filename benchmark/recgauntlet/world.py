"""What an attacker and the verifier may know of a task: its catalog, and frozen public resources about words."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor

from recgauntlet.data.tables import Catalog
from recgauntlet.encoder import sentence_vectors
from recgauntlet.lexicon import Lexicon


@dataclass(frozen=True)
class World:
    """Public knowledge about one track. `item_vectors` may be handed in when a cache holds them."""

    catalog: Catalog
    vectors: Tensor | None = None

    @cached_property
    def item_vectors(self) -> Tensor:
        """Unit vectors `[N, 384]` of the catalog's texts in the frozen encoder."""
        return self.vectors if self.vectors is not None else torch.from_numpy(sentence_vectors(self.catalog.texts))

    @cached_property
    def lexicon(self) -> Lexicon:
        """Words of the catalog, their neighbours, and what counts as a name."""
        return Lexicon(self.catalog.texts)
