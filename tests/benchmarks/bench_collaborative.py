"""Our collaborative models: what they and their peers are trained on, and what is measured."""

from __future__ import annotations

import time
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.dataset import Impressions, Pairs, TaskData
from recgauntlet.core.recommender import find_model
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD, IntArray
from recgauntlet.metrics.bootstrap import Estimate, estimates, resampled_means
from recgauntlet.metrics.ranking import Ranked, auc, offsets_of
from recgauntlet.training.build import build_model
from recgauntlet.training.defense import Defense, model_scores
from recgauntlet.training.trainer import train

HISTORY = 50
Scores = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Split:
    """Edges `[2, E]` (users, items) of three parts, every user in each; and our examples of the same edges."""

    train: IntArray
    valid: IntArray
    test: IntArray
    data: TaskData


@dataclass(frozen=True)
class Quality:
    """The area under the curve over test edges against as many drawn items, nDCG@10 over the whole catalog, and the
    processor seconds of training."""

    auc: Estimate
    ndcg: Estimate
    seconds: float


def random_split(data: TaskData, taken: IntArray, seed: int = 0) -> Split:
    """Of `taken [2, E]`, a tenth of each user's edges to validate and a tenth to test, drawn at random. The history of
    an example are up to 50 others of the user's training edges, in no order; unclicked items were never taken."""
    draw = Randomness(seed, "bench/collaborative").numpy()
    count = np.bincount(taken[0])
    taken = taken[:, count[taken[0]] >= 10]
    taken = taken[:, draw.permutation(taken.shape[1])]
    taken = taken[:, np.argsort(taken[0], kind="stable")]
    starts = np.searchsorted(taken[0], taken[0])
    share = (np.arange(taken.shape[1]) - starts) / np.bincount(taken[0])[taken[0]]
    parts = [taken[:, share >= 0.2], taken[:, share < 0.1], taken[:, (share >= 0.1) & (share < 0.2)]]
    seen = np.zeros((data.user_count, len(data.catalog)), dtype=bool)
    seen[taken[0], taken[1]] = True
    train_, valid, test = (_pairs(part, parts[0], seen, draw) for part in parts)
    empty = Impressions(*(np.zeros(0, dtype=np.int64) for _ in range(5)))  # type: ignore[arg-type]
    made = replace(data, train=train_, valid=valid, test=test, impressions=empty)
    return Split(parts[0], parts[1], parts[2], made)


def _pairs(edges: IntArray, known: IntArray, seen: npt.NDArray[np.bool_], draw: np.random.Generator) -> Pairs:
    by_user = {user: known[1, known[0] == user] for user in np.unique(edges[0]).tolist()}
    histories = np.full((edges.shape[1], HISTORY), PAD, dtype=np.int64)
    unclicked = draw.integers(0, seen.shape[1], size=edges.shape[1])
    while (again := seen[edges[0], unclicked]).any():
        unclicked[again] = draw.integers(0, seen.shape[1], size=int(again.sum()))
    for row, (user, item) in enumerate(edges.T.tolist()):
        others = by_user[user][by_user[user] != item]
        past = draw.permutation(others)[:HISTORY]
        histories[row, HISTORY - len(past) :] = past
    return Pairs(edges[0].copy(), histories, edges[1].copy(), unclicked)


def ours(name: str, split: Split, epochs: int | None = None) -> tuple[Scores, float]:
    """The scores `[U, N]` of our model of that name after so many `epochs` (None: its own number), and its seconds. A
    user's history is the longest of the test."""
    started = time.process_time()
    plugin = find_model(name)
    model = build_model(plugin, split.data, 16, plugin.value.hyperparameters(), 0)
    if epochs is not None:
        model.recipe = replace(model.recipe, epochs=epochs)
    train(model, Defense(), split.data, Randomness(0, "training"))
    seconds = time.process_time() - started
    items = torch.arange(len(split.data.catalog))
    scores = np.full((split.data.user_count, len(items)), -np.inf)
    users, first = np.unique(split.data.test.users, return_index=True)
    for start in range(0, len(users), 32):
        rows = first[start : start + 32]
        block = Users(torch.from_numpy(split.data.test.users[rows]), torch.from_numpy(split.data.test.histories[rows]))
        place = torch.arange(len(rows)).repeat_interleave(len(items))
        shown = items.repeat(len(rows))
        batch = Batch(block, place, shown, torch.zeros(len(shown)), torch.arange(len(shown)))
        with torch.no_grad():
            scores[users[start : start + 32]] = model_scores(model, batch).view(len(rows), -1).double().numpy()
    return scores, seconds


def as_good(name: str, split: Split, wanted: Quality) -> Quality | None:
    """Our model with the fewest epochs whose intervals do not lie below what is `wanted`; None where no number does."""
    for epochs in range(1, find_model(name).value.recipe.epochs + 1):
        found = quality(*ours(name, split, epochs), split)
        if found.ndcg.high >= wanted.ndcg.value and found.auc.high >= wanted.auc.value:
            return found
    return None


def quality(scores: Scores, seconds: float, split: Split) -> Quality:
    """Both measures with bootstrap intervals over users."""
    pairs = split.data.test
    right, wrong = scores[pairs.users, pairs.clicked], scores[pairs.users, pairs.unclicked]
    floor = scores[np.isfinite(scores)].min() - 1
    right, wrong = np.maximum(right, floor), np.maximum(wrong, floor)
    users = np.unique(pairs.users)
    each = np.array([_auc_of(right[pairs.users == user], wrong[pairs.users == user]) for user in users])
    masked = np.maximum(scores, floor)
    masked[split.train[0], split.train[1]] = floor - 1
    masked[split.valid[0], split.valid[1]] = floor - 1
    wanted = np.zeros(scores.shape, dtype=bool)
    wanted[split.test[0], split.test[1]] = True
    offsets = offsets_of(np.full(len(users), scores.shape[1]))
    ndcg = Ranked.of(wanted[users].reshape(-1), masked[users].reshape(-1), offsets).ndcg_each(10)
    return Quality(_mean(each), _mean(ndcg), seconds)


def _auc_of(right: Scores, wrong: Scores) -> float:
    labels = np.concatenate([np.ones(len(right), dtype=bool), np.zeros(len(wrong), dtype=bool)])
    return float(auc(labels, np.concatenate([right, wrong])))


def _mean(each: Scores) -> Estimate:
    return estimates([float(each.mean())], resampled_means(each[None, :, None]))[0]
