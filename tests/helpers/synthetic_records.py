"""Run records made up for tests: real record classes, drawn outcomes, no model and no data behind them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from recgauntlet.core.card import TIERS, Track
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.references import Environment, PluginRef, SuiteRef, TaskRef
from recgauntlet.records.schema import (
    AttackEffort,
    AttackOutcome,
    CertifiedOutcome,
    Clean,
    CurvePoint,
    Failure,
    FirstPairs,
    Gate,
    LoneAttack,
    PromotionOutcome,
    RankingOutcome,
    RunRecord,
    ThreatOutcome,
    TierOutcome,
    TrainingCost,
)
from recgauntlet.records.validate import check_record

Robust = tuple[float, float, float]
DEFAULT_THREATS: dict[str, Robust | None] = {"stuffing": (0.6, 0.5, 0.4), "embedding": (0.65, 0.55, 0.3)}
SURFACES = {"stuffing": "candidate-text", "tampering": "candidate-text", "swap": "history", "embedding": "embedding"}
BUDGETS = {"candidate-text": (1, 2, 4), "history": (1, 2, 5), "embedding": (0.1, 0.25, 0.5)}


def make_record(
    *,
    task: str = "shop",
    version: int = 1,
    track: Track = "standard",
    fingerprint: str = "c" * 64,
    data_fingerprint: str = "d" * 64,
    suite_fingerprint: str = "e" * 64,
    simulated: bool = False,
    model: str = "nrms",
    defense: str = "standard",
    hyperparameters: Mapping[str, Any] | None = None,
    seed: int = 0,
    clean: float = 0.75,
    threats: Mapping[str, Robust | None] = DEFAULT_THREATS,
    pairs: int = 200,
    impressions: int = 40,
    ratio: float | None = None,
    gates: tuple[Gate, ...] = (),
    failure: str = "",
    attack_error: str = "",
    violations: int = 0,
    further: bool = False,
    certified: bool = False,
    started: str = "2026-01-02T03:04:05Z",
    finished: str = "2026-01-02T03:14:05Z",
) -> RunRecord:
    """A sealed record. `threats` gives the robust accuracy at each tier, None where the model reads no such
    surface. `further` adds curves, lone attacks, rankings and a promotion for the first threat that applies,
    `certified` what is proved under the first threat: two thirds of what stands, nothing at the high tier."""
    rng = np.random.default_rng([seed, *f"{model}/{defense}/{task}".encode()])
    common = {
        "task": TaskRef(
            id=task,
            version=version,
            track=track,
            fingerprint=fingerprint,
            data_fingerprint=data_fingerprint,
            simulated=simulated,
            redistributable=not simulated,
        ),
        "model": PluginRef(
            name=model, distribution="recgauntlet", version="0.1.0", hyperparameters={"heads": 16, "dropout": 0.2}
        ),
        "defense": PluginRef(
            name=defense, distribution="recgauntlet", version="0.1.0", hyperparameters=dict(hyperparameters or {})
        ),
        "seed": seed,
        "suite": SuiteRef(id="preview-1", version="1", fingerprint=suite_fingerprint),
        "environment": Environment(
            recgauntlet="0.1.0",
            commit="0123456789abcdef",
            python="3.11.0",
            torch="2.13.0",
            transformers="5.0.0",
            platform="Linux",
            processor="x86_64",
            device="CPU, 2 threads",
            threads=2,
            precision="float32",
        ),
        "started": started,
        "finished": finished,
    }
    if failure:
        return RunRecord(
            status="failed",
            failure=Failure(kind="RuntimeError", message=failure, stage="training"),
            **common,
        ).sealed()
    labels = np.tile([True, False], pairs)
    scores = np.where(rng.random(2 * pairs) < clean, 1.0, -1.0) * np.where(labels, 1, -1)
    scores *= rng.uniform(0.1, 3, 2 * pairs)
    right = (scores > 0) == labels
    sizes = np.random.default_rng(5).integers(2, 12, impressions)
    shown = np.concatenate([np.arange(size) < 1 + (size > 6) for size in sizes])
    record = RunRecord(
        status="ok",
        clean=Clean(
            labels=BitColumn.of(labels),
            scores=FloatColumn.of(scores),
            impression_sizes=tuple(sizes.tolist()),
            impression_users=tuple((np.arange(impressions) // 2).tolist()),
            impression_labels=BitColumn.of(shown),
            impression_scores=FloatColumn.of(rng.normal(size=len(shown)) + shown * clean),
        ),
        threats=tuple(_threat(name, robust, right, rng, attack_error, violations) for name, robust in threats.items()),
        gates=gates,
        cost=TrainingCost(
            seconds=40 * (ratio or 1) + seed,
            steps=300,
            forwards=60_000,
            backwards=int(60_000 * (ratio or 1)),
            flops=3e12 * (ratio or 1),
            peak_memory_bytes=700_000_000,
            parameters=1_200_000,
            seconds_ratio=ratio and ratio + 0.01 * seed,
            flops_ratio=ratio,
            inference_ms_per_1000=12.5,
        ),
        weights_sha256="f" * 64,
        **common,
    )
    record = with_further(record, seed) if further else record
    return (with_certificate(record) if certified else record).sealed()


def _threat(
    name: str,
    robust: Robust | None,
    right: np.ndarray,
    rng: np.random.Generator,
    error: str,
    violations: int,
) -> ThreatOutcome:
    surface = SURFACES[name]
    order = rng.permutation(np.flatnonzero(right))
    standing = right.copy()
    tiers = []
    for level, tier in enumerate(TIERS if robust else ()):
        assert robust is not None
        attacked = standing.copy()
        keep = min(int(attacked.sum()), round(robust[level] * len(right)))
        standing = np.zeros_like(right)
        standing[order[:keep]] = True
        tiers.append(
            TierOutcome(
                tier=tier,
                amount=BUDGETS[surface][level],
                characters=0,
                queries=(100, 500, 2000)[level],
                robust=BitColumn.of(standing),
                attacks=(
                    AttackOutcome(
                        name="greedy",
                        hyperparameters={"width": 8},
                        attacked=BitColumn.of(attacked),
                        broken=BitColumn.of(attacked & ~standing),
                        scores=FloatColumn.of(np.zeros(int(attacked.sum()))),
                        violations=violations if level == 1 else 0,
                        effort=AttackEffort(
                            forwards=900, backwards=300, user_encodings=200, cache_hits=700, seconds=1.5
                        ),
                        error=error if level == 1 else "",
                    ),
                ),
            )
        )
    return ThreatOutcome(
        id=name,
        surface=surface,
        goal="promote" if name == "stuffing" else "flip",
        ranked=name != "embedding",
        applicable=robust is not None,
        tiers=tuple(tiers),
    )


def with_further(record: RunRecord, seed: int) -> RunRecord:
    """The record with a security curve, lone attacks and a ranking for every threat that applies, and a promotion for
    those that promote."""
    assert record.clean is not None
    rng = np.random.default_rng([seed, 7])
    right = (record.clean.scores.to_float() > 0) == record.clean.labels.to_bool()
    sizes = np.array(record.clean.impression_sizes)[:30]
    scores = record.clean.impression_scores.to_float()[: sizes.sum()]
    threats, ranking, promotion = [], [], []
    for threat in record.threats:
        if not threat.applicable:
            threats.append(threat)
            continue
        subset = np.arange(1, 121, 2) if threat.goal == "promote" else np.arange(60)
        high = BUDGETS[threat.surface][-1]
        standing, curve = right[subset], []
        for step in range(8):
            curve.append(CurvePoint(amount=high * step / 3.5, characters=0, queries=100, robust=BitColumn.of(standing)))
            standing = standing & (rng.random(len(subset)) < 0.8)
        alone = [
            LoneAttack(attack=name, tier="standard", broken=BitColumn.of(right[subset] & (rng.random(len(subset)) < p)))
            for name, p in (("random", 0.1), ("gradient", 0.6), ("query", 0.4))
        ]
        threats.append(
            threat.model_copy(update={"subset": tuple(subset.tolist()), "curve": tuple(curve), "alone": tuple(alone)})
        )
        targets = rng.integers(0, sizes)
        after = scores.copy()
        after[np.cumsum(sizes) - sizes + targets] += 3 if threat.goal == "promote" else -3
        ranking.append(
            RankingOutcome(
                threat=threat.id,
                impressions=tuple(range(len(sizes))),
                targets=tuple(targets.tolist()),
                scores=FloatColumn.of(after),
            )
        )
        if threat.goal == "promote":
            before = rng.integers(1, 102, (4, 15))
            promotion.append(
                PromotionOutcome(
                    threat=threat.id,
                    items=(3, 5, 8, 13),
                    optimized_on=10,
                    users=15,
                    competitors=100,
                    before=FloatColumn.of(before.ravel().astype(np.float64)),
                    after=FloatColumn.of((1 + before // 3).ravel().astype(np.float64)),
                )
            )
    return record.model_copy(
        update={"threats": tuple(threats), "ranking": tuple(ranking), "promotion": tuple(promotion)}
    )


def with_certificate(record: RunRecord) -> RunRecord:
    """The record with a certificate under its first threat."""
    threat, found = record.threats[0], []
    share = np.arange(threat.tiers[0].robust.n) % 3 > 0
    for outcome, reached in zip(threat.tiers, (2, 4, 12), strict=True):
        bits = outcome.robust.to_bool() & share & (reached < 12)
        found.append(
            CertifiedOutcome(
                threat=threat.id, tier=outcome.tier, votes=12, reached=reached, certified=BitColumn.of(bits)
            )
        )
    return record.model_copy(update={"certified": tuple(found)})


def failed_gate(threat: str = "") -> Gate:
    """A gate that did not pass."""
    return Gate(
        name="not-constant",
        threat=threat,
        passed=False,
        value=0.99,
        limit=0.95,
        explanation="99.0% of the predictions are the same; a constant predictor cannot be attacked",
    )


def cut(record: RunRecord, pairs: int = 60) -> RunRecord:
    """The record of the same model on its first `pairs`."""
    clean = record.clean
    assert clean is not None

    def first(column: BitColumn) -> BitColumn:
        return BitColumn.of(column.to_bool()[: 2 * pairs])

    def attack_of(found: AttackOutcome) -> AttackOutcome:
        attacked = first(found.attacked)
        scores = FloatColumn.of(np.zeros(int(attacked.to_bool().sum())))
        return found.model_copy(update={"attacked": attacked, "broken": first(found.broken), "scores": scores})

    def tier_of(found: TierOutcome) -> TierOutcome:
        return found.model_copy(update={"robust": first(found.robust), "attacks": tuple(map(attack_of, found.attacks))})

    scores = FloatColumn.of(clean.scores.to_float()[: 2 * pairs])
    made = record.model_copy(
        update={
            "clean": clean.model_copy(update={"labels": first(clean.labels), "scores": scores}),
            "threats": tuple(t.model_copy(update={"tiers": tuple(map(tier_of, t.tiers))}) for t in record.threats),
            "first_pairs": FirstPairs(
                pairs=pairs,
                all_pairs=clean.labels.n // 2,
                all_impressions=len(clean.impression_sizes),
                examples=EvaluationSetting.of(record).examples_fingerprint,
            ),
        }
    ).sealed()
    check_record(made)
    return made
