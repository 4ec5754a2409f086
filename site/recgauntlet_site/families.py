"""Families of models and defenses, for filters and figures of many rows.

No value, rank or test depends on a family. The names are those of the plugins of this distribution; plugins of other
distributions are in the family "other", also under the same name.
"""

from __future__ import annotations

from collections.abc import Mapping

from recgauntlet.records.references import PluginRef

OURS = "recgauntlet"
"""The distribution whose plugins the two mappings name."""
OTHER = "other"

MODELS: Mapping[str, tuple[str, ...]] = {
    "text": ("bert", "gpt", "gpt-small", "llm-prompt", "naml", "nrms", "two-tower"),
    "collaborative": ("bpr-mf", "item-knn", "lightgcn", "most-popular", "partitioned-knn"),
    "sequential and hybrid": ("bert4rec", "din", "sasrec", "sasrec-text"),
    OTHER: (),
}
DEFENSES: Mapping[str, tuple[str, ...]] = {
    "none": ("standard",),
    "adversarial training": (
        *("apr", "awp", "discrete", "ensemble", "fgm", "fgsm", "free", "freelb"),
        *("mart", "mixed-items", "pgd", "smart", "trades", "vat", "vulnerability-aware"),
    ),
    "cost levers": ("gradient-scaling", "intensity-control", "layer-wise"),
    "smoothing and augmentation": (
        *(
            "augmentation",
            "dirichlet-neighborhood",
            "history-dropout",
            "knowledge-prior",
            "label-smoothing",
            "mixup",
            "rdrop",
            "word-dropout",
        ),
    ),
    "inference time": ("history-purifier", "median-user", "randomized-smoothing", "spell-repair", "unicode-normalize"),
    "data side": ("loss-truncation", "pca-varselect", "suspicious-users", "trimmed-raters"),
    OTHER: (),
}


def model_family(model: PluginRef) -> str:
    """The family of a recommender."""
    return _family(MODELS, model)


def defense_family(defense: PluginRef) -> str:
    """The family of a defense."""
    return _family(DEFENSES, defense)


def _family(families: Mapping[str, tuple[str, ...]], plugin: PluginRef) -> str:
    found = (family for family, names in families.items() if plugin.name in names)
    return next(found, OTHER) if plugin.distribution == OURS else OTHER
