"""Hypothesis strategies for worlds, batches and threats as odd as their rules allow."""

from __future__ import annotations

import torch
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TextThreat, TierValues
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.types import PAD
from recgauntlet.threats.knowledge import AttackerKnowledge

_LINES = """
boat Boat BOAT boat, ship ships queen's king queen 2nd 12 (cars) car cars Zorblat U.S. iPhone wins! $5 é naïve 東京
İstanbul ß - _ ... a the the and \u200b x² Ⅷ ½ don't ﬁne dinner lunch antidisestablishmentarianismantidisestablishment
"""
ODD = tuple(_LINES.split())


def repeatable(examples: int) -> settings:
    """The same examples in every run, on however slow a machine."""
    return settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )


WORDS = st.one_of(st.sampled_from(ODD), st.text(st.characters(exclude_categories=["Z", "C"]), min_size=1, max_size=4))
TEXTS = st.one_of(
    st.sampled_from(["", " ", "!!!", "7", "the"]),
    st.lists(WORDS, min_size=1, max_size=9).flatmap(
        lambda words: st.sampled_from([" ", "  ", "\t", "\u00a0"]).map(lambda space: space.join(words))
    ),
)


def caps(values: st.SearchStrategy[float]) -> st.SearchStrategy[TierValues]:
    """Three caps, rising."""
    three = st.tuples(values, values, values).map(sorted)
    return three.map(lambda three: TierValues(low=three[0], standard=three[1], high=three[2]))


def whole(most: int, least: int = 0) -> st.SearchStrategy[TierValues]:
    """Three whole caps from `least` to `most`."""
    return caps(st.integers(least, most).map(float))


@st.composite
def text_threats(draw: st.DrawFn) -> TextThreat:
    operations = draw(
        st.lists(st.sampled_from(["insert-word", "replace-word", "replace-character"]), min_size=1, unique=True)
    )
    return TextThreat.model_validate(
        {
            "id": "text",
            "goal": "flip",
            "ranked": True,
            "source": "ours",
            "surface": "candidate-text",
            "operations": tuple(operations),
            "queries": draw(whole(40, least=1)),
            "words": draw(whole(4)),
            "nearest_items": draw(st.none() | whole(8)) if "insert-word" in operations else None,
            "characters": draw(whole(6)) if "replace-character" in operations else None,
            "max_length": draw(st.sampled_from([1, 12, 40, 200])),
            "max_repeats": draw(st.sampled_from([None, 1, 2])),
            "banned_characters": draw(st.sampled_from(["", "!$?_", "-.\u200b", "ea"])),
            "max_changed_share": draw(st.sampled_from([None, 0.01, 0.3, 0.58, 1.0])),
            "keep_numbers": draw(st.booleans()),
            "keep_names": draw(st.booleans()),
            "synonym_cosine": draw(st.sampled_from([0.0, 0.3, 0.6, 1.0])),
        }
    )


@st.composite
def history_threats(draw: st.DrawFn) -> HistoryThreat:
    return HistoryThreat.model_validate(
        {
            "id": "history",
            "goal": "flip",
            "ranked": True,
            "source": "ours",
            "surface": "history",
            "operations": tuple(
                draw(st.lists(st.sampled_from(["replace", "insert", "delete"]), min_size=1, unique=True))
            ),
            "queries": draw(whole(40, least=1)),
            "edits": draw(whole(5)),
            "window": draw(st.integers(1, 7)),
            "min_cosine": draw(st.sampled_from([-1.0, -0.1, 0.0, 0.3, 0.9, 1.0])),
        }
    )


@st.composite
def embedding_threats(draw: st.DrawFn) -> EmbeddingThreat:
    return EmbeddingThreat.model_validate(
        {
            "id": "embedding",
            "goal": "flip",
            "ranked": False,
            "source": "ours",
            "surface": "embedding",
            "norm": draw(st.sampled_from(["l2", "linf"])),
            "queries": draw(whole(40, least=1)),
            "radius": draw(caps(st.sampled_from([0.0, 1e-6, 0.1, 0.5, 3.0]))),
        }
    )


@st.composite
def worlds(draw: st.DrawFn) -> AttackerKnowledge:
    """A few items with odd texts; their vectors are drawn, some of them equal."""
    texts = draw(st.lists(TEXTS, min_size=2, max_size=7))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    points = torch.randn(max(2, len(texts) - 1), 384, generator=generator) + draw(st.sampled_from([0.0, 1.0]))
    vectors = torch.nn.functional.normalize(points[torch.arange(len(texts)) % len(points)], dim=1)
    return AttackerKnowledge(
        Catalog(tuple(f"id{n}" for n in range(len(texts))), tuple(texts), ("",) * len(texts)), vectors
    )


@st.composite
def batches(draw: st.DrawFn, world: AttackerKnowledge) -> Batch:
    """Five examples of three users, whose histories have between one item and all places filled."""
    users, size, count = 3, 5, len(world.catalog)
    width = draw(st.integers(1, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    histories = torch.randint(0, count, (users, width), generator=generator)
    for user in range(users):
        histories[user, : draw(st.integers(0, width - 1))] = PAD
    return Batch(
        users=Users(torch.arange(users), histories),
        rows=torch.randint(0, users, (size,), generator=generator),
        items=torch.randint(0, count, (size,), generator=generator),
        labels=torch.randint(0, 2, (size,), generator=generator).float(),
        example_ids=torch.arange(size) + draw(st.integers(0, 10**6)),
    )
