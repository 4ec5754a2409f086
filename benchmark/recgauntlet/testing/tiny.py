"""A task of a few dozen examples in memory: what the conformance suite trains and attacks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from pydantic import TypeAdapter

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.core.dataset import Catalog, Impressions, Pairs, TaskData
from recgauntlet.core.recommender import TrainingRecipe
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.threats.knowledge import AttackerKnowledge

TOPICS = {
    "kitchen": "bread butter cheese kitchen oven cook dinner lunch soup salad plate spoon",
    "music": "guitar piano song singer band concert album drum melody orchestra stage opera",
    "sea": "boat ship harbor sailor captain island beach coast wave fish anchor storm",
    "sport": "team coach player match goal season league victory football tennis race stadium",
}
GLUE = ("the", "of", "in", "with", "new")
ITEMS, HISTORY, TOKENS = 40, 6, 10
TRAIN, VALID, TEST = 32, 12, 12
SHORT = TrainingRecipe(epochs=2, batch_size=8, learning_rate=1e-2, least_steps=4)
"""Eight steps: enough to see what a defense does to weights."""


def tiny_catalog(seed: int = 0, size: int = ITEMS) -> Catalog:
    """Titles of 2 to 7 words of a topic; a few have a number, a few a name."""
    topics = sorted(TOPICS)
    texts, categories = [], []
    for n in range(size):
        draw = Randomness(seed, "conformance/titles").numpy(n)
        topic = topics[n % len(topics)]
        words = list(draw.choice(TOPICS[topic].split(), size=int(draw.integers(2, 5)), replace=False))
        words += list(draw.choice(GLUE, size=int(draw.integers(0, 3)), replace=False))
        draw.shuffle(words)
        words += [str(n)] if n % 5 == 0 else []
        words = ["Zorblat", *words] if n % 7 == 0 else words
        texts.append(" ".join(map(str, words)))
        categories.append(topic)
    return Catalog(tuple(f"item{n}" for n in range(size)), tuple(texts), tuple(categories))


def tiny_pairs(catalog: Catalog, count: int, purpose: str, seed: int = 0) -> Pairs:
    """`count` users who like one topic: an item of it that was clicked, one of another that was not."""
    draw = Randomness(seed, f"conformance/{purpose}").numpy()
    topic_of = np.array([sorted(TOPICS).index(category) for category in catalog.categories])
    liked = draw.integers(0, len(TOPICS), size=count)
    other = (liked + draw.integers(1, len(TOPICS), size=count)) % len(TOPICS)
    histories = np.full((count, HISTORY), PAD, dtype=np.int64)
    clicked, unclicked = np.empty(count, dtype=np.int64), np.empty(count, dtype=np.int64)
    for row in range(count):
        own, foreign = np.flatnonzero(topic_of == liked[row]), np.flatnonzero(topic_of == other[row])
        length = int(draw.integers(1, HISTORY + 1))
        histories[row, HISTORY - length :] = draw.choice(own, size=length, replace=False)
        clicked[row], unclicked[row] = draw.choice(own), draw.choice(foreign)
    return Pairs(np.arange(count, dtype=np.int64), histories, clicked, unclicked)


def tiny_data(seed: int = 0, size: int = ITEMS) -> TaskData:
    """The data of a track, everything drawn from `seed`."""
    catalog = tiny_catalog(seed, size)
    test = tiny_pairs(catalog, TEST, "test", seed)
    return TaskData(
        fingerprint="0" * 64,
        catalog=catalog,
        user_count=max(TRAIN, VALID, TEST),
        train=tiny_pairs(catalog, TRAIN, "train", seed),
        valid=tiny_pairs(catalog, VALID, "valid", seed),
        test=test,
        impressions=_listed(test),
    )


def with_other_test(data: TaskData) -> TaskData:
    """The same data but for the test period, in which everything is the other way round."""
    test = replace(data.test, clicked=data.test.unclicked.copy(), unclicked=data.test.clicked.copy())
    return replace(data, test=test, impressions=_listed(test))


def _listed(pairs: Pairs) -> Impressions:
    items = np.stack([pairs.clicked, pairs.unclicked], axis=1).reshape(-1)
    labels = np.tile([True, False], len(pairs))
    return Impressions(pairs.users, pairs.histories, items, labels, np.arange(0, 2 * len(pairs) + 1, 2))


def whole(pairs: Pairs) -> Batch:
    """All pairs as one batch."""
    return pairs_to_batch(pairs, np.arange(len(pairs)))


def tiny_world(data: TaskData) -> AttackerKnowledge:
    """What an attacker may know: the catalog, what the frozen encoder says of it, and a few examples of the own."""
    references = whole(data.valid)
    return AttackerKnowledge(data.catalog, references=references.select(torch.arange(0, len(references), 2)))


def tiny_threats() -> tuple[Threat, ...]:
    """One threat of every form: both balls, words, words or characters, histories."""
    ball: dict[str, Any] = {"surface": "embedding", "radius": {"low": 0.1, "standard": 0.5, "high": 1.0}}
    text: dict[str, Any] = {"surface": "candidate-text", "words": {"low": 1, "standard": 2, "high": 3}}
    stuffing = {"operations": ["insert-word", "replace-word"], "max_length": 120, "max_repeats": 2}
    tampering = {"operations": ["replace-word", "replace-character"], "max_changed_share": 0.5, "keep_names": True}
    threats: dict[str, dict[str, Any]] = {
        "l2": ball | {"norm": "l2"},
        "linf": ball | {"norm": "linf"},
        "stuffing": text | stuffing | {"banned_characters": "!$?"},
        "tampering": text | tampering | {"synonym_cosine": 0.4, "characters": {"low": 2, "standard": 4, "high": 8}},
        "history": {
            "surface": "history",
            "operations": ["replace", "insert", "delete"],
            "edits": {"low": 1, "standard": 2, "high": 3},
            "window": 4,
            "min_cosine": 0.3,
        },
    }
    queries = {"low": 10, "standard": 30, "high": 60}
    shared = {"goal": "flip", "ranked": False, "source": "ours", "queries": queries}
    parse: TypeAdapter[Threat] = TypeAdapter(Threat)
    return tuple(parse.validate_python({"id": name, **own, **shared}) for name, own in threats.items())
