"""Our sequential recommenders beside peers': one split, the same test examples, processor seconds.

Our seconds hold building and validation, a peer's its training steps alone. Peers come from an environment made from
`requirements-peers-sequential.txt`.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from bench_figures import Book
from peer_process import needs_python, run_peer

from recgauntlet import CellSpec, SourceOptions
from recgauntlet.core import files as paths
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.scoring import score_batch
from recgauntlet.data.batches import impressions_to_batch, pairs_to_batch
from recgauntlet.data.prepare import prepare
from recgauntlet.metrics.ranking import Ranked, auc
from recgauntlet.training.build import OpenCell, open_cell, train_cell

PEERS = {"sasrec": ("recbole-sasrec", "RecBole's", " SASRec"), "din": ("rechub-din", "torch-rechub's", " DIN")}
"""By our model: the peer's name in `sequential_peers.py`, its library and its model."""
DRAWS = 2000
PYTHON = "RECGAUNTLET_BENCH_SEQUENTIAL"


@needs_python(PYTHON)
@pytest.mark.parametrize("name", PEERS)
def test_clean_quality_and_seconds_beside_peers(name: str, tmp_path: Path, book: Book) -> None:
    peer, library, model = PEERS[name]
    source = SourceOptions(directory=None, cache=paths.cache_root(), offline=True)
    cell = open_cell(CellSpec("video-watch", "standard", name, "standard", 0, tmp_path, source, "cpu"))
    try:
        data = prepare(cell.task, "standard", source)
    except DataError as error:
        pytest.skip(f"video-watch is not there: {error}")
    mine = ours(cell, data)
    seconds = mine["curve"][-1, 0]
    limit = 10 * seconds
    found = run_peer(PYTHON, "sequential_peers.py", peer, arrays(data), tmp_path, str(limit))
    (own, own_drawn), (other, other_drawn) = (qualities(data, side["pairs"], side["lists"]) for side in (mine, found))
    for column, quality in enumerate(("AUC", "nDCG@10")):
        low, high = np.quantile(other_drawn[:, column], [0.025, 0.975])
        between = np.quantile(own_drawn[:, column] - other_drawn[:, column], [0.025, 0.975])
        detail = (
            f"{own[column]:.3f} in {seconds:.0f} s, peer {other[column]:.3f} [{low:.3f}, {high:.3f}] in "
            f"{found['curve'][-1, 0]:.0f} s of at most {limit:.0f}; difference [{between[0]:.3f}, {between[1]:.3f}]"
        )
        least = float(low - other[column])
        title = f"{quality}, `{name}` minus {library}"
        book("sequential", title, float(own[column] - other[column]), detail, at_least=least)
    best = found["curve"][found["curve"][:, 1].argmax()]
    reached = mine["curve"][mine["curve"][:, 1] >= best[1], 0]
    ratio = float(best[0] / reached[0]) if len(reached) else 0.0
    detail = f"{best[1]:.3f} in {best[0]:.0f} s against {f'{reached[0]:.0f} s' if len(reached) else 'never'}"
    title = f"seconds to the peer's best validation AUC, {library}{model} ÷ `{name}`"
    book("sequential", title, ratio, detail, at_least=1.0)


def arrays(data: TaskData) -> dict[str, Any]:
    """What a peer learns from and is asked, as plain arrays."""
    kinds = np.unique(np.array(data.catalog.categories), return_inverse=True)[1]
    shown = {"items": np.int64(len(data.catalog)), "categories": kinds.astype(np.int64)}
    for name in ("users", "histories", "clicked", "unclicked"):
        shown[f"train_{name}"] = getattr(data.train, name)
    for name, pairs in (("valid", data.valid), ("pairs", data.test)):
        shown[f"{name}_histories"] = np.repeat(pairs.histories, 2, axis=0)
        shown[f"{name}_items"] = np.stack([pairs.clicked, pairs.unclicked], axis=1).reshape(-1)
    sizes = np.diff(data.impressions.offsets)
    shown["lists_histories"] = np.repeat(data.impressions.histories, sizes, axis=0)
    shown["lists_items"] = data.impressions.items
    return shown


def ours(cell: OpenCell, data: TaskData) -> dict[str, Any]:
    """Scores of the test pairs and of the impressions, and the validation AUC by processor seconds, `[E, 2]`."""
    torch.set_num_threads(1)
    started = time.process_time()
    model, trained = train_cell(cell, data, torch.device("cpu"), "fp32", lambda what, share: None)
    seconds = time.process_time() - started
    pairs = score_batch(model, pairs_to_batch(data.test, np.arange(len(data.test))))
    lists = score_batch(model, impressions_to_batch(data.impressions, np.arange(len(data.impressions))))
    curve = [(seconds * epoch.epoch / len(trained.epochs), epoch.valid_auc) for epoch in trained.epochs]
    return {"pairs": pairs.numpy(), "lists": lists.numpy(), "curve": np.array(curve)}


def qualities(data: TaskData, pairs: Any, lists: Any) -> tuple[Any, Any]:
    """The AUC on the test pairs and nDCG@10 on the impressions, `[2]`, and both for `DRAWS` resamplings, `[R, 2]`; the
    same ones for every model."""
    labels = np.tile([True, False], len(data.test))
    each = Ranked.of(data.impressions.labels, lists, data.impressions.offsets).ndcg_each(10)
    rng = np.random.default_rng(0)
    drawn = np.empty((DRAWS, 2))
    for draw in drawn:
        rows = rng.integers(len(data.test), size=len(data.test))
        picked = np.stack([2 * rows, 2 * rows + 1], axis=1).reshape(-1)
        draw[:] = auc(labels, pairs[picked]), each[rng.integers(len(each), size=len(each))].mean()
    return np.array([auc(labels, pairs), each.mean()]), drawn
