"""What a record says beyond the tiers: the security curves, rankings under attack, and promotion."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from recgauntlet.attacks.base import Attack
from recgauntlet.core.card import TaskCard, TextThreat, Threat
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.journal import Journal
from recgauntlet.core.protocol import SUBSET
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Progress
from recgauntlet.evaluation.promotion import promote
from recgauntlet.evaluation.ranking import rank_under_attack
from recgauntlet.evaluation.robustness import Trial, attackable
from recgauntlet.evaluation.security_curve import security_curve
from recgauntlet.records.schema import Clean, PromotionOutcome, RankingOutcome, ThreatOutcome
from recgauntlet.threats.victim import Victim


@dataclass(frozen=True)
class Further:
    """The threats with their curves, the rankings under attack, and the promotions."""

    threats: tuple[ThreatOutcome, ...]
    ranking: tuple[RankingOutcome, ...]
    promotion: tuple[PromotionOutcome, ...]


def look_further(
    trial: Trial,
    card: TaskCard,
    data: TaskData,
    clean: Clean,
    threats: Sequence[ThreatOutcome],
    rng: Randomness,
    *,
    extra: Callable[[Threat], Sequence[Attack]] = lambda threat: (),
    twin: Victim | None = None,
    journal: Journal | None = None,
    progress: Progress = lambda what, share: None,
) -> Further:
    """Curves and rankings for every threat of `card` that applies, promotion where the attacker promotes by text.

    `threats` are the outcomes so far, in the card's order; their `subset` is kept where they have one. Every point of a
    curve, ranking and promotion is a step of `journal`.
    """
    journal = journal or Journal()
    outcomes: list[ThreatOutcome] = []
    ranking: list[RankingOutcome] = []
    promotion: list[PromotionOutcome] = []
    for number, (threat, outcome) in enumerate(zip(card.threats, threats, strict=True)):
        if not outcome.applicable:
            outcomes.append(outcome)
            continue
        progress(f"{threat.id}: security curve", number / len(threats))
        subset = outcome.subset or first_attackable(trial, threat)
        index = torch.tensor(subset, dtype=torch.int64, device=trial.right.device)
        curve = security_curve(trial, threat, rng, index, extra=extra(threat), journal=journal)
        outcomes.append(outcome.model_copy(update={"subset": subset, "curve": curve}))
        progress(f"{threat.id}: ranking", (number + 0.7) / len(threats))

        def rank(threat: Threat = threat) -> RankingOutcome:
            return rank_under_attack(trial, data, clean, threat, rng, twin=twin)

        ranking.append(journal.do(f"ranking/{threat.id}", RankingOutcome, rank))
        if isinstance(threat, TextThreat) and threat.goal == "promote":
            progress(f"{threat.id}: promotion", (number + 0.8) / len(threats))

            def lift(threat: TextThreat = threat) -> PromotionOutcome:
                return promote(trial, data, threat, rng, twin=twin)

            promotion.append(journal.do(f"promotion/{threat.id}", PromotionOutcome, lift))
    return Further(tuple(outcomes), tuple(ranking), tuple(promotion))


def first_attackable(trial: Trial, threat: Threat) -> tuple[int, ...]:
    """The test examples that curves and lone attacks speak of: the first SUBSET that the threat attacks."""
    return tuple(torch.nonzero(attackable(threat, trial.batch)).squeeze(1)[:SUBSET].tolist())
