"""A tiny recommender with real, trained weights, and a task for it: what the attack tests attack."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
from recgauntlet.core.card import EmbeddingThreat, HistoryThreat, TextThreat, TierValues
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.recommender import Recommender, TrainingRecipe
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim

Run = Callable[..., tuple[Batch, Tensor]]

BUCKETS = 997
TOPICS = {
    "sea": "boat ship harbor sailor captain island beach coast wave fish anchor storm",
    "kitchen": "bread butter cheese kitchen oven cook dinner lunch soup salad plate spoon",
    "sport": "team coach player match goal season league victory football tennis race stadium",
    "music": "guitar piano song singer band concert album drum melody orchestra stage opera",
}
GLUE = ("the", "a", "of", "and", "in", "with", "for", "new")


def make_catalog(size: int = 80, seed: int = 0) -> Catalog:
    """Titles of 4 to 8 words of a topic and some glue; a few have numbers and names."""
    generator = np.random.default_rng(seed)
    names = list(TOPICS)
    texts, categories = [], []
    for n in range(size):
        topic = names[n % len(names)]
        words = list(generator.choice(TOPICS[topic].split(), size=generator.integers(3, 6), replace=False))
        words += list(generator.choice(GLUE, size=generator.integers(1, 4)))
        generator.shuffle(words)
        if n % 5 == 0:
            words.insert(1, f"{n}th")
        if n % 7 == 0:
            words.insert(0, "Zorblat")
        texts.append(" ".join(map(str, words)))
        categories.append(topic)
    return Catalog(tuple(f"item{n}" for n in range(size)), tuple(texts), tuple(categories))


def make_batch(catalog: Catalog, users: int = 40, width: int = 8, seed: int = 1, first_id: int = 100) -> Batch:
    """Each user likes one topic and is shown an item of it (clicked) and one of another topic (not
    clicked)."""
    generator = np.random.default_rng(seed)
    topics = sorted(set(catalog.categories))
    of = {t: [i for i, c in enumerate(catalog.categories) if c == t] for t in topics}
    histories, items = [], []
    for _ in range(users):
        liked, other = generator.choice(topics, size=2, replace=False)
        length = int(generator.integers(2, width + 1))
        topics_of_past = [liked if generator.random() < 0.8 else other for _ in range(length)]
        past = [int(generator.choice(of[topic])) for topic in topics_of_past]
        histories.append([PAD] * (width - length) + past)
        items += [int(generator.choice(of[liked])), int(generator.choice(of[other]))]
    count = len(items)
    return Batch(
        users=Users(torch.arange(users), torch.tensor(histories)),
        rows=torch.arange(count) // 2,
        items=torch.tensor(items),
        labels=1.0 - torch.arange(count) % 2,
        example_ids=torch.arange(first_id, first_id + count),
    )


class ToyRecommender(Recommender):
    """Hashed words, a self-gated pooling into an item vector, the mean of those as the user, a dot
    product."""

    surfaces = frozenset({"candidate-text", "history", "embedding"})
    recipe = TrainingRecipe(epochs=1, batch_size=8, learning_rate=1e-2)

    def __init__(
        self, catalog: Catalog, *, token_length: int = 16, size: int = 12, gain: float = 1.0, bias: float = 0.0
    ) -> None:
        super().__init__(catalog, token_length=token_length)
        self.gain = gain
        self.words = nn.Embedding(BUCKETS, size)
        self.gate = nn.Linear(size, 1)
        self.out = nn.Linear(size, size)
        self.bias = nn.Parameter(torch.tensor(bias))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        words = [text.split()[: self.token_length] or [""] for text in texts]
        width = max((len(w) for w in words), default=1)
        ids = torch.zeros((len(words), width), dtype=torch.int64)
        mask = torch.zeros((len(words), width), dtype=torch.bool)
        for row, row_words in enumerate(words):
            hashed = [1 + zlib.crc32(w.lower().encode()) % (BUCKETS - 1) for w in row_words]
            ids[row, : len(hashed)] = torch.tensor(hashed)
            mask[row, : len(hashed)] = True
        places = torch.arange(width).expand(len(words), width)
        return Tokens(ids, mask, torch.where(mask, places, PAD))

    def pool(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        weights = self.gate(torch.tanh(embeddings)).squeeze(-1).masked_fill(~mask, -1e9).softmax(dim=1)
        return torch.tanh(self.out((weights.unsqueeze(-1) * embeddings).sum(dim=1)))

    def embed_history(self, users: Users) -> Tensor:
        items = users.histories.clamp(min=0)
        tokens = self.catalog_tokens().select(items.flatten())
        vectors = self.pool(self.words(tokens.ids), tokens.mask)
        return vectors.reshape(*items.shape, -1)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        vectors = self.embed_history(users) if embeddings is None else embeddings
        real = (users.histories != PAD).unsqueeze(-1).to(vectors.dtype)
        return UserState(((vectors * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0),))

    def embed(self, candidates: Candidates) -> Tensor:
        return self.words(candidates.tokens.ids)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        vectors = self.embed(candidates) if embeddings is None else embeddings
        pooled = self.pool(vectors, candidates.tokens.mask)
        return self.gain * ((user.tensors[0] * pooled).sum(dim=1) + self.bias)


class LinearRecommender(ToyRecommender):
    """A score that is linear in the candidate's embeddings: the mean of the real tokens."""

    def pool(self, embeddings: Tensor, mask: Tensor) -> Tensor:
        real = mask.unsqueeze(-1).to(embeddings.dtype)
        return (embeddings * real).sum(dim=1) / real.sum(dim=1).clamp(min=1.0)


