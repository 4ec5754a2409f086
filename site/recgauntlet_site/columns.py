"""The columns of a task's table: one list for the page and its column chooser."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from functools import partial
from operator import attrgetter

from recgauntlet.core.card import RANKING_TIER, TIERS, Tier
from recgauntlet.core.names import shown
from recgauntlet.core.quantities import seconds, size
from recgauntlet.core.spec import TWIN
from recgauntlet.leaderboard.absence import absence
from recgauntlet.leaderboard.flags import POLICY_SURFACE
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatColumn
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.column import NOT_RUN as NOT_RUN
from recgauntlet_site.column import NOTHING as NOTHING
from recgauntlet_site.column import Column as Column
from recgauntlet_site.column import Content as Content
from recgauntlet_site.families import OURS
from recgauntlet_site.format import percent, times, turned
from recgauntlet_site.quality_columns import quality_columns


def columns_of(table: TaskTable, submitted: Mapping[str, str] | None = None) -> tuple[Column, ...]:
    """All columns of a table between the names and the flags, in order; `submitted` gives by the digest of a record the
    submission that it came with."""
    return (
        *([_P_BEST] if table.ranked else []),
        Column("clean", "Clean", "", "accuracy", lambda row: _share(row.clean), shown=True),
        *([_WORST] if sum(threat.ranked for threat in table.threats) > 1 else []),
        *_robust_accuracies(table),
        *_best_known(table),
        *_poisoning(table),
        *_naturalness(table),
        Column("retained", "Retained", "worst ranked threat", "accuracy", _retained, shown=True),
        *([_POLICY] if any(row.policy for row in table.rows) else []),
        *_external(table, submitted or {}),
        *_COSTS,
        *quality_columns(table),
        *_RUNS,
    )


def _robust_accuracies(table: TaskTable) -> Iterator[Column]:
    for number, threat in enumerate(table.threats):
        for tier in TIERS:
            at_rank = tier == RANKING_TIER
            column = partial(Column, group="robust accuracy", shown=at_rank, threat=threat.id, tier=tier)
            name = shown("tier", tier)
            note = f"{name}, {'not ranked' if not at_rank else 'ranked' if threat.ranked else 'diagnostic'}"
            yield column(f"t{number}{tier[0]}", threat.id, note, content=_robust(table, threat, tier))
            if table.certifies(threat.id, tier):
                yield column(f"c{number}{tier[0]}", threat.id, f"{name}, certified", content=_certified(threat, tier))


def _best_known(table: TaskTable) -> Iterator[Column]:
    """For each threat with attacks from outside the suite, what these and the suite leave together."""
    for number, threat in enumerate(table.threats):
        if any(one.threat == threat.id for row in table.rows for one in row.best_known):
            yield Column(
                f"k{number}",
                threat.id,
                f"best known, {shown('tier', RANKING_TIER)}, not ranked",
                "robust accuracy",
                _challenged(threat),
                shown=True,
                threat=threat.id,
                tier=RANKING_TIER,
            )


def _challenged(threat: ThreatColumn) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        found = next((one for one in row.best_known if one.threat == threat.id), None)
        if found is None:
            return Content("not challenged", mark="none")
        names = ", ".join(attack.name for attack in found.attacks)
        seeds = f"{len(found.seeds)} of {len(row.seeds)} seeds, by the suite {percent(found.suite)}"
        return Content(percent(found.best_known), names, f"{found.best_known:.6g}", more=seeds)

    return content


def _external(table: TaskTable, submitted: Mapping[str, str]) -> Iterator[Column]:
    """Where rows come from, if some are of a submission or of another distribution's plugins."""

    def content(row: Row) -> Content:
        names = sorted({submitted[source.digest] for source in row.sources if source.digest in submitted})
        plugins = [ref for ref in (row.model, row.defense) if ref.distribution != OURS]
        package = ", ".join(dict.fromkeys(f"{ref.distribution} {ref.version}" for ref in plugins))
        if names:
            return Content("submitted", package, f"a{names[0]}", more=", ".join(names))
        return Content("other package", package, f"b{package}") if package else Content("–")

    if any(content(row).sort for row in table.rows):
        yield Column("external", "External", "submitted, or of another package", "run", content, shown=True)


def _naturalness(table: TaskTable) -> Iterator[Column]:
    """For each threat with measured edits the share of broken examples that stay broken by a natural edit."""
    for number, threat in enumerate(table.threats):
        under = [cells for row in table.rows if (cells := row.under(threat.id)) is not None]
        if any(cells.naturalness is not None and cells.naturalness.of_any is not None for cells in under):
            yield Column(
                f"n{number}",
                threat.id,
                f"stay broken by natural edits, {shown('tier', RANKING_TIER)}, not ranked",
                "naturalness of edits",
                _stay_broken(threat),
                shown=True,
                threat=threat.id,
                tier=RANKING_TIER,
            )


def _stay_broken(threat: ThreatColumn) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        cells = row.under(threat.id)
        natural = cells.naturalness if cells else None
        if cells is None or not cells.applicable:
            return NOTHING
        if natural is None or natural.of_any is None:
            return Content("not computed", mark="none")
        if natural.of_any.share is None:
            return Content("none broken", mark="none")
        return _share(natural.of_any.share)

    return content


def _poisoning(table: TaskTable) -> Iterator[Column]:
    """The rank by attacks on training data, and robust accuracy under each such threat."""
    threats = {one.threat: one for row in table.rows for one in row.poisoning}
    if not threats:
        return
    if table.ranked and any(one.ranked for one in threats.values()):
        note = "training data, apart from the rank"
        yield Column("poison-rank", "Rank", note, "robust accuracy", _poison_rank, shown=True)
    for number, (name, one) in enumerate(threats.items()):
        for tier in TIERS:
            at_rank = tier == RANKING_TIER
            ranked = "ranked apart" if at_rank and one.ranked else "not ranked"
            yield Column(
                f"p{number}{tier[0]}",
                name,
                f"training data, {shown('tier', tier)}, {ranked}",
                "robust accuracy",
                _poisoned(table, name, tier),
                shown=at_rank,
                threat=name,
                tier=tier,
            )


