"""A task of the user's own, small enough for a cell of a few seconds: what the tests of cells and sweeps run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from toy_recommender import TOPICS

from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions

ITEMS, USERS, TAKES = 40, 60, 14
CARD = """\
id = "tiny"
version = 1
title = "Will this reader take this book?"
question = "Given what a reader took, will they take this?"
description = "Invented."
clicked = "took"
metrics = ["accuracy", "auc", "gauc", "mrr", "ndcg@5", "ndcg@10"]

[tracks.standard]
fingerprint = ""
history_length = 6
token_length = 10
train_pairs = 200
valid_pairs = 30
test_pairs = 20
test_impressions = 10
split = { valid_from = "0.7", test_from = "0.85" }
negatives = { rule = "uniform-unseen", train_per_click = 1, eval_per_click = 5 }

[tracks.standard.source]
name = "Invented"
url = "https://example.org/"
licence = "CC0"
redistributable = true
citation = "@misc{invented, title = {Invented}}"

[[threats]]
id = "history-perturbation"
surface = "history"
goal = "flip"
ranked = true
operations = ["replace", "insert", "delete"]
edits = { low = 1, standard = 1, high = 2 }
window = 6
min_cosine = 0.1
queries = { low = 10, standard = 20, high = 30 }
source = "ours"

[[threats]]
id = "title-rewrite"
surface = "candidate-text"
goal = "flip"
ranked = true
operations = ["insert-word", "replace-word"]
words = { low = 1, standard = 1, high = 2 }
synonym_cosine = 0.3
queries = { low = 10, standard = 20, high = 30 }
source = "ours"

[[threats]]
id = "embedding"
surface = "embedding"
goal = "flip"
ranked = false
norm = "l2"
radius = { low = 0.1, standard = 0.5, high = 1.0 }
queries = { low = 10, standard = 10, high = 10 }
source = "ours"
"""


def write_task(folder: Path) -> Path:
    """The card and its two tables in `folder`; the card's path. Readers like one topic in four."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    topics = sorted(TOPICS)
    items = ["id,text,category"]
    for n in range(ITEMS):
        words = rng.choice(TOPICS[topics[n % len(topics)]].split(), size=5, replace=False)
        items.append(f"i{n},{' '.join(words)} {n},{topics[n % len(topics)]}")
    takes = ["user,item,time"]
    for user in range(USERS):
        liked = [n for n in range(ITEMS) if n % len(topics) == user % len(topics)]
        others = [n for n in range(ITEMS) if n not in liked]
        chosen = [*rng.permutation(liked)[:9], *rng.permutation(others)[: TAKES - 9]]
        times = 1_600_000_000 + rng.integers(0, 10_000_000, size=TAKES)
        takes += [f"u{user},i{item},{time}" for item, time in zip(chosen, times, strict=True)]
    (folder / "items.csv").write_text("\n".join(items) + "\n", encoding="utf-8")
    (folder / "interactions.csv").write_text("\n".join(takes) + "\n", encoding="utf-8")
    card = folder / "tiny.toml"
    card.write_text(CARD, encoding="utf-8")
    return card


def make_spec(card: Path, out: Path, cache: Path, defense: str = "standard", seed: int = 0) -> CellSpec:
    """A cell of the tiny task on the CPU."""
    return CellSpec(
        task=str(card),
        track="standard",
        model="nrms",
        defense=defense,
        seed=seed,
        out=out,
        source=SourceOptions(directory=None, cache=cache, offline=True),
        device="cpu",
        model_options=(("attention_size", 8), ("head_size", 4), ("heads", 2), ("word_size", 8)),
    )
