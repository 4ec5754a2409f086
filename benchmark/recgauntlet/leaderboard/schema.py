"""What a leaderboard table is made of: frozen rows and cells between the records and every renderer."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Annotated

from pydantic import Field

from recgauntlet.core.card import RANKING_TIER, Goal, Tier
from recgauntlet.core.types import Surface
from recgauntlet.leaderboard.ad_schema import Ads
from recgauntlet.leaderboard.flags import Flag
from recgauntlet.leaderboard.groups_schema import Groups
from recgauntlet.leaderboard.natural_schema import NaturalEdits
from recgauntlet.leaderboard.poisoning_schema import Poisoning
from recgauntlet.metrics.bootstrap import Estimate, RankRange
from recgauntlet.metrics.ranking import CatalogMetrics
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.references import PluginRef
from recgauntlet.records.schema import FirstPairs, RunRecord


@dataclass(frozen=True)
class TierBudget:
    """What a threat allows at a tier: the radius, words or edits; the character edits; the queries an
    example."""

    tier: Tier
    amount: float
    characters: int
    queries: int


@dataclass(frozen=True)
class ThreatColumn:
    """A threat that the table's records were attacked under."""

    id: str
    surface: Surface
    goal: Goal
    ranked: bool
    budgets: tuple[TierBudget, ...]


@dataclass(frozen=True)
class AttackTally:
    """What one attack did at one tier, over all seeds of a row. An attack sees only what no earlier one had
    broken."""

    name: str
    attacked: int
    broken: int
    violations: int
    forwards: int
    backwards: int
    seconds: float


@dataclass(frozen=True)
class Cell:
    """A row's robust accuracy under one threat at one tier, and the share of the clean accuracy that it retains.

    `certified` is the accuracy that is proved for every legal input, None where nothing is (not 0); then it is not
    written. `by_seed` is the robust accuracy of each seed, in the order of the row's `sources`. `attack_success` is
    the share of the attackable right answers that attacks turned (`metrics.ranking`), None where there were none.
    """

    tier: Tier
    robust: Estimate
    retained: Estimate
    attacks: tuple[AttackTally, ...]
    certified: Annotated[Estimate | None, Field(exclude_if=lambda found: found is None)] = None
    by_seed: tuple[float, ...] = ()
    attack_success: Annotated[Estimate | None, Field(exclude_if=lambda found: found is None)] = None


@dataclass(frozen=True)
class CurvePoint:
    """A budget of the security curve, and the accuracy that is left on the curve's examples."""

    amount: float
    characters: int
    queries: int
    accuracy: Estimate


@dataclass(frozen=True)
class AblationLine:
    """What one attack of the suite is worth on the examples of an ablation: robust accuracy under it `alone` and under
    the suite `without` it, and how many examples no other attack breaks, over all seeds."""

    attack: str
    alone: Estimate
    without: Estimate
    only_here: int


@dataclass(frozen=True)
class Ablation:
    """Each attack by itself at one tier: accuracy on the `examples` clean and under the `whole` suite, and the
    attacks in the order they run."""

    tier: Tier
    examples: int
    clean: Estimate
    whole: Estimate
    attacks: tuple[AblationLine, ...]


@dataclass(frozen=True)
class Ranking:
    """Rankings of test impressions with one candidate pushed at the medium tier, means over impressions.

    `rank` is the pushed candidate's, from 1. `overlap` (RBO at 0.9) and `jaccard` (of the first ten) compare the lists
    before and after: 1 where nothing changed.
    """

    impressions: int
    ndcg10_before: Estimate
    ndcg10_after: Estimate
    rank_before: Estimate
    rank_after: Estimate
    overlap: Estimate
    jaccard: Estimate


@dataclass(frozen=True)
class Promotion:
    """Items promoted by one text each: the share of (item, held-out user) in which the item stands among the user's
    first 10 or 50, `items` and `users` a seed, against `competitors` (0 in `catalog`: all that the user never took)."""

    items: int
    users: int
    competitors: int
    exposure10_before: Estimate
    exposure10_after: Estimate
    exposure50_before: Estimate
    exposure50_after: Estimate
    catalog: Annotated[Promotion | None, Field(exclude_if=lambda found: found is None)] = None


