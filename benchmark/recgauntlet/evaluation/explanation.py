"""What turns one decision: an edit, the smallest such edit, and what each part of the input adds before and after."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch

from recgauntlet.attacks.suite import attacks_for
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Threat, Tier
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Edit, Progress
from recgauntlet.evaluation.attribution import Attribution, attribute
from recgauntlet.evaluation.input_parts import PARTS
from recgauntlet.evaluation.robustness import run_attack, step_key
from recgauntlet.evaluation.setup import Trial
from recgauntlet.evaluation.smallest_edit import SmallestEdit, smallest_edit
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.text import text_of


@dataclass(frozen=True)
class Flip:
    """An edit that turns a decision: the attack that found it, the tier in which it is legal, and the score with it."""

    edits: tuple[Edit, ...]
    score: float
    attack: str
    tier: Tier


@dataclass(frozen=True)
class Explanation:
    """The explanation of the decision on one test example.

    threat, tier
        What an attacker may change.
    example
        The number of the test example.
    clicked
        Whether the user clicked the candidate.
    candidate
        The candidate's text.
    right
        Whether the decision on the clean input is right; one that is wrong already is not turned.
    flip
        None where none was found.
    smallest
        None where no edit was found, or none was searched for.
    before
        The parts of the clean input.
    after
        The parts of the input with the edit; None where there is none.
    rows
        Each part once: its place before and its place after the edit, None where it is not there.
    """

    threat: Threat
    tier: Tier
    example: int
    clicked: bool
    candidate: str
    right: bool
    flip: Flip | None
    smallest: SmallestEdit | None
    before: Attribution
    after: Attribution | None
    rows: tuple[tuple[int | None, int | None], ...]

    @property
    def change(self) -> tuple[float, float, float] | None:
        """How the edit changes the score, by integrated gradients: by the parts that it changed, by the parts that
        stayed, and by the rest (special tokens, padding and the baseline). None without an edit or gradients."""
        before, after = self.before.gradients, None if self.after is None else self.after.gradients
        if self.after is None or before is None or after is None:
            return None
        changed = stayed = 0.0
        for old, new in self.rows:
            moved = (0.0 if new is None else after.parts[new]) - (0.0 if old is None else before.parts[old])
            if old is not None and new is not None and self.before.labels[old] == self.after.labels[new]:
                stayed += moved
            else:
                changed += moved
        return changed, stayed, self.after.score - self.before.score - changed - stayed


def explain(
    trial: Trial,
    threat: Threat,
    tier: Tier,
    example: int,
    rng: Randomness,
    *,
    flip: Flip | None = None,
    progress: Progress = lambda what, share: None,
) -> Explanation:
    """Explain the decision on the test example `example` under `threat`, whose surface has parts (PARTS) that the model
    reads.

    Parameters
    ----------
    flip
        An edit that turns the decision, checked by the caller; None to search for one by the attacks of the suite on
        the model itself, from the lowest tier to `tier`.

    Raises
    ------
    PluginError
        Where Captum is not installed.
    RecGauntletError
        Where a search crashes.
    """
    trial = trial.under(threat)
    catalog, parts = trial.world.catalog, PARTS[threat.surface]
    clean = trial.batch.select(torch.tensor([example], device=trial.batch.items.device))
    right, smallest = bool(trial.right[example]), None
    if right:
        flip = flip or search_flip(trial, threat, tier, example, rng, progress)
        progress("smallest edit", 0.5)
        budget = Budget.of(threat, tier if flip is None else flip.tier)
        found = () if flip is None else flip.edits
        smallest = smallest_edit(trial, budget, example, found, rng.child("smallest"))
        if flip is None and smallest is not None:
            flip = Flip(smallest.edits, smallest.score, smallest.way, tier)
    if flip is not None:
        flip = replace(flip, edits=_titled(threat, catalog, clean, flip.edits))
    if smallest is not None:
        smallest = replace(smallest, edits=_titled(threat, catalog, clean, smallest.edits))
    progress("attributions", 0.9)
    before, after = attribute(trial.model, parts(catalog, clean), trial.samples), None
    if flip is not None:
        edited: Batch = threat_model(threat).rebuilt(catalog, clean, [flip.edits])
        after = attribute(trial.model, parts(catalog, edited), trial.samples)
    return Explanation(
        threat=threat,
        tier=tier if flip is None else flip.tier,
        example=example,
        clicked=bool(clean.labels[0] > 0.5),
        candidate=text_of(catalog, clean, 0),
        right=right,
        flip=flip,
        smallest=smallest,
        before=before,
        after=after,
        rows=aligned(len(before.labels), () if flip is None else flip.edits, len((after or before).labels)),
    )


def search_flip(
    trial: Trial,
    threat: Threat,
    tier: Tier,
    example: int,
    rng: Randomness,
    progress: Progress = lambda what, share: None,
) -> Flip | None:
    """What the suite's attacks on the model itself turn the decision by, from the lowest tier to `tier`; None where
    they do not. `trial` is that under `threat`; `rng` is the evaluation's, so that the searches are those of a
    record."""
    index = torch.tensor([example], device=trial.batch.items.device)
    for one in TIERS[: TIERS.index(tier) + 1]:
        budget = Budget.of(threat, one)
        for attack in attacks_for(threat):
            if not attack.supports(budget):
                continue
            progress(f"{threat.id}: {attack.name}", 0.1)
            attempt = run_attack(trial, attack, budget, index, rng.child(step_key(threat, one, attack)))
            if bool(attempt.broken[0]):
                clean = trial.batch.select(index)
                edits = threat_model(threat).edits(trial.world.catalog, clean, attempt.perturbed, 0)
                return Flip(edits, float(attempt.scores[0]), attack.name, one)
    return None


def aligned(count: int, edits: Sequence[Edit], count_after: int) -> tuple[tuple[int | None, int | None], ...]:
    """Each part of an input of `count` parts, and of what `edits` make of it, in order: its place before and its place
    after, None where it is not there. Where fewer than expected are left, the first were pushed out."""
    rows: list[tuple[int | None, int | None]] = []
    place = 0
    for at in range(count + 1):
        here = [edit.op for edit in edits if edit.at == at]
        for _ in range(here.count("insert")):
            rows.append((None, place))
            place += 1
        if at == count:
            break
        if "delete" in here:
            rows.append((at, None))
        else:
            rows.append((at, place))
            place += 1
    pushed_out = place - count_after
    moved = ((old, None if new is None or new < pushed_out else new - pushed_out) for old, new in rows)
    return tuple(row for row in moved if row != (None, None))


def _titled(threat: Threat, catalog: Catalog, clean: Batch, edits: tuple[Edit, ...]) -> tuple[Edit, ...]:
    """`edits` of the single example of `clean` with the texts of the items that come in."""
    titled: tuple[Edit, ...] = threat_model(threat).evidence_input(catalog, clean, 0, edits).get("edits", edits)
    return titled