def _poison_rank(row: Row) -> Content:
    rank, place = row.poisoning_rank, row.poisoning_range
    if rank is None or place is None:
        return Content("not ranked", mark="none")
    return Content(str(rank), f"range {place}", str(rank), more=f"best in {place.best_percent} % of the draws")


def _poisoned(table: TaskTable, threat: str, tier: Tier) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        one = next((one for one in row.poisoning if one.threat == threat), None)
        found = None if one is None else one.at(tier)
        if one is None or found is None:
            return NOT_RUN
        worst = table.ranked and tier == RANKING_TIER and row.worst_poisoning is one
        return _share(found.robust, "worst" if worst else "")

    return content


def _share(estimate: Estimate, mark: str = "") -> Content:
    interval = f"{percent(estimate.low)}–{percent(estimate.high)}"
    return Content(percent(estimate.value), interval, f"{estimate.value:.6g}", mark)


def _robust(table: TaskTable, threat: ThreatColumn, tier: Tier) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        cell = row.at(threat.id, tier)
        if cell is None:
            if row.policy is not None and threat.surface == POLICY_SURFACE:
                return Content("policy", mark="none")
            return NOT_RUN if absence(row, threat.id) == "not run" else NOTHING
        worst = table.ranked and tier == RANKING_TIER and row.worst == threat.id
        share = _share(cell.robust, "worst" if worst else "")
        return share if cell.attack_success is None else replace(share, more=turned(cell.attack_success))

    return content


def _certified(threat: ThreatColumn, tier: Tier) -> Callable[[Row], Content]:
    def content(row: Row) -> Content:
        cell = row.at(threat.id, tier)
        return _share(cell.certified) if cell is not None and cell.certified is not None else NOTHING

    return content


def _worst(row: Row) -> Content:
    """The row's main number, with the threat that it is under."""
    cell = row.worst_cell
    if cell is None:
        return NOTHING
    share = _share(cell.robust)
    return replace(share, more=f"{row.worst}, {turned(cell.attack_success)}" if cell.attack_success else f"{row.worst}")


_WORST = Column("worst", "Robust", "worst ranked threat, medium", "accuracy", _worst, shown=True)


def _best(row: Row) -> Content:
    place = row.rank_range
    return Content("–") if place is None else Content(place.best_percent, sort=f"{place.best:.6g}")


_P_BEST = Column("best", "P(best)", "first in % of the draws", "accuracy", _best, shown=True)


def _retained(row: Row) -> Content:
    return _share(row.worst_cell.retained) if row.worst_cell is not None else NOTHING


def _policy(row: Row) -> Content:
    """What a policy keeps of harmless edits, and of attacked ones."""
    policy = row.policy
    if policy is None:
        return Content("none", mark="none")
    harmless = "not measured" if policy.harmless is None else percent(policy.harmless)
    sort = "" if policy.harmless is None else f"{policy.harmless:.6g}"
    return Content(harmless, f"{policy.statement}; keeps {percent(policy.kept.value)} under {policy.threat}", sort)


_POLICY = Column("policy", "Policy", "clicked candidates kept after a harmless edit", "accuracy", _policy, shown=True)


def _ratio(field: str) -> Callable[[Row], Content]:
    """A cost relative to the undefended twin, which has none."""

    def content(row: Row) -> Content:
        value: float | None = getattr(row.cost, field)
        twin = "the twin" if value is None and row.defense.name == TWIN else ""
        return Content(times(value), twin, f"{1.0 if value is None else value:.6g}")

    return content


def _number(field: str, text: Callable[[float], str]) -> Callable[[Row], Content]:
    value: Callable[[Row], float] = attrgetter(field)
    return lambda row: Content(text(value(row)), sort=f"{value(row):.6g}")


def _seeds(row: Row) -> Content:
    """The number of seeds that finished, and those that failed."""
    failed = next((flag.title for flag in row.flags if flag.kind == "failed-cells"), "")
    return Content(str(len(row.seeds)), failed, str(len(row.seeds)))


def _device(row: Row) -> str:
    """The devices of the row's runs."""
    return "; ".join(sorted({source.device for source in row.sources}))


_cost = partial(Column, group="cost")
_bytes, _milliseconds = partial(size, unit="B"), "{:.3g} ms".format
_COSTS = (
    _cost("seconds", "Training time", "relative to the twin", content=_ratio("seconds_ratio"), shown=True),
    _cost("flops", "Training FLOPs", "relative to the twin", content=_ratio("flops_ratio"), shown=True),
    _cost("time", "Training time", "", content=_number("cost.training_seconds", seconds)),
    _cost("operations", "Training FLOPs", "", content=_number("cost.training_flops", size)),
    _cost("memory", "Peak memory", "of training", content=_number("cost.peak_memory_bytes", _bytes)),
    _cost("parameters", "Parameters", "", content=_number("cost.parameters", size)),
    _cost("inference", "Scoring", "1,000 candidates", content=_number("cost.inference_ms_per_1000", _milliseconds)),
    _cost("attacks", "Attack time", "all attacks", content=_number("cost.attack_seconds", seconds)),
)
_RUNS = (
    Column("seeds", "Seeds", "behind each number", "run", _seeds, shown=True),
    Column("device", "Device", "", "run", lambda row: Content(_device(row), sort=_device(row))),
)