@dataclass(frozen=True)
class ThreatCells:
    """A row's cells under one threat. Not applicable (and no cells) where the model does not read the
    surface; applicable without cells where it was not run. What the row's records do not hold is empty or None."""

    threat: str
    applicable: bool
    cells: tuple[Cell, ...]
    curve: tuple[CurvePoint, ...] = ()
    ablation: tuple[Ablation, ...] = ()
    ranking: Ranking | None = None
    promotion: Promotion | None = None
    naturalness: Annotated[NaturalEdits | None, Field(exclude_if=lambda found: found is None)] = None

    def at(self, tier: Tier) -> Cell | None:
        """The cell at `tier`, None where there is none."""
        return next((cell for cell in self.cells if cell.tier == tier), None)


@dataclass(frozen=True)
class Quality:
    """Ranking quality on clean impressions: means over seeds. `auc` pools all candidates; `impression_auc` is
    the mean over impressions, which publications on MIND call AUC; `gauc` groups by user."""

    auc: float
    gauc: float
    impression_auc: float
    mrr: float
    ndcg5: float
    ndcg10: float


@dataclass(frozen=True)
class Cost:
    """Means over seeds. The ratios are to the undefended twin of the same run, None on the twin itself;
    `attack_seconds` is what the evaluation took on top."""

    training_seconds: float
    seconds_ratio: float | None
    training_flops: float
    flops_ratio: float | None
    forwards: float
    backwards: float
    peak_memory_bytes: float
    parameters: int
    inference_ms_per_1000: float
    attack_seconds: float


@dataclass(frozen=True)
class Source:
    """A record that a row was computed from."""

    seed: int
    digest: str
    device: str
    recgauntlet: str
    commit: str


@dataclass(frozen=True)
class BestKnownAttack:
    """An attack from outside the suite: its name, who ships it, and how many of the suite's survivors it broke."""

    name: str
    distribution: str
    version: str
    broken: int


@dataclass(frozen=True)
class BestKnownCell:
    """Robust accuracy under one threat at the medium tier, by the suite and with everything that attacks from outside
    it broke, over the `seeds` that were challenged. Never ranked."""

    threat: str
    suite: float
    best_known: float
    seeds: tuple[int, ...]
    attacks: tuple[BestKnownAttack, ...]


@dataclass(frozen=True)
class Policy:
    """What a defense refuses as such, in its own words (`statement`), and what that does at the medium tier of the
    text `threat` under which it keeps least: `kept` is the share of the test examples that stay right under attack.
    `harmless` is the share of clicked candidates that stay clicked under the kindest of a few random edits, the mean
    over seeds; None where that was not measured."""

    statement: str
    threat: str
    kept: Estimate
    harmless: float | None


