"""Small untrained models as they are exported and served, with their card."""

from __future__ import annotations

from blank_checkpoint import INFO

from recgauntlet.core.card import Source
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender, find_model
from recgauntlet.serving.card import ModelCard, model_card
from recgauntlet.serving.export import Subject
from recgauntlet.testing.tiny import HISTORY, ITEMS, TOKENS, tiny_data
from recgauntlet.training.build import build_model

SOURCE = Source(name="Invented", url="https://example.org", licence="none", redistributable=False, citation="")


def built(name: str, data: TaskData | None = None) -> Recommender:
    """An included model over the tiny task, with its first weights."""
    plugin = find_model(name)
    model = build_model(plugin, data or tiny_data(), TOKENS, dict(plugin.value.hyperparameters()), 0)
    return model.eval().requires_grad_(False)


def card_of(name: str) -> ModelCard:
    """The card of a model without a row."""
    info = INFO.model_copy(update={"model": name})
    return model_card(info, "0" * 64, SOURCE, items=ITEMS, history_length=HISTORY, row=None)


def subject_of(model: Recommender, data: TaskData | None = None) -> Subject:
    """The model as `export` takes it; its weights are not a checkpoint, and are rebuilt as the model itself."""
    return Subject(model, data or tiny_data(), card_of(type(model).__name__), b"weights", lambda _: model)
