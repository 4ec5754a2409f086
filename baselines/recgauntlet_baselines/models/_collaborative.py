"""What models of item ids that learn from pairs share: a dot product, the pairwise loss, where 0 is, and what is known
of users and items before training."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
import torch
from scipy.sparse import csc_array, csr_array
from scipy.sparse.linalg import svds
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Candidates, Tokens, UserState
from recgauntlet.core.dataset import Catalog, Pairs
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import IntArray, Surface
from recgauntlet_baselines.models._layers import WordTokenizer


class ItemIds(Recommender):
    """What reads no text, and learns a scale `a` and an offset `c` of its logits."""

    def __init__(self, catalog: Catalog, *, token_length: int) -> None:
        super().__init__(catalog, token_length=token_length)
        self._tokenize = WordTokenizer(lambda words: [[1] for _ in words], length=token_length, unknown=1, pad=0)
        self.log_scale = nn.Parameter(torch.zeros(()))
        self.offset = nn.Parameter(torch.zeros(()))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """One and the same token a word: no text is read."""
        return self._tokenize(texts, self.device)

    def calibrated(self, scores: Tensor) -> Tensor:
        """The logits `a * x + c` of scores `x`."""
        return scores * self.log_scale.exp() + self.offset


class PairwiseItems(ItemIds):
    """A user vector `p` and an item vector `q`; the logit is `a * (p . q - p . mean(q)) + c`.

    `L = mean -log sigmoid(x(clicked) - x(unclicked))` with `x = p . q` (Rendle et al. 2009, BPR-Opt). The unclicked
    item is the one of the same training pair, which a defense may perturb; beside it stands the same loss over `drawn`
    items that are drawn anew every step, as in the paper.

    Pairs say nothing about where 0 is, so this is ours: `x` counts from the user's mean over the catalog (whatever is
    added to all items of a user cancels in the loss), and `a` and `c` are learned by the binary cross-entropy of the
    outcome, through which no gradient reaches the vectors.
    """

    surfaces: ClassVar[frozenset[Surface]] = frozenset({"history", "embedding"})

    def state(self, vectors: Tensor, mean: Tensor) -> UserState:
        """Users `vectors [U, D]`, and where each counts from, given the mean item `[D]`."""
        return UserState((vectors, vectors @ mean))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        items = (self.embed(candidates) if embeddings is None else embeddings)[:, 0]
        vectors, level = user.tensors
        return self.calibrated((vectors * items).sum(dim=1) - level)

    def click_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        clicked, unclicked = (batch.labels > 0.5).nonzero()[:, 0], (batch.labels <= 0.5).nonzero()[:, 0]
        better, worse = (batch.rows[clicked, None] == batch.rows[unclicked]).nonzero(as_tuple=True)
        if not len(better):  # examples that a defense has torn apart: what is left to learn from is each by itself
            return super().click_loss(scores, batch)
        # undone with the live scale and offset, so that their gradients from the pairwise term cancel
        plain = (scores - self.offset) / self.log_scale.exp()
        pairwise = -F.logsigmoid(plain[clicked[better]] - plain[unclicked[worse]]).mean()
        calibrated = plain.detach() * self.log_scale.exp() + self.offset
        return pairwise + super().click_loss(calibrated, batch)


def above_drawn(vectors: Tensor, table: Tensor, batch: Batch, drawn: int, generator: torch.Generator) -> Tensor:
    """The pairwise loss of every clicked item of a batch against `drawn` items drawn evenly from the catalog, but for
    what its user has in the history; users `vectors [U, D]`, items `table [N, D]`; 0 where nothing can be compared."""
    clicked = (batch.labels > 0.5).nonzero()[:, 0]
    rows, items = batch.rows[clicked], batch.items[clicked]
    other = torch.randint(len(table), (len(clicked), drawn), generator=generator).to(table.device)
    taken = torch.cat([batch.users.histories[rows], items.unsqueeze(1)], dim=1)
    new = (other.unsqueeze(2) != taken.unsqueeze(1)).all(dim=2)
    users = vectors.index_select(0, rows)
    against = F.embedding(other, table)  # its gradient is summed faster than that of an index
    margin = (users * F.embedding(items, table)).sum(dim=1, keepdim=True) - (against @ users.unsqueeze(2)).squeeze(2)
    loss: Tensor = (-F.logsigmoid(margin) * new).sum() / new.sum().clamp(min=1)
    return loss


def over_root(vectors: Tensor, mask: Tensor) -> Tensor:
    """`[U, D]`: the sum of `[U, H, D]` over the places in `mask [U, H]`, over the root of their number; zeros where
    there is none."""
    count = mask.sum(dim=1, keepdim=True).clamp(min=1).to(vectors.dtype)
    return (vectors * mask.unsqueeze(-1)).sum(dim=1) * count.rsqrt()


def folded_in(table: Tensor, histories: Tensor, embeddings: Tensor | None = None) -> Tensor:
    """`[U, D]`: the users that `histories [U, H]` (PAD where there is no item) make of the rows of `table [N, D]`, or
    of the `embeddings [U, H, D]` that stand in their place: `over_root` of them."""
    there = histories >= 0
    if embeddings is not None:
        return over_root(embeddings, there)
    weights = there.to(table.dtype)
    summed: Any = _SummedRows
    total: Tensor = summed.apply(table, histories.clamp(min=0), weights)
    return total * weights.sum(dim=1, keepdim=True).clamp(min=1).rsqrt()


class _SummedRows(torch.autograd.Function):
    """`[U, D]`: sums of rows of `table [N, D]`, looked up and summed at once."""

    @staticmethod
    def forward(ctx: Any, table: Tensor, places: Tensor, weights: Tensor) -> Tensor:
        ctx.save_for_backward(places, weights)
        ctx.rows = len(table)
        return F.embedding_bag(places, table, mode="sum", per_sample_weights=weights)

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Any:
        (slope,) = grad_outputs
        places, weights = ctx.saved_tensors
        is_scipys = slope.device.type == "cpu" and slope.dtype in {torch.float32, torch.float64}
        given_back = by_sparse_product if is_scipys else by_adding
        return given_back(slope, places, weights, ctx.rows), None, None


def by_sparse_product(slope: Tensor, places: Tensor, weights: Tensor, rows: int) -> Tensor:
    """`[rows, D]`: what `places [U, H]` get of `slope [U, D]` by `weights [U, H]`, by scipy: a sixth of the time that
    torch takes for it on a CPU."""
    users, width = places.shape
    starts = np.arange(0, users * width + 1, width)
    shown = csc_array((weights.numpy().ravel(), places.numpy().ravel(), starts), shape=(rows, users))
    return torch.from_numpy(shown @ slope.numpy())


def by_adding(slope: Tensor, places: Tensor, weights: Tensor, rows: int) -> Tensor:
    """The same, on any device."""
    each = (slope.unsqueeze(1) * weights.unsqueeze(2)).flatten(0, 1)
    return slope.new_zeros(rows, slope.shape[1]).index_add_(0, places.flatten(), each)


def edges(pairs: Pairs) -> tuple[IntArray, IntArray]:
    """Users and items of the distinct edges of a training period, in their order: what was clicked, and what stands in
    histories."""
    there = pairs.histories >= 0
    users = np.concatenate([np.repeat(pairs.users, there.sum(axis=1)), pairs.users])
    items = np.concatenate([pairs.histories[there], pairs.clicked])
    shape = (int(users.max(initial=-1)) + 1, int(items.max(initial=-1)) + 1)
    matrix = csr_array((np.ones(len(users), dtype=np.int8), (users, items)), shape=shape)
    matrix.sum_duplicates()
    return np.repeat(np.arange(shape[0]), np.diff(matrix.indptr)), matrix.indices.astype(np.int64)


def spectral_items(pairs: Pairs, shape: tuple[int, int], rank: int) -> Tensor:
    """`[N, rank]`, orthonormal columns: the first right singular vectors of the matrix of users and items of the given
    `shape`, in which an edge of a user with `d_u` items and an item with `d_i` users is `(d_u * d_i) ** -1/4`. There
    are fewer columns where the matrix has no more."""
    users, items = edges(pairs)
    degrees = np.bincount(users)[users] * np.bincount(items)[items]
    matrix = csr_array((degrees.astype(np.float64) ** -0.25, (users, items)), shape=shape)
    columns = min(rank, min(shape) - 1)
    if columns < 1:
        return torch.zeros(shape[1], 0)
    found: Any = svds(matrix, k=columns, v0=np.ones(min(shape)))
    _, sizes, right = found
    return torch.from_numpy(right[np.argsort(-sizes, kind="stable")].T.copy())
