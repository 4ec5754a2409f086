"""Records whose edits of texts have drawn values: no text and no language model behind them."""

from __future__ import annotations

import numpy as np

from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.naturalness import Naturalness, NaturalnessModels
from recgauntlet.records.schema import RunRecord


def with_edits(record: RunRecord, *, seed: int = 0, reason: str = "") -> RunRecord:
    """The record with what the edits of its text threats change; with a `reason`, words and characters alone."""
    rng = np.random.default_rng([seed, 11])

    def drawn(broken: BitColumn) -> Naturalness:
        count = int(broken.to_bool().sum())
        measured = {
            "perplexity_ratio": FloatColumn.of(rng.lognormal(1.0, 1.0, count)),
            "cosine": FloatColumn.of(rng.uniform(0.6, 1.0, count)),
        }
        return Naturalness(
            words=IntColumn.of(rng.integers(1, 4, count)),
            characters=IntColumn.of(rng.integers(1, 20, count)),
            **({} if reason else measured),
        )

    threats = []
    for threat in record.threats:
        if threat.surface == "candidate-text":
            tiers = [
                tier.model_copy(
                    update={
                        "attacks": tuple(
                            attack.model_copy(update={"naturalness": drawn(attack.broken)}) for attack in tier.attacks
                        )
                    }
                )
                for tier in threat.tiers
            ]
            alone = [lone.model_copy(update={"naturalness": drawn(lone.broken)}) for lone in threat.alone]
            threat = threat.model_copy(update={"tiers": tuple(tiers), "alone": tuple(alone)})
        threats.append(threat)
    models = NaturalnessModels(reason=reason)
    if not reason:
        models = NaturalnessModels(language_model="thin", encoder="short")
    return record.model_copy(update={"threats": tuple(threats), "naturalness": models}).sealed()
