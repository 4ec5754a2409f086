"""The gauntlet for one trained model: clean scores, every threat, the sanity gates, and what is left of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import attacks_for, probes_for, suite_ref, transfer_for
from recgauntlet.attacks.surrogate import TwinInputs
from recgauntlet.core.card import TIERS, EmbeddingThreat, TaskCard, Threat, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.journal import Journal
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Progress
from recgauntlet.evaluation.ablation import run_alone, subset_of
from recgauntlet.evaluation.certify import certificate_gate, certify
from recgauntlet.evaluation.further import look_further
from recgauntlet.evaluation.robustness import Trial, measure_clean, run_threats
from recgauntlet.evaluation.sanity_checks.behaviour import behaviour_gates, zero_budget_gate
from recgauntlet.evaluation.sanity_checks.gradients import felt_gate, flat_gates, unlimited_gate
from recgauntlet.evaluation.sanity_checks.model import (
    evenness_gate,
    inflation_gate,
    memory_gate,
    score_gates,
    words_gate,
)
from recgauntlet.evaluation.sanity_checks.threat import order_gates
from recgauntlet.records.schema import (
    CertifiedOutcome,
    Clean,
    Evidence,
    Gate,
    PromotionOutcome,
    RankingOutcome,
    ThreatOutcome,
)
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import World
from recgauntlet.threats.victim import Victim
from recgauntlet.training.checkpoint import weights_hash

GATES_SHARE = 0.12
FURTHER_SHARE = 0.25
"""Of the progress; guesses that only a progress bar uses."""


@dataclass(frozen=True)
class Findings:
    """What a record says of a trained model, cost left out. `trial` holds the model and the test examples."""

    trial: Trial
    clean: Clean
    threats: tuple[ThreatOutcome, ...]
    gates: tuple[Gate, ...]
    evidence: tuple[Evidence, ...]
    ranking: tuple[RankingOutcome, ...]
    promotion: tuple[PromotionOutcome, ...]
    certified: tuple[CertifiedOutcome, ...] = ()


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
    progress: Progress = lambda what, share: None,
) -> Findings:
    """Send `model` (trained, on its device) through every threat of `card`.

    `twin` is the undefended model of the same task, architecture and seed: what fools it is shown to `model`
    too. Steps that `journal` has are not computed again;
    `brief` runs the standard tier and the gates alone, no other tier, curve or ranking;
    what fools the twin is kept in `twin_directory` (None: nowhere) for its other defenses.
    """
    model.eval().requires_grad_(False)
    journal = journal or Journal()
    trial = Trial.of(model, data, World.of(card, data))
    rng = Randomness(seed, "evaluation")
    inputs = None if twin is None else _twin_inputs(twin, trial, data, rng, twin_directory)

    def extra(threat: Threat) -> list[Attack]:
        return [] if inputs is None else [transfer_for(threat, inputs)]

    def within(what: str, share: float) -> None:
        progress(what, (1 - GATES_SHARE - FURTHER_SHARE) * share)

    def beyond(what: str, share: float) -> None:
        progress(what, 1 - FURTHER_SHARE * (1 - share))

    tiers: tuple[Tier, ...] = ("standard",) if brief else TIERS
    threats, evidence = run_threats(trial, card, rng, extra=extra, tiers=tiers, journal=journal, progress=within)
    progress("sanity gates", 1 - GATES_SHARE - FURTHER_SHARE)
    gates = [*score_gates(trial), memory_gate(trial, data), evenness_gate(trial), *behaviour_gates(trial)]
    if "candidate-text" in trial.model.surfaces:
        gates.append(words_gate(trial))
    if inputs is not None:
        gates.append(inflation_gate(trial, inputs.victim.scale))
    looked_at = []
    certified: list[CertifiedOutcome] = []
    for number, (threat, outcome) in enumerate(zip(card.threats, threats, strict=True)):
        start = 1 - GATES_SHARE - FURTHER_SHARE
        progress(f"sanity gates: {threat.id}", start + GATES_SHARE * number / len(threats))
        if outcome.applicable:
            outcome, found = look_at(trial, threat, outcome, extra(threat), rng.child(f"alone/{threat.id}"), journal)
            gates += found
            proved = certify(trial, threat, tiers)
            if proved:
                gates.append(certificate_gate(outcome, proved))
            certified += proved
        looked_at.append(outcome)
    clean = measure_clean(trial, data)
    if brief:
        return Findings(trial, clean, tuple(looked_at), tuple(gates), evidence, (), (), tuple(certified))
    twin_victim = None if inputs is None else inputs.victim
    further = look_further(
        trial, card, data, clean, looked_at, rng, extra=extra, twin=twin_victim, journal=journal, progress=beyond
    )
    progress("done", 1.0)
    return Findings(
        trial, clean, further.threats, tuple(gates), evidence, further.ranking, further.promotion, tuple(certified)
    )


def look_at(
    trial: Trial, threat: Threat, outcome: ThreatOutcome, extra: Sequence[Attack], rng: Randomness, journal: Journal
) -> tuple[ThreatOutcome, tuple[Gate, ...]]:
    """Every attack by itself on the subset, and the gates that follow from it."""
    index = subset_of(trial, threat)
    suite = (*attacks_for(threat), *extra)
    alone = list(run_alone(trial, threat, suite, "standard", rng, journal))
    for tier in TIERS:
        if tier != "standard":
            alone += run_alone(trial, threat, probes_for(threat), tier, rng, journal)
    gates = [
        zero_budget_gate(trial, threat, index),
        *flat_gates(trial, threat, index),
        *(felt_gate(trial, threat, attack, index, rng) for attack in attacks_for(threat) if attack.is_random),
        *order_gates(threat, suite, alone, trial.right[index].cpu().numpy()),
    ]
    if isinstance(threat, EmbeddingThreat):
        (strongest,) = (attack for attack in attacks_for(threat) if attack.name == "apgd")
        gates.append(unlimited_gate(trial, threat, strongest, index, rng))
    return outcome.model_copy(update={"subset": tuple(index.tolist()), "alone": tuple(alone)}), tuple(gates)


def _twin_inputs(
    twin: Recommender, trial: Trial, data: TaskData, rng: Randomness, directory: Path | None
) -> TwinInputs:
    """The twin as the source of inputs to replay; `directory` keeps them for other defenses of the same twin."""
    twin.eval().requires_grad_(False)
    victim = Victim(twin, trial.world, embedding_scale(twin, data.catalog), trial.batch)
    victim.prepare()
    identity = (weights_hash(twin), data.fingerprint, suite_ref().fingerprint)
    return TwinInputs(victim, identity, rng.child("twin"), directory)
