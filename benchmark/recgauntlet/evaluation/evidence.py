"""Real attacks that people may be shown: the clean input beside the edits, where the data's licence allows it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.types import Surface
from recgauntlet.records.schema import Evidence
from recgauntlet.threats.registry import THREAT_MODELS


def with_inputs(
    evidence: Sequence[Evidence], catalog: Catalog, batch: Batch, surfaces: Mapping[str, Surface]
) -> tuple[Evidence, ...]:
    """`evidence`, of which one input that each attack of a threat broke has its clean input too: the first of the
    medium tier, else the first of all. `batch` holds the clean test examples, `surfaces` says what each threat
    changes.

    Call it for redistributable data alone: texts of the catalog come into it.
    """
    chosen: dict[tuple[str, str], Evidence] = {}
    for found in evidence:
        key = (found.threat, found.attack)
        if key not in chosen or (found.tier == RANKING_TIER != chosen[key].tier):
            chosen[key] = found
    picked = {id(found) for found in chosen.values()}
    return tuple(
        with_input(found, catalog, batch, surfaces[found.threat]) if id(found) in picked else found
        for found in evidence
    )


def with_input(found: Evidence, catalog: Catalog, batch: Batch, surface: Surface) -> Evidence:
    """`found` with the words of its example's candidate, or with the texts of its history's items, of those that came
    in and of the candidate."""
    shown = THREAT_MODELS[surface].evidence_input(catalog, batch, found.example, found.edits)
    return found.model_copy(update=shown)
