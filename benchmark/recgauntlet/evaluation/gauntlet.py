"""The gauntlet for one trained model: every threat with its sanity checks, security curve, ranking and promotion."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_for, probes_for, suite_ref, transfer_for
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.core.card import RANKING_TIER, TIERS, TaskCard, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.journal import Journal
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Progress
from recgauntlet.data.text_measures import TextMeasures
from recgauntlet.evaluation.ablation import run_alone, subset_of
from recgauntlet.evaluation.ads import dodge_ads
from recgauntlet.evaluation.certify import certificate_check, certify
from recgauntlet.evaluation.naturalness import models_of, with_naturalness
from recgauntlet.evaluation.promotion import promote
from recgauntlet.evaluation.ranking import rank_under_attack
from recgauntlet.evaluation.results import (
    AdResult,
    CleanResult,
    CurveResult,
    PromotionResult,
    RankingResult,
    ThreatResult,
)
from recgauntlet.evaluation.robustness import run_threat
from recgauntlet.evaluation.sanity_checks.behaviour import (
    fresh_scores,
    inference_checks,
    padding_independence,
    zero_budget,
)
from recgauntlet.evaluation.sanity_checks.gradients import gradient_checks, unbounded_attack
from recgauntlet.evaluation.sanity_checks.model import (
    clean_score_checks,
    embedding_evenness,
    embedding_inflation,
    memorization,
    unknown_token_rate,
)
from recgauntlet.evaluation.sanity_checks.sensitivity import sensitivity_checks
from recgauntlet.evaluation.sanity_checks.threat import attack_comparisons, attackability
from recgauntlet.evaluation.security_curve import security_curve
from recgauntlet.evaluation.setup import Trial, measure_clean
from recgauntlet.records.naturalness import NaturalnessModels
from recgauntlet.records.schema import Gate
from recgauntlet.threats.embedding_scale import EmbeddingScale, embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.victim import Victim
from recgauntlet.training.checkpoint import weights_hash

TIERS_SHARE, CHECKS_SHARE, ADS_SHARE = 0.6, 0.12, 0.08
"""Of the progress; estimates that only a progress bar uses."""


@dataclass(frozen=True)
class GauntletResult:
    """All that was measured of a trained model."""

    trial: Trial
    """The model and its test examples."""
    clean: CleanResult
    threats: tuple[ThreatResult, ...]
    """In the order of the task's card."""
    model_checks: tuple[Gate, ...]
    """The sanity checks of the model itself; those of a threat stand with the threat."""
    ads: tuple[AdResult, ...] = ()
    """One for each draw of sponsored items, where the card has simulated ads."""
    naturalness: NaturalnessModels | None = None
    """What measured how natural edits are, where texts were edited."""

    @property
    def gates(self) -> tuple[Gate, ...]:
        """All sanity checks."""
        return (*self.model_checks, *(gate for threat in self.threats for gate in threat.gates))


def run_gauntlet(
    model: Recommender,
    card: TaskCard,
    data: TaskData,
    seed: int,
    *,
    twin: Recommender | None = None,
    journal: Journal | None = None,
    twin_directory: Path | None = None,
    brief: bool = False,
    high_tier: bool = True,
    curves: bool = True,
    left_out: Collection[str] = (),
    half: bool = False,
    measures: TextMeasures | None = None,
    progress: Progress = lambda what, share: None,
) -> GauntletResult:
    """Send `model` (trained, on its device) through every threat of `card`.

    Parameters
    ----------
    twin
        The undefended model of the same task, architecture and seed: inputs that fool it are tried on `model` too.
    journal
        Steps that it has are not computed again.
    twin_directory
        Where inputs that fool the twin are kept for its other defenses (None: nowhere).
    brief
        The medium tier and the sanity checks alone: no other tier, curve, ranking, promotion or ads.
    high_tier
        Attack at the high tier too. What the lower tiers find does not depend on it.
    curves
        Draw security curves, which no rank needs.
    left_out
        The ids of threats that are not run. What is found under the others does not depend on it.
    half
        Search in bfloat16 (`recgauntlet.threats.precision`); what attacks find is scored in full.
    measures
        What measures how natural edits of texts are (None: their words and characters are counted alone).
    """
    model.eval().requires_grad_(False)
    journal = journal or Journal()
    card = card.model_copy(update={"threats": tuple(one for one in card.threats if one.id not in left_out)})
    tiers: tuple[Tier, ...] = ("standard",) if brief else TIERS if high_tier else TIERS[:-1]
    trial = Trial.of(model, data, AttackerKnowledge.of(card, data), half=half)
    rng = Randomness(seed, "evaluation")
    views = [trial.under(threat) for threat in card.threats]
    surrogates = [None] * len(views) if twin is None else _surrogates(twin, views, data, rng, twin_directory)
    transfers = [
        () if surrogate is None else (transfer_for(threat, surrogate),)
        for threat, surrogate in zip(card.threats, surrogates, strict=True)
    ]
    threats: list[ThreatResult] = []

    for number, (threat, transfer) in enumerate(zip(card.threats, transfers, strict=True)):
        within = _part(progress, 0.0, TIERS_SHARE, number, len(card.threats))
        threats.append(run_threat(trial, threat, rng, extra=transfer, tiers=tiers, journal=journal, progress=within))

    progress("sanity checks", TIERS_SHARE)
    model_checks = check_model(trial, data, None if twin is None else embedding_scale(twin, data.catalog))
    victims = [None if surrogate is None else surrogate.victim for surrogate in surrogates]
    for number, (result, transfer, victim) in enumerate(zip(threats, transfers, victims, strict=True)):
        within = _part(progress, TIERS_SHARE, CHECKS_SHARE, number, len(threats))
        within(f"sanity checks: {result.threat.id}", 0.0)
        if result.applicable:
            threats[number] = check_threat(views[number], result, transfer, rng, journal, victim)

    clean = measure_clean(trial, data)
    rest = TIERS_SHARE + CHECKS_SHARE
    for number, (result, surrogate) in enumerate(zip(threats, surrogates, strict=True)):
        if result.applicable and not brief:
            within = _part(progress, rest, 1 - rest - ADS_SHARE, number, len(threats))
            threats[number] = look_further(
                views[number], data, clean, result, surrogate, rng, journal, within, curves=curves
            )
    ads: tuple[AdResult, ...] = ()
    if card.ads is not None and not brief:
        within = _part(progress, 1 - ADS_SHARE, ADS_SHARE, 0, 1)
        ads = dodge_ads(trial, data, card.ads, rng.child(card.ads.id), tiers=tiers, journal=journal, progress=within)
    progress("naturalness of edits", 1.0)
    threats = [with_naturalness(trial, result, measures, journal) for result in threats]
    progress("done", 1.0)
    return GauntletResult(trial, clean, tuple(threats), model_checks, ads, models_of(threats, measures))


