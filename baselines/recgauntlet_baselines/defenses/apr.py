"""Adversarial personalized ranking: a pairwise loss that holds under shifts of users and candidates (He et al.
2018)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, UserState
from recgauntlet.core.recommender import Recommender, embedding_mask
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses._adversarial import RisingRadius, l2_unit


@dataclass(kw_only=True, eq=False)
class APR(RisingRadius):
    """`L(s) + BPR(u, e) + lam * BPR(u + d_u, e + d_e)` with `BPR = mean -log sigmoid(s_clicked - s_unclicked)` over the
    pairs of a clicked and an unclicked candidate of one user, and `(d_u, d_e) = epsilon * norm * g / |g|`, `g` being
    the gradient of the clean BPR (He et al. 2018, equations 8 and 10).

    Both sides of the dot product move: the state of each user (every tensor of numbers that it is made of) and the
    embeddings of each candidate, each with a ball of its own. That of a state tensor is relative to the mean norm of
    its vectors, that of a candidate to the mean norm of a token's embedding.

    `L` is the model's own loss. It is not in the paper: a pairwise loss alone leaves open where scores lie, and 0 must
    stay the decision boundary. Further deviations: radii are relative (the paper's are 0.5 for vectors of any size);
    the candidate's perturbation is over all of its tokens; instead of training to the end with BPR first, the radius
    rises over the warm-up.

    The gradient is taken at the clean scores, whose graph is kept, so the perturbation needs no forward pass of its
    own.

    Parameters
    ----------
    epsilon
        The radius, relative to the vectors that are moved.
    lam
        The weight of the adversarial pairwise loss.
    warmup
        The share of training over which the radius rises linearly from 0; weights are kept as best only after it.
    """

    citation = bibtex("he2018adversarial")
    search_space: ClassVar[SearchSpace] = {"epsilon": Between(0.05, 1.0, log=True), "lam": Between(0.1, 10.0, log=True)}

    epsilon: float = 0.25
    lam: float = 1.0
    warmup: float = 0.3

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        state = model.encode_user(batch.users)
        candidates = model.candidates(batch.items, batch.texts)
        embedded = reachable(model.embed(candidates))
        # frozen parts give tensors without a graph, which a gradient could not be taken of
        state = UserState(tuple(map(reachable, state.tensors)))
        scores = model.score(state.select(batch.rows), candidates, embedded)
        pairwise = bpr(scores, batch)
        loss = model.click_loss(scores, batch) + pairwise
        radius = self.radius(context)
        if radius == 0.0:
            return loss
        radii = self.radii(radius, scores.detach(), batch)
        handles = [embedded, *(tensor for tensor in state.tensors if tensor.is_floating_point())]
        found = torch.autograd.grad(pairwise, handles, retain_graph=True, allow_unused=True)
        mask = embedding_mask(candidates, embedded).unsqueeze(-1)
        gradient = torch.zeros_like(embedded) if found[0] is None else found[0] * mask
        reach = radii[batch.rows, None, None] * mean_norm(embedded.detach() * mask)
        shifted = embedded + l2_unit(gradient) * reach
        moves = iter(found[1:])
        moved = [moved_along(t, next(moves), radii) if t.is_floating_point() else t for t in state.tensors]
        adversarial = model.score(UserState(tuple(moved)).select(batch.rows), candidates, shifted)
        return loss + self.lam * bpr(adversarial, batch)

    def radii(self, radius: float, scores: Tensor, batch: Batch) -> Tensor:
        """The relative radius `[U]` of each user of a batch, whose clean logits are `scores [B]`: `radius` for all."""
        return scores.new_full((len(batch.users),), radius)


def bpr(scores: Tensor, batch: Batch) -> Tensor:
    """The mean of `-log sigmoid(s_clicked - s_unclicked)` over all such pairs of one user; 0 where there is none."""
    losses, _ = pair_losses(scores, batch)
    return losses.sum() / max(1, len(losses))


def pair_losses(scores: Tensor, batch: Batch) -> tuple[Tensor, Tensor]:
    """`-log sigmoid(s_clicked - s_unclicked)` of each of the `P` pairs of a clicked and an unclicked candidate of one
    user, `[P]`, and the row of that user, `[P]`."""
    clicked = torch.nonzero(batch.labels > 0.5).flatten()
    unclicked = torch.nonzero(batch.labels <= 0.5).flatten()
    first, second = torch.nonzero(batch.rows[clicked][:, None] == batch.rows[unclicked][None, :], as_tuple=True)
    losses = F.softplus(scores[unclicked[second]] - scores[clicked[first]])
    return losses, batch.rows[clicked[first]]


def reachable(tensor: Tensor) -> Tensor:
    """The tensor, so that a gradient can be taken with respect to it."""
    if tensor.requires_grad or not tensor.is_floating_point():
        return tensor
    return tensor.detach().requires_grad_(True)


def moved_along(tensor: Tensor, gradient: Tensor | None, radii: Tensor) -> Tensor:
    """`tensor [U, ...]`, each user's part moved along its gradient, by as many mean norms as `radii [U]` has for it."""
    if gradient is None:
        return tensor
    size = mean_norm(tensor.detach().reshape(len(tensor), -1, tensor.shape[-1] if tensor.ndim > 1 else 1))
    step = l2_unit(gradient.reshape(len(tensor), 1, -1)) * (radii[:, None, None] * size)
    return tensor + step.reshape(tensor.shape)


def mean_norm(vectors: Tensor) -> Tensor:
    """The mean L2 norm of the vectors of `[B, N, D]` that are not 0 (padding is)."""
    norms: Tensor = vectors.float().norm(dim=2)
    return norms.sum() / (norms > 0).sum().clamp(min=1)
