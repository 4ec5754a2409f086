from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tiny_wordnet import tiny_synonyms as tiny_synonyms

from recgauntlet.core.card import TaskCard
from recgauntlet.core.dataset import IMPRESSIONS, INTERACTIONS, ITEMS, Tables
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.cleaning import table_of

DAY = 86_400


def card_content(**track: Any) -> dict[str, Any]:
    """The content of a small card; `track` overrides fields of its standard track."""
    standard = {
        "source": {"name": "toys", "url": "", "licence": "CC0", "redistributable": True, "citation": ""},
        "fingerprint": "",
        "split": {"valid_from": "0.6", "test_from": "0.8"},
        "negatives": {"rule": "uniform-unseen", "train_per_click": 2, "eval_per_click": 5},
        "history_length": 4,
        "token_length": 8,
        "train_pairs": 60,
        "valid_pairs": 20,
        "test_pairs": 10,
        "test_impressions": 12,
        **track,
    }
    prose = {"title": "t", "question": "q", "description": "d", "clicked": "took"}
    return {"id": "toys", "version": 1, **prose, "metrics": ["auc"], "tracks": {"standard": standard}, "threats": []}


@pytest.fixture
def make_card() -> Callable[..., TaskCard]:
    return lambda **track: TaskCard.model_validate(card_content(**track))


def toy_rows(users: int = 30, items: int = 40, takes: int = 12, seed: int = 0) -> list[tuple[str, str, int]]:
    """Interactions in which several items share a second, and some are taken twice."""
    rng = np.random.default_rng(seed)
    rows = []
    for user in range(users):
        for _ in range(takes):
            time = int(rng.integers(0, 20)) * DAY
            rows.append((f"u{user}", f"i{rng.integers(0, items)}", time))
    return rows


@pytest.fixture
def toys() -> Tables:
    items = [(f"i{n}", f"toy number {n}", "toys") for n in range(40)]
    return Tables(table_of(items, ITEMS), interactions=table_of(toy_rows(), INTERACTIONS))


@pytest.fixture
def shows() -> Tables:
    """Impressions of a week, a few of them without a click or without an unclicked candidate."""
    rng = np.random.default_rng(1)
    items = [(f"i{n}", f"toy number {n}", "toys") for n in range(40)]
    rows = []
    for number in range(200):
        picked = [f"i{n}" for n in rng.permutation(40)]
        size = int(rng.integers(1, 7))
        clicked = [bool(mark) for mark in rng.integers(0, 2, size=size)]
        history = picked[20 : 20 + int(rng.integers(1, 8))]
        rows.append((str(number), f"u{rng.integers(0, 20)}", number * DAY // 20, history, picked[:size], clicked))
    return Tables(table_of(items, ITEMS), impressions=table_of(rows, IMPRESSIONS))


@pytest.fixture
def options(tmp_path: Path) -> SourceOptions:
    return SourceOptions(directory=None, cache=tmp_path / "cache", offline=True)