def check_model(trial: Trial, data: TaskData, twin: EmbeddingScale | None) -> tuple[Gate, ...]:
    """The sanity checks of the model, whatever the threat; `twin` is the scale of the undefended twin."""
    gates = [
        *clean_score_checks(trial),
        memorization(trial, data),
        embedding_evenness(trial),
        *inference_checks(trial),
    ]
    if "embedding" in trial.model.surfaces:
        gates.append(padding_independence(trial))
    if "candidate-text" in trial.model.surfaces:
        gates.append(unknown_token_rate(trial))
    if twin is not None:
        gates.append(embedding_inflation(trial, twin))
    return tuple(gates)


def check_threat(
    trial: Trial,
    result: ThreatResult,
    extra: Sequence[Attack],
    rng: Randomness,
    journal: Journal,
    twin: Victim | None = None,
) -> ThreatResult:
    """`result` with its ablation, the sanity checks that follow from it, and the certificate where there is one."""
    threat = result.threat
    trial = trial.under(threat)
    index = subset_of(trial, threat)
    suite = (*attacks_for(threat), *extra)
    ablation = [
        one
        for tier in TIERS
        for one in run_alone(trial, result, tier, suite if tier == RANKING_TIER else probes_for(threat), rng, journal)
    ]
    rng = rng.child(f"alone/{threat.id}")
    gates = [
        attackability(trial, threat, index),
        zero_budget(trial, threat, index),
        fresh_scores(trial, result),
        *gradient_checks(trial, threat, index),
        *(
            gate
            for attack in attacks_for(threat)
            if attack.is_random
            for gate in sensitivity_checks(trial, threat, attack, index, rng, twin, result.tiers)
        ),
        *attack_comparisons(threat, suite, ablation, trial.right[index].cpu().numpy()),
    ]
    unbounded = threat_model(threat).unbounded()
    if unbounded is not None:
        (strongest,) = (attack for attack in attacks_for(threat) if attack.name == "apgd")
        gates.append(unbounded_attack(trial, unbounded, strongest, index, rng))
    certified = certify(trial, threat, [tier.tier for tier in result.tiers])
    result = result.model_copy(
        update={"subset": tuple(index.tolist()), "ablation": tuple(ablation), "certified": certified}
    )
    if certified:
        gates.append(certificate_check(result))
    return result.model_copy(update={"gates": tuple(gates)})


def look_further(
    trial: Trial,
    data: TaskData,
    clean: CleanResult,
    result: ThreatResult,
    twin: SurrogateInputs | None,
    rng: Randomness,
    journal: Journal,
    progress: Progress,
    *,
    curves: bool = True,
) -> ThreatResult:
    """`result` with its security curve (where `curves` are wanted), the ranking under attack and, where the attacker
    promotes by text, the promotion."""
    threat = result.threat
    curve: tuple[CurveResult, ...] = ()
    if curves:
        progress(f"{threat.id}: security curve", 0.0)
        curve = security_curve(trial, result, rng, journal=journal)
    progress(f"{threat.id}: ranking", 0.7)
    ranking = journal.do(
        f"ranking/{threat.id}",
        RankingResult,
        lambda: rank_under_attack(trial, data, clean, threat, rng, twin=twin),
    )
    promotion = None
    if threat_model(threat).promotes_by_text:
        progress(f"{threat.id}: promotion", 0.8)
        promotion = journal.do(
            f"promotion/{threat.id}",
            PromotionResult,
            lambda: promote(trial, data, threat, rng, twin=None if twin is None else twin.victim),
        )
    return result.model_copy(update={"curve": curve, "ranking": ranking, "promotion": promotion})


def _surrogates(
    twin: Recommender, views: Sequence[Trial], data: TaskData, rng: Randomness, directory: Path | None
) -> list[SurrogateInputs]:
    """The twin as the source of inputs to try on the model, for each of `views`; one for views of the same batch."""
    twin.eval().requires_grad_(False)
    scale = embedding_scale(twin, data.catalog)
    victims = {id(view): Victim(twin, view.world, scale, view.batch, half=view.half) for view in views}
    identity = (weights_hash(twin), data.fingerprint, suite_ref().fingerprint, *{"bf16" for view in views if view.half})
    return [SurrogateInputs(victims[id(view)], identity, rng.child("twin"), directory) for view in views]


def _part(progress: Progress, start: float, share: float, number: int, count: int) -> Progress:
    """Progress of the part `number` of `count`, which share `share` of the whole from `start` on."""
    return lambda what, done: progress(what, start + share * (number + done) / count)
