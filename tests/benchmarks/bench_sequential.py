"""Our sequential recommenders beside peers': one split, the same test examples, processor seconds.

Usage: `python tests/benchmarks/bench_sequential.py --peers PYTHON`, where PYTHON is the interpreter of an environment
made from `requirements-peers-sequential.txt`. It takes the films of video-watch (`recgauntlet data prepare
video-watch`). Our seconds hold building and validation, a peer's its training steps alone.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_figures import Figure, keep

from recgauntlet import CellSpec, SourceOptions
from recgauntlet.core import files as paths
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.scoring import score_batch
from recgauntlet.data.batches import impressions_to_batch, pairs_to_batch
from recgauntlet.data.prepare import prepare
from recgauntlet.metrics.ranking import auc, ndcg_each
from recgauntlet.training.build import open_cell, train_cell

TASK = "video-watch"
RACES = {"sasrec": "recbole-sasrec", "din": "rechub-din"}
PACKAGES = {"recbole-sasrec": ("recbole", "recbole"), "rechub-din": ("torch_rechub", "torch-rechub")}
DRAWS = 2000
HERE = Path(__file__).parent


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


def ours(name: str, data: TaskData, options: argparse.Namespace) -> dict[str, Any]:
    """Scores of the test pairs and of the impressions, and the validation AUC by processor seconds, `[E, 2]`."""
    source = SourceOptions(directory=None, cache=paths.cache_root(), offline=True)
    cell = open_cell(CellSpec(TASK, "standard", name, "standard", options.seed, HERE, source, "cpu"))
    torch.set_num_threads(1)
    started = time.process_time()
    model, trained = train_cell(cell, data, torch.device("cpu"), "fp32", lambda what, share: None)
    seconds = time.process_time() - started
    pairs = score_batch(model, pairs_to_batch(data.test, np.arange(len(data.test))))
    lists = score_batch(model, impressions_to_batch(data.impressions, np.arange(len(data.impressions))))
    curve = [(seconds * epoch.epoch / len(trained.epochs), epoch.valid_auc) for epoch in trained.epochs]
    return {"pairs": pairs.numpy(), "lists": lists.numpy(), "curve": np.array(curve)}


def theirs(name: str, shown: dict[str, Any], python: str, limit: float) -> Any:
    """What a peer's scores and validation curve are, trained by its own interpreter; None where it is not installed."""
    probe = subprocess.run([python, "-c", f"import {PACKAGES[name][0]}"], capture_output=True, check=False)
    if probe.returncode:
        return None
    with tempfile.TemporaryDirectory() as folder:
        given, found = Path(folder, "data.npz"), Path(folder, "scores.npz")
        np.savez(given, **shown)
        subprocess.run([python, HERE / "sequential_peers.py", name, given, found, str(limit)], check=True)
        return dict(np.load(found))


def qualities(data: TaskData, pairs: Any, lists: Any) -> tuple[Any, Any]:
    """The AUC on the test pairs and nDCG@10 on the impressions, `[2]`, and both for `DRAWS` resamplings, `[R, 2]`; the
    same ones for every model."""
    labels = np.tile([True, False], len(data.test))
    each = ndcg_each(data.impressions.labels, lists, data.impressions.offsets, 10)
    rng = np.random.default_rng(0)
    drawn = np.empty((DRAWS, 2))
    for draw in drawn:
        rows = rng.integers(len(data.test), size=len(data.test))
        picked = np.stack([2 * rows, 2 * rows + 1], axis=1).reshape(-1)
        draw[:] = auc(labels, pairs[picked]), each[rng.integers(len(each), size=len(each))].mean()
    return np.array([auc(labels, pairs), each.mean()]), drawn


def race(name: str, data: TaskData, options: argparse.Namespace) -> list[Figure]:
    """Our model `name` and its peer."""
    peer = RACES[name]
    subject = f"{name} on {TASK} (standard)"
    mine = ours(name, data, options)
    seconds = mine["curve"][-1, 0]
    limit = options.limit or 10 * seconds
    found = theirs(peer, arrays(data), options.peers, limit)
    titles = [f"{quality} of {name} less that of {peer}" for quality in ("AUC", "nDCG@10")]
    speed = f"seconds of {peer} to its best validation AUC over those of {name} to the same"
    if found is None:
        return [Figure(title, None, f"{PACKAGES[peer][1]} is not installed there") for title in (*titles, speed)]
    (own, own_drawn), (other, other_drawn) = (qualities(data, side["pairs"], side["lists"]) for side in (mine, found))
    figures = []
    for column, title in enumerate(titles):
        low, high = np.quantile(other_drawn[:, column], [0.025, 0.975])
        between = np.quantile(own_drawn[:, column] - other_drawn[:, column], [0.025, 0.975])
        detail = (
            f"{own[column]:.4f} in {seconds:.0f} s, {peer} {other[column]:.4f} [{low:.4f}, {high:.4f}] in "
            f"{found['curve'][-1, 0]:.0f} s of at most {limit:.0f}; difference [{between[0]:.4f}, {between[1]:.4f}]"
        )
        least = float(low - other[column])
        figures.append(Figure(title, float(own[column] - other[column]), detail, at_least=least, subject=subject))
    best = found["curve"][found["curve"][:, 1].argmax()]
    reached = mine["curve"][mine["curve"][:, 1] >= best[1], 0]
    ratio = float(best[0] / reached[0]) if len(reached) else 0.0
    detail = f"{best[1]:.4f} in {best[0]:.0f} s against {f'{reached[0]:.0f} s' if len(reached) else 'never'}"
    return [*figures, Figure(speed, ratio, detail, at_least=1.0, subject=subject)]


def main() -> None:
    """Race, print one line a figure, keep the figures."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--peers", default=sys.executable, help="the interpreter that has the peers")
    parser.add_argument("--limit", type=float, default=0.0, help="a peer's processor seconds [10 times ours]")
    parser.add_argument("--model", action="append", choices=list(RACES), help="race this one alone")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    source = SourceOptions(directory=None, cache=paths.cache_root(), offline=True)
    spec = CellSpec(TASK, "standard", "sasrec", "standard", options.seed, HERE, source, "cpu")
    data = prepare(open_cell(spec).task, "standard", source)
    for name in options.model or RACES:
        figures = race(name, data, options)
        keep(figures)
        print("\n".join(figure.line() for figure in figures), flush=True)


if __name__ == "__main__":
    main()
