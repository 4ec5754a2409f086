"""How natural the edits are by which text attacks broke examples, measured once the attacks are over."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import BaseModel

from recgauntlet.core.card import TaskCard
from recgauntlet.core.journal import Journal
from recgauntlet.core.types import Edit
from recgauntlet.data.text_measures import TextMeasures
from recgauntlet.evaluation.results import AblationResult, AttackResult, ThreatResult
from recgauntlet.evaluation.setup import Trial
from recgauntlet.records.columns import FloatColumn, IntColumn
from recgauntlet.records.naturalness import Naturalness, NaturalnessModels
from recgauntlet.threats.edits import apply_text_edits
from recgauntlet.threats.lexicon import words_of
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.text import shown_texts

NOT_ASKED = "no language model was asked for (recgauntlet run --naturalness)"
"""The reason in a record without perplexities."""


class _Measured(BaseModel):
    """A step of the journal: all attacks tier by tier, then those of the ablation."""

    runs: tuple[Naturalness, ...]


def with_naturalness(
    trial: Trial, result: ThreatResult, measures: TextMeasures | None, journal: Journal
) -> ThreatResult:
    """`result` with what its edits change, where its threat edits texts; perplexities and cosines with `measures`
    alone."""
    if not (result.applicable and threat_model(result.threat).edits_text):
        return result
    texts = shown_texts(trial.world.catalog, trial.under(result.threat).batch)
    attacks = [attack for tier in result.tiers for attack in tier.attacks]

    def measure() -> _Measured:
        each = [(_examples(attack), attack.edits) for attack in attacks]
        each += [(np.array(result.subset)[one.broken], one.edits) for one in result.ablation]
        return _Measured(
            runs=tuple(naturalness_of([texts[int(row)] for row in rows], edits, measures) for rows, edits in each)
        )

    key = f"naturalness/{'measured' if measures else 'counted'}/{result.threat.id}"
    runs = iter(journal.do(key, _Measured, measure).runs)

    def found(one: AttackResult | AblationResult) -> dict[str, Naturalness]:
        return {"naturalness": next(runs)}

    tiers = tuple(
        tier.model_copy(update={"attacks": tuple(one.model_copy(update=found(one)) for one in tier.attacks)})
        for tier in result.tiers
    )
    ablation = tuple(one.model_copy(update=found(one)) for one in result.ablation)
    return result.model_copy(update={"tiers": tiers, "ablation": ablation})


def edits_texts(card: TaskCard) -> bool:
    """Whether a threat of the card edits texts."""
    return any(threat_model(threat).edits_text for threat in card.threats)


def models_of(results: Sequence[ThreatResult], measures: TextMeasures | None) -> NaturalnessModels | None:
    """What measured the edits of `results`; None where no text was edited."""
    if not any(result.applicable and threat_model(result.threat).edits_text for result in results):
        return None
    if measures is None:
        return NaturalnessModels(reason=NOT_ASKED)
    return NaturalnessModels(language_model=measures.language_model, encoder=measures.encoder)


def naturalness_of(clean: Sequence[str], edits: Sequence[Sequence[Edit]], measures: TextMeasures | None) -> Naturalness:
    """What each of `edits` changes in its clean text."""
    columns = {}
    if measures is not None:
        edited = [apply_text_edits(text, found) for text, found in zip(clean, edits, strict=True)]
        columns["perplexity_ratio"] = FloatColumn.of(measures.perplexity_ratios(clean, edited))
        columns["cosine"] = FloatColumn.of(measures.cosines(clean, edited))
    characters = [changed_characters(text, found) for text, found in zip(clean, edits, strict=True)]
    return Naturalness(
        words=IntColumn.of(np.array([len(found) for found in edits], dtype=np.int64)),
        characters=IntColumn.of(np.array(characters, dtype=np.int64)),
        **columns,
    )


def changed_characters(clean: str, edits: Sequence[Edit]) -> int:
    """The Levenshtein distance of the changed words, one by one; an added or deleted word counts with its blank."""
    words = words_of(clean)
    total = 0
    for edit in edits:
        before = "" if edit.op == "insert" else words[edit.at]
        total += distance(before, edit.new) + (edit.op != "replace")
    return total


def distance(before: str, after: str) -> int:
    """The Levenshtein distance of two words (Wagner and Fischer 1974)."""
    row = list(range(len(after) + 1))
    for i, old in enumerate(before, start=1):
        diagonal, row[0] = row[0], i
        for j, new in enumerate(after, start=1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (old != new))
    return row[-1]


def _examples(attack: AttackResult) -> np.ndarray:
    return np.flatnonzero(attack.broken)
