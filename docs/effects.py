"""Tables of effects of the literature that `tools/reproduce_effects.py` measured, beside the papers' numbers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from markdown_table import per_cent, table
from measured_tables import figures

from recgauntlet.core.names import shown

APR_GAIN = "+11.2 %"
"""Of HR and nDCG over BPR-MF, mean over Yelp, Pinterest and Gowalla (He et al. 2018)."""
SUBSTITUTION: Mapping[str, tuple[str, str, str]] = {
    "standard": ("0.546", "0.144", "0.402"),
    "dirichlet-neighborhood": ("", "", "0.299"),
    "mixed-items": ("", "", "0.228"),
}
"""nDCG@10 of SASRec on MovieLens-1M before and after two items were substituted, and the drop (Yue et al. 2022)."""


def effects(part: str) -> str:
    """The table of `part`: "ranking" (APR over BPR-MF) or "substitution" (histories of SASRec)."""
    found = figures("effects")
    return {"ranking": _ranking, "substitution": _substitution}[part](found)


def _ranking(found: Mapping[str, Any]) -> str:
    plain = next(own for own in found["ranking"] if own["defense"] == "standard")
    rows = [
        [
            f"`{shown('defense', own['defense'])}`",
            _options(own),
            str(len(own["seeds"])),
            str(own["lists"]),
            f"{own['ndcg10']:.4f}",
            f"{own['auc']:.4f}",
            "" if own is plain else _interval(own["ndcg10_gain"]),
            "" if own is plain else f"{100 * own['ndcg10_gain']['value'] / plain['ndcg10']:+.1f} %".replace("-", "−"),
            "" if own is plain else APR_GAIN,
        ]
        for own in found["ranking"]
    ]
    head = [
        "`bpr-mf` with",
        "options",
        "seeds",
        "lists",
        "nDCG@10",
        "AUC",
        "gain in nDCG@10",
        "relative",
        "paper, relative",
    ]
    return table(head, rows, right=7)


def _substitution(found: Mapping[str, Any]) -> str:
    rows = []
    for own in found["substitution"]:
        before, after = own["ndcg10_before"]["value"], own["ndcg10_after"]["value"]
        rows.append(
            [
                f"`{shown('defense', own['defense'])}`",
                _options(own),
                str(len(own["seeds"])),
                str(own["lists"]),
                f"{before:.3f}",
                f"{after:.3f}",
                f"{before - after:.3f}",
                *SUBSTITUTION.get(own["defense"], ("", "", "")),
                *(per_cent(own[name]["value"]) for name in ("clean_accuracy", "robust_accuracy")),
                ", ".join(f"`{name}`" for name in own["failed_checks"]),
            ]
        )
    head = [
        "`sasrec` with",
        "options",
        "seeds",
        "lists",
        "nDCG@10",
        "attacked",
        "drop",
        "paper: nDCG@10",
        "attacked",
        "drop",
    ]
    return table([*head, "clean accuracy, %", "robust, %", "failed checks"], rows)


def _options(own: Mapping[str, Any]) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in own["options"].items())


def _interval(gain: Mapping[str, float]) -> str:
    low, high = (f"{gain[name]:+.4f}".replace("-", "−") for name in ("low", "high"))
    return f"{gain['value']:+.4f}".replace("-", "−") + f" [{low}, {high}]"
