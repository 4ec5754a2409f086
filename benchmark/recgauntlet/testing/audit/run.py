"""The audit: every fake defense through the installed gauntlet, and whether each was detected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
import torch

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.card import RANKING_TIER, TaskCard, Threat, Tier
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import CardError
from recgauntlet.core.plugins import each
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.spec import TWIN, CellSpec
from recgauntlet.core.task import find_task
from recgauntlet.core.types import Progress
from recgauntlet.data.prepare import prepare
from recgauntlet.evaluation.exhaustive import Gap, exhaustive_gaps
from recgauntlet.evaluation.gauntlet import GauntletResult, run_gauntlet
from recgauntlet.evaluation.sanity_checks import failed
from recgauntlet.evaluation.setup import Trial
from recgauntlet.testing.audit.fake import Fake
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.training.build import open_cell, train_cell

EXAMPLES = 100
MARGIN = 0.02
"""By how much the robust accuracy of a fake may exceed that of the model inside before it must be flagged."""

Verdict = Literal["harmless", "flagged", "UNDETECTED"]


@dataclass(frozen=True)
class Subject:
    """What is audited with: a trained, undefended model, the task that it and its fakes are attacked on, and the
    undefended `twin` from which attacks are transferred. The model itself is the easy twin: it has the very weights
    that a mask hides. A model of another seed is a twin such as a defense that trains otherwise meets."""

    model: Recommender
    twin: Recommender
    card: TaskCard
    data: TaskData
    seed: int


@dataclass(frozen=True)
class Measured:
    """A model's accuracy, 0 to 1: clean, and robust at one tier of each threat that applies; and its `flags`,
    each a check that failed (with its threat) or an attack that crashed: one is enough to lose the rank."""

    clean: float
    robust: dict[str, float]
    flags: tuple[str, ...]


@dataclass(frozen=True)
class AuditRow:
    """A fake and how it fared beside the model inside it."""

    fake: str
    pretends: str
    measured: Measured
    gain: dict[str, float]
    """Robust accuracy under each threat, less that of the model inside."""
    verdict: Verdict


@dataclass(frozen=True)
class Audit:
    """The whole: it is `sound` if no fake went undetected and the honest model is not flagged. Robust accuracy is that
    at `tier`."""

    task: str
    suite: str
    examples: int
    honest: Measured
    rows: tuple[AuditRow, ...]
    tier: Tier = RANKING_TIER

    @property
    def undetected(self) -> tuple[str, ...]:
        """The fakes that would have been ranked above the model inside them."""
        return tuple(row.fake for row in self.rows if row.verdict == "UNDETECTED")

    @property
    def sound(self) -> bool:
        """Whether the suite found every fake out and gave no false alarm."""
        return not self.undetected and not self.honest.flags


def train_subject(
    spec: CellSpec,
    examples: int | None = None,
    *,
    twin_seed: int | None = None,
    progress: Progress = lambda what, share: None,
) -> Subject:
    """The undefended model of `spec`, trained, with `examples` test examples (two a pair; None for EXAMPLES, or all
    where the track has fewer) to be attacked; its twin is itself, or one trained with `twin_seed`.

    Raises
    ------
    CardError
        Where the track has fewer test examples.
    """
    torch.set_num_threads(spec.threads)
    cell = open_cell(replace(spec, defense=TWIN, defense_options=()))
    progress("reading data", 0.0)
    data = prepare(cell.task, spec.track, spec.source)
    if examples is None:
        examples = min(EXAMPLES, 2 * len(data.test))
    if examples > 2 * len(data.test):
        raise CardError(
            f"the {spec.track} track has {2 * len(data.test)} test examples",
            where=cell.task.card.id,
            field="--examples",
            remedy="ask for no more, or for another track (--track)",
        )
    model, _ = train_cell(cell, data, torch.device("cpu"), "fp32", progress)
    twin = model.eval().requires_grad_(False)
    if twin_seed is not None and twin_seed != spec.seed:
        other = replace(cell, spec=replace(cell.spec, seed=twin_seed))
        twin, _ = train_cell(other, data, torch.device("cpu"), "fp32", progress)
        twin.eval().requires_grad_(False)
    return Subject(model, twin, cell.task.card, first_pairs(data, examples // 2), spec.seed)


def with_all_surfaces(card: TaskCard, surfaces: frozenset[str]) -> TaskCard:
    """`card` and, for each of `surfaces` that it does not threaten, a threat of another installed task: a ranked one
    before a diagnostic, one that flips before one that promotes (it attacks twice as many examples)."""
    threats: list[Threat] = list(card.threats)
    others = [threat for card in each("tasks", lambda name: find_task(name).card)[0] for threat in card.threats]
    others.sort(key=lambda threat: (not threat.ranked, threat.goal != "flip"))
    for surface in sorted(surfaces - {threat.surface for threat in threats}):
        threats += [threat for threat in others if threat.surface == surface][:1]
    return card.model_copy(update={"threats": tuple(threats)})


def first_pairs(data: TaskData, pairs: int) -> TaskData:
    """`data` with the first `pairs` test pairs alone."""
    return replace(data, test=data.test.select(slice(pairs)))


def subject_gaps(subject: Subject, progress: Progress = lambda what, share: None) -> tuple[Gap, ...]:
    """What the suite misses of all legal edits, threat by threat, on the subject's model and test examples.

    Raises
    ------
    CardError
        Where the card has no threat of texts or histories that the model reads.
    """
    model = subject.model.eval().requires_grad_(False)
    threats = [threat for threat in subject.card.threats if threat.surface in model.surfaces]
    threats = [threat for threat in threats if threat_model(threat).is_discrete]
    if not threats:
        raise CardError(
            "the task has no threat of texts or histories that the model reads; other changes cannot be counted",
            where=subject.card.id,
            field="threats",
            remedy="choose another task (--task) or another model (--model)",
        )
    trial = Trial.of(model, subject.data, AttackerKnowledge.of(subject.card, subject.data))
    rng, gaps = Randomness(subject.seed, "evaluation"), list[Gap]()
    for number, threat in enumerate(threats):

        def within(what: str, share: float, number: int = number) -> None:
            progress(what, (number + share) / len(threats))

        gaps += exhaustive_gaps(trial, threat, rng, sample=len(trial.batch), progress=within)
    return tuple(gaps)


def audit(subject: Subject, fakes: Sequence[type[Fake]], progress: Progress = lambda what, share: None) -> Audit:
    """Send the model and every fake around it through the gauntlet, with one twin for all, whose inputs are searched
    for once.

    Surfaces that the task's card does not threaten are attacked inside the budget of another installed task's card,
    so that every mask meets the attacks that it is meant for.
    """
    with TemporaryDirectory(prefix="recgauntlet-audit-") as twins:
        return _audit(subject, fakes, Path(twins), progress)


def _audit(subject: Subject, fakes: Sequence[type[Fake]], twins: Path, progress: Progress) -> Audit:
    steps = len(fakes) + 1
    card = with_all_surfaces(subject.card, frozenset(subject.model.surfaces))

    def measure(served: Recommender, name: str, number: int) -> Measured:
        def within(what: str, share: float) -> None:
            progress(f"{name}: {what}", (number + share) / steps)

        result = run_gauntlet(
            served,
            card,
            subject.data,
            subject.seed,
            twin=subject.twin,
            twin_directory=twins,
            brief=True,
            progress=within,
        )
        return measured(result)

    honest = measure(subject.model, "the honest model", 0)
    rows = []
    for number, fake in enumerate(fakes, start=1):
        found = measure(fake(subject.model, subject.data), fake.name, number)
        gain = {threat: value - honest.robust[threat] for threat, value in found.robust.items()}
        rows.append(AuditRow(fake.name, fake.pretends(), found, gain, verdict(gain, found.flags)))
    progress("done", 1.0)
    return Audit(subject.card.id, suite_ref().id, 2 * len(subject.data.test), honest, tuple(rows))


def verdict(gain: dict[str, float], flags: Sequence[str]) -> Verdict:
    """A fake that gains more than the margin under some threat must have a flag."""
    if max(gain.values(), default=0.0) <= MARGIN:
        return "harmless"
    return "flagged" if flags else "UNDETECTED"


def measured(result: GauntletResult) -> Measured:
    """The figures and flags of a finished gauntlet."""
    flags = [f"{gate.name} ({gate.threat})" if gate.threat else gate.name for gate in failed(result.gates)]
    robust = {}
    for threat in result.threats:
        if not threat.applicable:
            continue
        standard = next(tier for tier in threat.tiers if tier.tier == "standard")
        robust[threat.threat.id] = float(np.mean(standard.robust))
        crashed = {attack.name for tier in threat.tiers for attack in tier.attacks if attack.error}
        flags += [f"{name} crashed ({threat.threat.id})" for name in sorted(crashed)]
    clean = float(result.trial.right.float().mean())
    return Measured(clean, robust, tuple(flags))