def train(model: ToyRecommender, steps: int = 120) -> ToyRecommender:
    """Plain training on drawn batches; about a second."""
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-2)
    for step in range(steps):
        batch = make_batch(model.catalog, users=32, seed=1000 + step)
        state = model.encode_user(batch.users)
        scores = model.score(state.select(batch.rows), model.candidates(batch.items))
        loss = nn.functional.binary_cross_entropy_with_logits(scores, batch.labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return model.eval()


def make_victim(model: ToyRecommender, world: AttackerKnowledge, batch: Batch) -> Victim:
    return Victim(model, world, embedding_scale(model, world.catalog), batch)


def make_twin(model: ToyRecommender, world: AttackerKnowledge, batch: Batch) -> SurrogateInputs:
    """The model as the undefended twin of another, its inputs kept nowhere."""
    return SurrogateInputs(make_victim(model, world, batch), (), Randomness(0, "twin"))


def tiers(low: float, standard: float, high: float) -> TierValues:
    return TierValues(low=low, standard=standard, high=high)


def embedding_threat(norm: str = "l2", queries: float = 100) -> EmbeddingThreat:
    return EmbeddingThreat.model_validate(
        {
            "id": "embedding",
            "goal": "flip",
            "ranked": False,
            "source": "ours",
            "surface": "embedding",
            "norm": norm,
            "queries": tiers(queries, queries, queries),
            "radius": tiers(0.1, 0.25, 0.5),
        }
    )


def stuffing_threat(queries: float = 500) -> TextThreat:
    return TextThreat(
        id="title-stuffing",
        goal="promote",
        ranked=True,
        source="ours",
        surface="candidate-text",
        operations=("insert-word", "replace-word"),
        queries=tiers(100, queries, 2000),
        words=tiers(1, 2, 4),
        max_repeats=2,
        banned_characters="!$?_{}^¬¦",
    )


def near_stuffing_threat(queries: float = 500) -> TextThreat:
    """Words of near items are added, and none is replaced."""
    changes = {"operations": ("insert-word",), "nearest_items": tiers(2, 25, 1000)}
    return stuffing_threat(queries).model_copy(update=changes)


def headline_threat(queries: float = 200) -> TextThreat:
    return TextThreat(
        id="headline-tampering",
        goal="flip",
        ranked=True,
        source="ours",
        surface="candidate-text",
        operations=("replace-word", "replace-character"),
        queries=tiers(queries, queries, queries),
        words=tiers(1, 2, 4),
        characters=tiers(4, 8, 16),
        max_changed_share=0.3,
        keep_names=True,
    )


def history_threat(
    queries: float = 200, window: int = 50, min_cosine: float = 0.3, operations: Sequence[str] = ()
) -> HistoryThreat:
    return HistoryThreat.model_validate(
        {
            "id": "history-perturbation",
            "goal": "flip",
            "ranked": True,
            "source": "ours",
            "surface": "history",
            "operations": tuple(operations) or ("replace", "insert", "delete"),
            "queries": tiers(queries, queries, queries),
            "edits": tiers(1, 2, 5),
            "window": window,
            "min_cosine": min_cosine,
        }
    )
