"""Most popular: every user gets the items that most users took (`TopPop` in Cremonesi et al. 2010)."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.core.dataset import TrainingPeriod
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.references import bibtex
from recgauntlet.core.types import Surface
from recgauntlet_baselines.models._collaborative import ItemIds, edges


class MostPopular(ItemIds):
    """`x(i) = log(1 + n_i)`, with `n_i` the users of the item in the training pairs, clicks and histories.

    Nothing of the user is read, so the order is that of `n_i`, and what fake accounts do to it is known in closed form:
    each one that holds the item in its pairs adds 1.

    `x` counts from its mean over the catalog, in its standard deviations; where 0 lies is then learned like the weights
    of any model: one epoch of the binary cross-entropy on the training pairs chooses a scale and an offset, the only
    two weights. The handle of the embedding surface is the standardized `x(i)`, one number.
    """

    citation = bibtex("cremonesi2010performance")
    surfaces: ClassVar[frozenset[Surface]] = frozenset({"embedding"})
    recipe = TrainingRecipe(epochs=1, batch_size=256, learning_rate=5e-2)

    popularity: Tensor

    def prepare(self, training: TrainingPeriod) -> None:
        """Count."""
        _, items = edges(training.pairs)
        counts = torch.from_numpy(np.log1p(np.bincount(items, minlength=len(self.catalog)))).float()
        spread = counts.std(correction=0).clamp(min=torch.finfo(counts.dtype).eps)
        self.register_buffer("popularity", (counts - counts.mean()) / spread, persistent=False)

    def embed(self, candidates: Candidates) -> Tensor:
        """`[B, 1, 1]`."""
        return self.popularity[candidates.items][:, None, None]

    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, 1]`, which nothing reads."""
        return self.popularity[users.histories.clamp(min=0)].unsqueeze(-1)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """An empty vector a user."""
        return UserState((self.popularity.new_zeros(len(users), 0),))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        items = self.embed(candidates) if embeddings is None else embeddings
        return self.calibrated(items[:, 0, 0])
