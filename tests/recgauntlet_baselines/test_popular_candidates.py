"""A recommender that knows popularity alone: far above chance on uniform candidates, and not on popular ones."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import torch

from recgauntlet.core.card import TrackCard
from recgauntlet.core.dataset import INTERACTIONS, ITEMS, TrainingPeriod
from recgauntlet.core.recommender import Origin
from recgauntlet.data.cleaning import table_of
from recgauntlet.data.examples import from_interactions
from recgauntlet.evaluation.setup import measure_clean
from recgauntlet.records.ranking_quality import ranking_quality
from recgauntlet_baselines.models.most_popular import MostPopular

TRACK: dict[str, Any] = {
    "source": {"name": "shop", "url": "", "licence": "CC0", "redistributable": True, "citation": ""},
    "fingerprint": "",
    "split": {"valid_from": "0.7", "test_from": "0.8"},
    "negatives": {"rule": "uniform-unseen", "train_per_click": 1, "eval_per_click": 9, "popular_per_click": 9},
    "history_length": 10,
    "token_length": 8,
    "train_pairs": 2000,
    "valid_pairs": 50,
    "test_pairs": 50,
    "test_impressions": 400,
}


def test_popularity_alone_is_no_answer_among_popular_candidates() -> None:
    rng = np.random.default_rng(0)
    chances = 1 / (10 + np.arange(200.0))
    rows = [
        (f"u{user:03}", f"i{item:03}", int(time))
        for user in range(400)
        for item, time in zip(
            rng.choice(200, size=10, replace=False, p=chances / chances.sum()), rng.permutation(1000)[:10], strict=True
        )
    ]
    items = table_of([(f"i{item:03}", f"thing {item}", "things") for item in range(200)], ITEMS)
    card = TrackCard.model_validate(TRACK)
    data = from_interactions(items, table_of(rows, INTERACTIONS), card, "f" * 64, "shop")
    model = MostPopular.build(Origin(data.catalog, 8, {}, TrainingPeriod(data.train, data.user_count)), 0)
    labels = torch.tensor([1.0, 0.0] * len(data.test))
    trial = SimpleNamespace(model=model, batch=SimpleNamespace(labels=labels), scores=labels, samples=1)
    clean = measure_clean(cast(Any, trial), data).to_record()
    uniform, popular = (ranking_quality(clean, popular=which) for which in (False, True))
    # Chance is an AUC of 0.5. The standard deviation of a mean over 400 lists is below 0.02.
    assert uniform.impression_auc > 0.7
    assert popular.impression_auc < 0.55
    assert uniform.ndcg10 > popular.ndcg10 + 0.1
