"""Families of models and defenses, for filters and figures of many rows.

No value, rank or test depends on a family. The names are those of the plugins of this distribution; plugins of other
distributions are in the family "other", also under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal, TypeAlias, get_args

from recgauntlet.records.references import PluginRef

ModelFamily: TypeAlias = Literal["text", "collaborative", "sequential and hybrid", "other"]
DefenseFamily: TypeAlias = Literal[
    "none",
    "adversarial training",
    "cost levers",
    "smoothing and augmentation",
    "inference time",
    "data side",
    "other",
]
MODEL_FAMILIES: tuple[ModelFamily, ...] = get_args(ModelFamily)
DEFENSE_FAMILIES: tuple[DefenseFamily, ...] = get_args(DefenseFamily)
OURS = "recgauntlet"
"""The distribution whose plugins the two mappings name."""

MODELS: Mapping[str, ModelFamily] = {
    "bert": "text",
    "gpt": "text",
    "naml": "text",
    "nrms": "text",
    "two-tower": "text",
    "bpr-mf": "collaborative",
    "lightgcn": "collaborative",
    "bert4rec": "sequential and hybrid",
    "din": "sequential and hybrid",
    "sasrec": "sequential and hybrid",
    "sasrec-text": "sequential and hybrid",
}
DEFENSES: Mapping[str, DefenseFamily] = {
    "standard": "none",
    "apr": "adversarial training",
    "awp": "adversarial training",
    "discrete": "adversarial training",
    "ensemble": "adversarial training",
    "fgm": "adversarial training",
    "fgsm": "adversarial training",
    "free": "adversarial training",
    "freelb": "adversarial training",
    "mart": "adversarial training",
    "pgd": "adversarial training",
    "smart": "adversarial training",
    "trades": "adversarial training",
    "vat": "adversarial training",
    "gradient-scaling": "cost levers",
    "intensity-control": "cost levers",
    "layer-wise": "cost levers",
    "augmentation": "smoothing and augmentation",
    "history-dropout": "smoothing and augmentation",
    "label-smoothing": "smoothing and augmentation",
    "mixup": "smoothing and augmentation",
    "rdrop": "smoothing and augmentation",
    "word-dropout": "smoothing and augmentation",
    "median-user": "inference time",
    "randomized-smoothing": "inference time",
    "spell-repair": "inference time",
    "unicode-normalize": "inference time",
    "loss-truncation": "data side",
    "suspicious-users": "data side",
}


def model_family(model: PluginRef) -> ModelFamily:
    """The family of a recommender."""
    return MODELS.get(model.name, "other") if model.distribution == OURS else "other"


def defense_family(defense: PluginRef) -> DefenseFamily:
    """The family of a defense."""
    return DEFENSES.get(defense.name, "other") if defense.distribution == OURS else "other"