@dataclass(frozen=True)
class Row:
    """A model trained under a defense, over its seeds. `rank` is None where the row is not ranked: `flags`
    give the reasons.

    `worst` is the ranked threat with the lowest robust accuracy at the medium tier, None where there is
    none. `clean_by_seed` is in the order of `sources`. `groups` are those of fairness.
    """

    model: PluginRef
    defense: PluginRef
    rank: int | None
    clean: Estimate
    threats: tuple[ThreatCells, ...]
    worst: str | None
    quality: Quality
    cost: Cost
    flags: tuple[Flag, ...]
    sources: tuple[Source, ...]
    best_known: tuple[BestKnownCell, ...] = ()
    clean_by_seed: tuple[float, ...] = ()
    policy: Annotated[Policy | None, Field(exclude_if=lambda found: found is None)] = None
    """Of a defense with a policy; under text threats the row then has no cells of its own."""
    ads: Annotated[Ads | None, Field(exclude_if=lambda found: found is None)] = None
    poisoning: Annotated[tuple[Poisoning, ...], Field(exclude_if=lambda found: not found)] = ()
    popular_quality: Annotated[Quality | None, Field(exclude_if=lambda found: found is None)] = None
    """As `quality`, on the same clicks among unclicked candidates drawn by popularity; None where the task has none."""
    catalog_quality: Annotated[CatalogMetrics | None, Field(exclude_if=lambda found: found is None)] = None
    """On the clicks of the first impressions among all items; None of data with impressions, and of older records."""
    poisoning_rank: Annotated[int | None, Field(exclude_if=lambda found: found is None)] = None
    """Apart from `rank`, which is by evasion; None where the row has no rank by poisoning."""
    poisoning_range: Annotated[RankRange | None, Field(exclude_if=lambda found: found is None)] = None
    """As `rank_range`, of a row with a rank by poisoning."""
    first_pairs: Annotated[FirstPairs | None, Field(exclude_if=lambda found: found is None)] = None
    """Of a row of the first test pairs alone."""
    rank_range: Annotated[RankRange | None, Field(exclude_if=lambda found: found is None)] = None
    """Of a row with a rank: among all ranked rows of the table."""
    groups: Annotated[tuple[Groups, ...], Field(exclude_if=lambda found: not found)] = ()
    records: Annotated[tuple[RunRecord, ...], Field(exclude=True)] = field(default=(), repr=False, compare=False)
    """In the order of `sources`; they are not written with the row."""

    @property
    def worst_poisoning(self) -> Poisoning | None:
        """The ranked threat to training data with the lowest robust accuracy at the medium tier."""
        found = [(tier.robust.value, n) for n, one in enumerate(self.poisoning) if one.ranked and (tier := one.at())]
        return self.poisoning[min(found)[1]] if found else None

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds that finished."""
        return tuple(source.seed for source in self.sources)

    def under(self, threat: str) -> ThreatCells | None:
        """The cells under `threat`, None where the row's records do not know it."""
        return next((cells for cells in self.threats if cells.threat == threat), None)

    def at(self, threat: str, tier: Tier = RANKING_TIER) -> Cell | None:
        """The cell under `threat` at `tier`, None where there is none."""
        cells = self.under(threat)
        return cells.at(tier) if cells else None

    @property
    def worst_cell(self) -> Cell | None:
        """The cell that the row is ranked by: the worst ranked threat at the medium tier."""
        return None if self.worst is None else self.at(self.worst)


@dataclass(frozen=True)
class FailedCell:
    """A cell that did not finish."""

    model: str
    defense: str
    seed: int
    kind: str
    stage: str
    message: str
    digest: str


@dataclass(frozen=True)
class TaskTable(EvaluationSetting):
    """The rows measured in one setting, in order of rank and then of name, and the cells that failed. `examples` and
    `impressions` are all of the task's, of which a row may have the first alone (`Row.first_pairs`)."""

    examples: int
    impressions: int
    threats: tuple[ThreatColumn, ...]
    rows: tuple[Row, ...]
    failed: tuple[FailedCell, ...]

    @property
    def setting(self) -> EvaluationSetting:
        """What every number of the table was measured on."""
        return EvaluationSetting(**{part.name: getattr(self, part.name) for part in fields(EvaluationSetting)})

    def examples_of(self, row: Row) -> int:
        """The test examples that the row was measured on."""
        return self.examples if row.first_pairs is None else 2 * row.first_pairs.pairs

    def named(self, model: str, defense: str) -> list[Row]:
        """The rows of a model under a defense of these names, whatever their options."""
        return [row for row in self.rows if (row.model.name, row.defense.name) == (model, defense)]

    def certifies(self, threat: str, tier: Tier) -> bool:
        """Whether a row has a certified accuracy under `threat` at `tier`."""
        cells = (cell for row in self.rows if (under := row.under(threat)) and (cell := under.at(tier)))
        return any(cell.certified is not None for cell in cells)

    @property
    def ranked(self) -> bool:
        """Whether this table ranks at all: the standard track on real data."""
        return self.track == "standard" and not self.simulated
