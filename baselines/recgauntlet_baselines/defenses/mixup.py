"""Mixup: training on mixtures of two candidates and of their labels (Zhang et al. 2018)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from scipy.special import betaincinv
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates
from recgauntlet.core.recommender import Recommender, embedding_mask
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses._edits import uniform
from recgauntlet_baselines.defenses._passes import encode

LEAST_SHARE = 0.05


@dataclass(kw_only=True, eq=False)
class Mixup(Defense):
    """`e' = w * e_i + (1 - w) * e_j`, `y' = w * y_i + (1 - w) * y_j` with `w ~ Beta(alpha, alpha)`; the model's own
    loss on the mixtures alone.

    What is mixed is the candidates' embeddings, place by place. A place where only one of the two has a token is real
    in the mixture and holds the weighted embedding of that one: the mask is the union of both. A candidate whose share
    is below `LEAST_SHARE` adds no places: tokens of all but nothing would only make texts look longer, and at a weight
    of 1 the mixture is candidate i exactly.

    Candidate j is the next one of the same user in the batch (in training pairs: the other of the pair), so the user's
    state stays as it is. Mixing across users would need mixed states too, and a state is the model's own business: it
    may hold masks or indices that cannot be mixed. So the mixtures always lie between what one user took and passed
    over.

    Deviations from the paper: inputs are embeddings (Guo, Mao and Zhang 2019 do so for texts); partners are of one user
    instead of a permutation of the batch; every example draws a weight of its own instead of one a batch. What a model
    reads of the item besides its embeddings is candidate i's.

    Parameters
    ----------
    alpha
        Of the Beta distribution: near 0 one of the two is all but left alone, 1 is even.
    """

    citation = bibtex("zhang2018mixup")
    search_space: ClassVar[SearchSpace] = {"alpha": Between(0.05, 1.0, log=True)}

    alpha: float = 0.2

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        encoded = encode(model, batch)
        candidates, embedded = encoded.candidates, encoded.embedded
        draws = uniform(context, batch.example_ids, 1)[:, 0].double()
        # the quantile of an even draw: exact, and the same whatever else is in the batch
        weight = torch.from_numpy(betaincinv(self.alpha, self.alpha, draws.cpu().numpy())).to(embedded)
        other = next_of_user(batch.rows)
        real = embedded * embedding_mask(candidates, embedded).unsqueeze(-1)
        mixed = weight[:, None, None] * real + (1 - weight)[:, None, None] * real[other]
        places = candidates.tokens.mask
        union = (places & (weight >= LEAST_SHARE)[:, None]) | (places[other] & (weight <= 1 - LEAST_SHARE)[:, None])
        tokens = replace(candidates.tokens, mask=union)
        share = weight.to(batch.labels)
        labels = share * batch.labels + (1 - share) * batch.labels[other]
        scores = model.score(encoded.state, Candidates(candidates.items, tokens), mixed)
        return model.click_loss(scores, replace(batch, labels=labels))


def next_of_user(rows: Tensor) -> Tensor:
    """`[B]`: the place of the next example with the same entry of `rows [B]`, after the last one the first; itself
    where it is alone."""
    order = torch.argsort(rows, stable=True)
    following = order.roll(-1)
    first = torch.searchsorted(rows[order], rows[order])
    following = torch.where(rows[following] == rows[order], following, order[first])
    return torch.empty_like(order).index_copy_(0, order, following)
