"""BPR-MF and LightGCN beside the same models of Cornac and RecBole, where every user is known from training."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from bench_collaborative import Split, as_good, ours, quality, random_split
from bench_figures import Book
from peer_process import needs_python, run_peer

from recgauntlet import CellSpec, SourceOptions
from recgauntlet.core import files as paths
from recgauntlet.core.errors import DataError
from recgauntlet.data.prepare import prepare
from recgauntlet.training.build import open_cell

CORNAC, RECBOLE = "RECGAUNTLET_BENCH_CORNAC", "RECGAUNTLET_BENCH_RECBOLE"


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


@pytest.mark.parametrize(
    ("name", "peer", "title", "python"),
    [
        pytest.param("bpr-mf", "cornac", "Cornac's BPR", CORNAC, marks=needs_python(CORNAC)),
        pytest.param("bpr-mf", "BPR", "RecBole's BPR", RECBOLE, marks=needs_python(RECBOLE)),
        pytest.param("lightgcn", "LightGCN", "RecBole's LightGCN", RECBOLE, marks=needs_python(RECBOLE)),
    ],
)
def test_clean_quality_and_seconds_beside_peers(
    name: str, peer: str, title: str, python: str, split: Split, tmp_path: Path, book: Book
) -> None:
    counts = np.array([split.data.user_count, len(split.data.catalog)])
    given = {"edges": split.train, "valid": split.valid, "counts": counts}
    found = run_peer(python, "collaborative_peers.py", peer, given, tmp_path)
    torch.set_num_threads(1)
    own, other = quality(*ours(name, split), split), quality(found["scores"], float(found["seconds"]), split)
    assert own.ndcg.high >= other.ndcg.low, f"{name} is worse than {title} by more than chance"
    assert own.auc.high >= other.auc.low, f"{name} is worse than {title} by more than chance"
    both = [
        f"{label} {it.ndcg.value:.3f} [{it.ndcg.low:.3f}, {it.ndcg.high:.3f}], AUC {it.auc.value:.3f} in "
        f"{it.seconds:.0f} s"
        for label, it in (("ours", own), (title, other))
    ]
    book("collaborative", f"nDCG@10, `{name}` ÷ {title}", own.ndcg.value / other.ndcg.value, "; ".join(both))
    soon = as_good(name, split, other)
    ratio = 0.0 if soon is None else other.seconds / soon.seconds
    detail = "not reached" if soon is None else f"{soon.ndcg.value:.3f}, AUC {soon.auc.value:.3f}, {soon.seconds:.0f} s"
    book("collaborative", f"seconds to the peer's values, {title} ÷ `{name}`", ratio, detail, at_least=1)
