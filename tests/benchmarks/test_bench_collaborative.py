"""BPR-MF and LightGCN beside the same models of Cornac and RecBole, where every user is known from training."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from bench_collaborative import PEERS, Split, as_good, ours, peers, quality, random_split
from bench_figures import Figure

from recgauntlet import CellSpec, SourceOptions
from recgauntlet.core import files as paths
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.data.prepare import prepare
from recgauntlet.testing.tiny import tiny_data
from recgauntlet.training.build import open_cell

RIVALS = {"bpr-mf": ("cornac", "BPR"), "lightgcn": ("LightGCN",)}
WORDS = {"cornac": "Cornac's BPR", "BPR": "RecBole's BPR", "LightGCN": "RecBole's LightGCN"}


@pytest.fixture(scope="module")
def split() -> Split:
    source = SourceOptions(None, paths.cache_root(), offline=True)
    task = open_cell(CellSpec("video-watch", "standard", "bpr-mf", "standard", 0, Path(), source)).task
    try:
        data = prepare(task, "standard", source)
        table = task.load(task.card, "standard", source).interactions
    except DataError as error:
        pytest.skip(f"video-watch is not there: {error}")
    assert table is not None
    place = {item: n for n, item in enumerate(data.catalog.ids)}
    users = np.unique(np.array(table["user"].to_pylist()), return_inverse=True)[1]
    items = np.array([place.get(item, -1) for item in table["item"].to_pylist()])
    return random_split(data, np.stack([users, items])[:, items >= 0])


def test_the_split_keeps_its_parts_apart_and_no_unclicked_item_was_taken() -> None:
    split = small_split()
    parts = [set(map(tuple, part.T.tolist())) for part in (split.train, split.valid, split.test)]
    assert not parts[0] & parts[1]
    assert not (parts[0] | parts[1]) & parts[2]
    taken = set().union(*parts)
    for pairs in (split.data.train, split.data.valid, split.data.test):
        for user, history, clicked, unclicked in zip(
            pairs.users, pairs.histories, pairs.clicked, pairs.unclicked, strict=True
        ):
            assert (user, unclicked) not in taken
            assert all((user, item) in parts[0] and item != clicked for item in history[history >= 0])


def test_perfect_scores_are_worth_1_and_reversed_ones_0() -> None:
    split = small_split()
    scores = np.zeros((split.data.user_count, len(split.data.catalog)))
    scores[split.test[0], split.test[1]] = 1.0
    best, worst = quality(scores, 0.0, split), quality(-scores, 0.0, split)
    assert (best.auc.value, best.ndcg.value) == (1.0, 1.0)
    assert (worst.auc.value, worst.ndcg.value) == (0.0, 0.0)


def small_split() -> Split:
    data: TaskData = tiny_data()
    taken = np.stack([np.repeat(np.arange(5), 12), np.tile(np.arange(12), 5) * 3 % 40])
    return random_split(data, taken)


@pytest.mark.measures
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("name", list(RIVALS))
def test_clean_quality_beside_peers(name: str, split: Split, tmp_path: Path, book: Callable[[Figure], None]) -> None:
    rivals = {peer: peers(peer, split, tmp_path) for peer in RIVALS[name]}
    torch.set_num_threads(1)
    own = quality(*ours(name, split), split)
    for peer, found in rivals.items():
        title, subject = f"nDCG@10 of {name} over that of {WORDS[peer]}", "MovieLens-100K, random split by user"
        if found is None:
            book(Figure(title, None, f"{PEERS[peer]} names no Python with the peer", subject=subject))
            continue
        other = quality(*found, split)
        assert own.ndcg.high >= other.ndcg.low, f"{name} is worse than {WORDS[peer]} by more than chance"
        assert own.auc.high >= other.auc.low, f"{name} is worse than {WORDS[peer]} by more than chance"
        said = [
            f"{label} AUC {it.auc.value:.4f} [{it.auc.low:.4f}, {it.auc.high:.4f}], nDCG@10 {it.ndcg.value:.4f} "
            f"[{it.ndcg.low:.4f}, {it.ndcg.high:.4f}], {it.seconds:.0f} s"
            for label, it in (("ours", own), (WORDS[peer], other))
        ]
        book(Figure(title, own.ndcg.value / other.ndcg.value, "; ".join(said), subject=subject))
        soon = as_good(name, split, other)
        ratio = 0.0 if soon is None else other.seconds / soon.seconds
        said = ["not reached"] if soon is None else [f"ours nDCG@10 {soon.ndcg.value:.4f}, AUC {soon.auc.value:.4f}"]
        said += [f"{it.seconds:.0f} s" for it in (soon, other) if it is not None]
        title = f"seconds of {WORDS[peer]} over those of {name} until its intervals reach the peer's values"
        book(Figure(title, ratio, ", ".join(said), at_least=1, subject=subject))
