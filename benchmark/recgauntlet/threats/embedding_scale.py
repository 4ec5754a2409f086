"""The scale of a model's embeddings, to which budgets of embedding threats are relative."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender, embedding_mask


@dataclass(frozen=True)
class EmbeddingScale:
    """The model's own size of embeddings over the catalog: radii are relative to it.

    `norm`: the mean L2 norm of one embedding (a token's, or an item's), padding left out; the L2 ball of a
    whole candidate has a radius relative to it. `rms`: the root mean square of an element.
    """

    norm: float
    rms: float


@torch.no_grad()
def embedding_scale(model: Recommender, catalog: Catalog, *, chunk: int = 2048) -> EmbeddingScale:
    """Measure `model`'s embeddings over the whole catalog."""
    norms, squares, real_tokens, size = 0.0, 0.0, 0, 1
    for start in range(0, len(catalog), chunk):
        candidates = model.candidates(torch.arange(start, min(start + chunk, len(catalog))))
        embedded = model.embed(candidates)
        mask = embedding_mask(candidates, embedded)
        lengths = (embedded * mask.unsqueeze(-1)).norm(dim=2).double()
        norms += float(lengths.sum())
        squares += float(lengths.pow(2).sum())
        real_tokens += int(mask.sum())
        size = embedded.shape[2]
    return EmbeddingScale(norms / max(real_tokens, 1), (squares / max(real_tokens * size, 1)) ** 0.5)
