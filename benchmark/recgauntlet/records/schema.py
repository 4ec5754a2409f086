"""The run record: one JSON file a cell, facts only. Every aggregate on a page is computed from these again."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import Field

from recgauntlet.core.card import Goal, Tier
from recgauntlet.core.types import BoolArray, Edit, Scalar, Surface
from recgauntlet.records.ads import AdOutcome
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.digest import digest_of
from recgauntlet.records.groups import Grouping
from recgauntlet.records.naturalness import Naturalness, NaturalnessModels
from recgauntlet.records.parts import LISTED as LISTED
from recgauntlet.records.parts import AttackEffort as AttackEffort
from recgauntlet.records.parts import Gate as Gate
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.records.references import Environment, Part, PluginRef, SuiteRef, TaskRef
from recgauntlet.records.user_groups import UserGroups

SCHEMA_VERSIONS = (1, 2)
"""Versions of the schema that are read; the last is written."""
REMEDY = "restore it from its release, or delete it and run the cell again"


class Epoch(Part):
    """One pass over the training pairs."""

    epoch: int
    loss: float
    valid_auc: float
    kept: bool
    """Whether these weights became the best so far."""


class TrainingCost(Part):
    """What training cost. Passes count examples (candidates scored); FLOPs are those of torch's counter for one
    step, times the steps; `seconds` leaves validation out. Of several `devices`, passes and FLOPs are those of all, and
    the memory is that of the one that took most."""

    seconds: float
    steps: int
    forwards: int
    backwards: int
    flops: float
    peak_memory_bytes: int
    parameters: int
    seconds_ratio: float | None
    flops_ratio: float | None
    """Ratios to the undefended twin of the same run; None for the twin itself."""
    inference_ms_per_1000: float
    """Milliseconds to score 1,000 candidates of one user, median of repeated runs."""
    devices: int = Field(default=1, ge=1, exclude_if=lambda count: count == 1)
    """In how many processes the model was trained, one a device; not written where it is one."""


class AttackOutcome(Part):
    """One attack at one tier, run on the examples no earlier attack had broken.

    `attacked` and `broken` are bits over the test examples; `scores` are the evaluator's own scores of the
    perturbed inputs, in the order of the attacked examples. `violations` counts perturbed inputs that the
    verifier refused (they are not in `broken`).
    """

    name: str
    hyperparameters: dict[str, Scalar]
    attacked: BitColumn
    broken: BitColumn
    scores: FloatColumn
    violations: int
    effort: AttackEffort
    error: str = ""
    naturalness: Naturalness | None = Field(default=None, exclude_if=lambda found: found is None)
    """Of attacks on texts alone; not written elsewhere."""


class TierOutcome(Part):
    """A threat at one tier. `robust`: bits over the test examples, right on the clean input and on everything found."""

    tier: Tier
    amount: float
    characters: int
    queries: int
    robust: BitColumn
    attacks: tuple[AttackOutcome, ...]


def robust_accuracy(outcome: TierOutcome) -> float:
    """The share of test examples that are right on the clean input and on every input that the suite found at this
    tier or below."""
    return float(outcome.robust.to_bool().mean())


class LoneAttack(Part):
    """One attack run by itself, without the others before it, on the threat's subset: bits over the subset, which
    examples it broke (examples wrong to begin with are not in `broken`)."""

    attack: str
    tier: Tier
    broken: BitColumn
    naturalness: Naturalness | None = Field(default=None, exclude_if=lambda found: found is None)


class CurvePoint(Part):
    """A budget of the security curve; `robust`: bits over the subset, right on everything found up to this budget."""

    amount: float
    characters: int
    queries: int
    robust: BitColumn


class ThreatOutcome(Part):
    """One threat at all tiers; `applicable` is false (and `tiers` empty) where the model does not read the surface.

    `subset` are the test examples that `alone` (each attack by itself) and `curve` (budgets from 0 to twice `high`)
    speak of.
    """

    id: str
    surface: Surface
    goal: Goal
    ranked: bool
    applicable: bool
    tiers: tuple[TierOutcome, ...]
    subset: tuple[int, ...] = ()
    alone: tuple[LoneAttack, ...] = ()
    curve: tuple[CurvePoint, ...] = ()


class RankingOutcome(Part):
    """Test impressions with one candidate under attack at the standard tier, pushed as far as the budget allows.

    `impressions` are their numbers among the record's impressions, `targets` the attacked candidate's place in each,
    and `scores` all their candidates' scores afterwards, impression by impression: all of them change where the history
    is attacked, else only the target's.
    """

    threat: str
    impressions: tuple[int, ...]
    targets: tuple[int, ...]
    scores: FloatColumn


class PromotionOutcome(Part):
    """Items promoted by one perturbed text each, shown to every user: optimized on `optimized_on` users, measured on
    `users` others.

    `before` and `after [items x users]`: the item's rank among itself and `competitors` other catalog items, from 1, by
    the scores of each held-out user, item by item. `catalog_before` and `catalog_after`: the same among all items that
    the user never took, for the first of these users (one for 15 test pairs); not written where that is not known.
    """

    threat: str
    items: tuple[int, ...]
    optimized_on: int
    users: int
    competitors: int
    before: FloatColumn
    after: FloatColumn
    catalog_before: FloatColumn | None = Field(default=None, exclude_if=lambda found: found is None)
    catalog_after: FloatColumn | None = Field(default=None, exclude_if=lambda found: found is None)


class CertifiedOutcome(Part):
    """What is proved of a smoothed model under a threat at a tier. `certified`: bits over the test examples, right on
    the clean input and on every legal one, found or not.

    `votes` is how many votes the model takes, `reached` how many of them edits of this tier can reach at most.
    """

    threat: str
    tier: Tier
    votes: int
    reached: int
    certified: BitColumn


class PopularImpressions(Part):
    """The clicks of the test impressions, in their order and of their users, among unclicked candidates that were drawn
    by popularity: the `sizes` of the lists, and candidate by candidate `labels` and clean `scores`."""

    sizes: tuple[int, ...]
    labels: BitColumn
    scores: FloatColumn


class CatalogRanks(Part):
    """The clicks of the first test impressions, one for 15 test pairs, among all items of the catalog that the user
    never took: of `others` items so many score `above` the click, and so many are `tied` with it."""

    above: tuple[int, ...]
    tied: tuple[int, ...]
    others: tuple[int, ...]


class Clean(Part):
    """Clean results: `labels` and `scores` over the test examples (pairs: clicked, unclicked, clicked, ...), and the
    scores of the impressions with their sizes and labels."""

    labels: BitColumn
    scores: FloatColumn
    impression_sizes: tuple[int, ...]
    impression_users: tuple[int, ...]
    impression_labels: BitColumn
    impression_scores: FloatColumn
    popular: PopularImpressions | None = Field(default=None, exclude_if=lambda found: found is None)
    """Of tasks with candidates drawn by popularity alone; not written elsewhere."""
    catalog: CatalogRanks | None = Field(default=None, exclude_if=lambda found: found is None)
    """Of tasks whose unclicked candidates are drawn; not written elsewhere, nor in records from before it was there."""


class Evidence(Part):
    """A perturbed input that fooled the model, as edits of the test example `example`.

    Where the data's licence lets it be shown, a few have the clean input too: `before` are the words of the candidate's
    text, or the texts of the history's items from the oldest on, and then `candidate` is the text of what was scored.
    Elsewhere no text of the data comes into a record.
    """

    threat: str
    tier: Tier
    attack: str
    example: int
    edits: tuple[Edit, ...]
    clean_score: float
    score: float
    before: tuple[str, ...] = Field(default=(), exclude_if=lambda found: not found)
    candidate: str = Field(default="", exclude_if=lambda found: not found)

    @property
    def shows_text(self) -> bool:
        """Whether it has text of the data, beside the words that came in."""
        return bool(self.before or self.candidate or any(edit.title for edit in self.edits))


class Failure(Part):
    """Why a cell failed."""

    kind: str
    message: str
    stage: str


class FirstPairs(Part):
    """A record of the first test pairs alone: `pairs` of the `all_pairs` of its task.

    Its test impressions are the first of `all_impressions`. `examples` is the hash of all test examples, by which the
    record can be compared with others on the pairs that they share; empty where a cell failed before it was known.
    """

    pairs: int = Field(ge=1)
    all_pairs: int
    all_impressions: int
    examples: str


class RunRecord(Part):
    """One cell: task x model x defense x seed."""

    schema_version: Literal[1, 2] = 2
    status: Literal["ok", "failed"]
    task: TaskRef
    model: PluginRef
    defense: PluginRef
    seed: int
    suite: SuiteRef
    environment: Environment
    started: str
    finished: str
    clean: Clean | None = None
    threats: tuple[ThreatOutcome, ...] = ()
    ranking: tuple[RankingOutcome, ...] = ()
    promotion: tuple[PromotionOutcome, ...] = ()
    certified: tuple[CertifiedOutcome, ...] = Field(default=(), exclude_if=lambda found: not found)
    """Of smoothed models alone. Where there is none it is not written, so that records from before it was there keep
    their bytes and digests."""
    ads: tuple[AdOutcome, ...] = Field(default=(), exclude_if=lambda found: not found)
    """Of tasks with simulated ads alone; not written elsewhere."""
    poisoning: tuple[TrainingDataOutcome, ...] = Field(default=(), exclude_if=lambda found: not found)
    """Of tasks whose training data is attacked; not written elsewhere."""
    first_pairs: FirstPairs | None = Field(default=None, exclude_if=lambda found: found is None)
    """Of records of the first test pairs alone; not written elsewhere."""
    groups: tuple[Grouping, ...] = Field(default=(), exclude_if=lambda found: not found)
    """Groups of the test pairs, for fairness; not in records from before they were there."""
    user_groups: tuple[UserGroups, ...] = Field(default=(), exclude_if=lambda found: not found)
    """Sums of test pairs by attributes of their users; not written where the data has none."""
    naturalness: NaturalnessModels | None = Field(default=None, exclude_if=lambda found: found is None)
    """Where texts were edited; not written elsewhere."""
    gates: tuple[Gate, ...] = ()
    cost: TrainingCost | None = None
    epochs: tuple[Epoch, ...] = ()
    recipe: dict[str, Scalar] = Field(default_factory=dict)
    """How the model was optimized: the fields of its training recipe."""
    weights_sha256: str = ""
    training_commit: str = ""
    """The code that trained the weights: another than `environment.commit` where an old checkpoint was attacked."""
    evidence: tuple[Evidence, ...] = ()
    failure: Failure | None = None
    digest: str = ""

    def tier(self, threat: str, tier: Tier) -> TierOutcome | None:
        """The outcome under `threat` at `tier`; None where the record has none."""
        found = (o for t in self.threats if t.id == threat for o in t.tiers if o.tier == tier)
        return next(found, None)

    def proved(self, threat: str, tier: str) -> BoolArray | None:
        """The test examples that are certified under `threat` at `tier`; None where the record does not say."""
        found = (one.certified for one in self.certified if (one.threat, one.tier) == (threat, tier))
        bits = next(found, None)
        return None if bits is None else bits.to_bool()

    @property
    def age(self) -> tuple[bool, str, str]:
        """Orders the records of one cell: a finished one counts before a failed one, then the one written last."""
        return (self.status == "ok", self.finished, self.digest)

    @property
    def has_attack_scores(self) -> bool:
        """Whether the scores of perturbed inputs are there; a release may leave them out."""
        attacks = [attack for threat in self.threats for tier in threat.tiers for attack in tier.attacks]
        return all(attack.scores.n or not attack.attacked.to_bool().any() for attack in attacks)

    def summary(self) -> None:
        """Print a summary as `recgauntlet show` does, without marks at tuned hyper-parameters."""
        from rich.console import Console

        from recgauntlet.records.summary import print_summary

        print_summary(Console(highlight=False), self)

    def sealed(self) -> RunRecord:
        """The same record with its digest, which shows later changes."""
        return self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))})


def json_schema() -> dict[str, Any]:
    """The JSON Schema of a record, as published in docs/record.schema.json."""
    return RunRecord.model_json_schema()
