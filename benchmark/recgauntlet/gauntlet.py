"""The gauntlet for one trained model: clean scores, every threat, the sanity gates, and what is left of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from recgauntlet.attack import Attack
from recgauntlet.card import TaskCard, Threat
from recgauntlet.data.prepare import item_vectors
from recgauntlet.data.tables import TaskData
from recgauntlet.evaluation import Trial, measure_clean, run_threats
from recgauntlet.further import look_further
from recgauntlet.gates import model_gates, threat_gates
from recgauntlet.journal import Journal
from recgauntlet.recommender import Recommender
from recgauntlet.record import Clean, Evidence, Gate, PromotionOutcome, RankingOutcome, ThreatOutcome
from recgauntlet.rng import Randomness
from recgauntlet.suite import transfer_for
from recgauntlet.victim import Victim, embedding_scale
from recgauntlet.world import World

Progress = Callable[[str, float], None]
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


def run_gauntlet(
    model: Recommender,
    card: TaskCard,
    data: TaskData,
    seed: int,
    *,
    twin: Recommender | None = None,
    journal: Journal | None = None,
    progress: Progress = lambda what, share: None,
) -> Findings:
    """Send `model` (trained, on its device) through every threat of `card`.

    `twin` is the undefended model of the same task, architecture and seed: what fools it is shown to `model`
    too. Steps that `journal` has are not computed again.
    """
    model.eval().requires_grad_(False)
    reads_history = any(threat.surface == "history" for threat in card.threats)
    world = World(data.catalog, item_vectors(data) if reads_history else None)
    trial = Trial.of(model, data, world)
    rng = Randomness(seed, "evaluation")
    twin_victim = None if twin is None else Victim(twin, world, embedding_scale(twin, data.catalog), trial.batch)

    def extra(threat: Threat) -> list[Attack]:
        return [] if twin_victim is None else [transfer_for(threat, twin_victim)]

    def within(what: str, share: float) -> None:
        progress(what, (1 - GATES_SHARE - FURTHER_SHARE) * share)

    def beyond(what: str, share: float) -> None:
        progress(what, 1 - GATES_SHARE - FURTHER_SHARE * (1 - share))

    threats, evidence = run_threats(trial, card, rng, extra=extra, journal=journal, progress=within)
    clean = measure_clean(trial, data)
    further = look_further(
        trial, card, data, clean, threats, rng, extra=extra, twin=twin_victim, journal=journal, progress=beyond
    )
    progress("sanity gates", 1 - GATES_SHARE)
    gates = (*model_gates(trial), *threat_gates(trial, card, rng))
    progress("done", 1.0)
    return Findings(trial, clean, further.threats, gates, evidence, further.ranking, further.promotion)
