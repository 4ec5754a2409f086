"""Checking a record: its schema and digest, then what a schema cannot express of columns and their relations."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from recgauntlet.core.card import TIERS, TaskCard
from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.metrics.ranking import correct
from recgauntlet.records.columns import BitColumn, FloatColumn, IntColumn
from recgauntlet.records.digest import validated
from recgauntlet.records.groups import grouping_faults
from recgauntlet.records.naturalness import Naturalness
from recgauntlet.records.poisoning_checks import poisoning_faults
from recgauntlet.records.references import TaskRef
from recgauntlet.records.right_examples import right_clean, right_under
from recgauntlet.records.schema import REMEDY, SCHEMA_VERSIONS, CatalogRanks, Clean, RunRecord, ThreatOutcome
from recgauntlet.records.user_groups import user_groups_faults

_HALF = 1e-3
"""What rounding to half precision may add to a cosine of 1."""


def parse_record(content: dict[str, Any], path: Path) -> RunRecord:
    """The record in `content`, the JSON object of the file `path`, checked.

    Raises RecordError where it has another schema version, unknown or missing fields, was edited, or contradicts
    itself.
    """
    record = validated(content, RunRecord, SCHEMA_VERSIONS, path, "run the cell again", REMEDY)
    check_record(record, path)
    return record


@dataclass(frozen=True)
class _Reader:
    """Decodes the columns of the record at `where`; a column that cannot be decoded is a fault of the record."""

    where: Path | None

    def bits(self, column: BitColumn, field: str) -> BoolArray:
        try:
            return column.to_bool()
        except RecordError as error:
            raise self.fault(field, error.problem) from error

    def floats(self, column: FloatColumn, field: str) -> npt.NDArray[np.float32]:
        try:
            return column.to_float()
        except RecordError as error:
            raise self.fault(field, error.problem) from error

    def integers(self, column: IntColumn, field: str) -> IntArray:
        try:
            return column.to_int()
        except RecordError as error:
            raise self.fault(field, error.problem) from error

    def fault(self, field: str, problem: str) -> RecordError:
        return RecordError(problem, where=self.where, field=field, remedy=REMEDY)


def check_record(record: RunRecord, where: Path | None = None) -> None:
    """Check what the schema cannot: that every column can be decoded and that no column contradicts another.

    Raises RecordError naming `where`, the first column at fault and what is wrong with it.
    """
    columns = _Reader(where)
    task = record.task
    if task.card is not None and (task.track not in task.card.tracks or not _is_of(task.card, task)):
        raise columns.fault("task.card", "is not the card whose id, version and fingerprint the record has")
    if record.status == "failed":
        if record.failure is None:
            raise columns.fault("failure", "is missing in a record of a failed cell")
        return
    if record.clean is None:
        raise columns.fault("clean", "is missing in a record of a finished cell")
    if record.cost is None and record.epochs:  # weights that were trained elsewhere have neither
        raise columns.fault("cost", "is missing in a record of a trained cell")
    right = _check_clean(record.clean, columns)
    _check_first_pairs(record, len(right), columns)
    _check_groups(record, record.clean, columns)
    ids = [threat.id for threat in record.threats]
    if len(set(ids)) != len(ids):
        raise columns.fault("threats", "names one threat twice")
    for threat in record.threats:
        _check_threat(threat, right, columns)
        _check_subset(threat, right, columns)
    _check_user_groups(record, record.clean, columns)
    _check_certified(record, right, columns)
    _check_ranking(record, record.clean, columns)
    _check_promotion(record, columns)
    _check_ads(record, columns)
    examples = 2 * record.first_pairs.all_pairs if record.first_pairs else len(right)  # poisoning is measured on all
    for fault in poisoning_faults(record.poisoning, examples):
        raise columns.fault(*fault)
    if not record.task.redistributable and any(found.shows_text for found in record.evidence):
        raise columns.fault("evidence", "shows text of data that may not be redistributed")


def _is_of(card: TaskCard, task: TaskRef) -> bool:
    return (card.id, card.version, card.fingerprint(task.track)) == (task.id, task.version, task.fingerprint)


def _check_clean(clean: Clean, columns: _Reader) -> BoolArray:
    """`[P]`: true where the clean score may count as right. A score that rounded to 0 may, on either side."""
    labels = columns.bits(clean.labels, "clean.labels")
    scores = columns.floats(clean.scores, "clean.scores")
    if len(labels) == 0 or len(labels) != len(scores):
        raise columns.fault("clean.scores", f"has {len(scores)} values for {len(labels)} labels")
    if len(labels) % 2 or not labels[0::2].all() or labels[1::2].any():
        raise columns.fault("clean.labels", "must be pairs: clicked, unclicked, clicked, ...")
    count = len(clean.impression_sizes)
    _check_lists(clean.impression_sizes, clean.impression_labels, clean.impression_scores, "clean.impression_", columns)
    if len(clean.impression_users) != count:
        raise columns.fault("clean.impression_users", "must name one user an impression")
    if (popular := clean.popular) is not None:
        _check_lists(popular.sizes, popular.labels, popular.scores, "clean.popular.", columns)
        if len(popular.sizes) != count:
            raise columns.fault("clean.popular.sizes", f"are {len(popular.sizes)} for {count} test impressions")
    if (catalog := clean.catalog) is not None:
        _check_places(catalog, count, columns)
    rounded: BoolArray = scores == 0
    return correct(labels, scores) | rounded


def _check_lists(sizes: tuple[int, ...], labels: BitColumn, scores: FloatColumn, place: str, columns: _Reader) -> None:
    """Impressions, whose fields have names that begin with `place`."""
    shown = columns.bits(labels, f"{place}labels")
    scored = len(columns.floats(scores, f"{place}scores"))
    if not sizes or min(sizes) < 1 or not sum(sizes) == len(shown) == scored:
        raise columns.fault(f"{place}sizes", "do not add up to the labels and scores of the impressions")
    clicks = np.add.reduceat(shown.astype(np.int64), np.cumsum((0, *sizes[:-1])))
    if ((clicks < 1) | (clicks >= np.asarray(sizes))).any():
        raise columns.fault(f"{place}labels", "must have a clicked and an unclicked candidate in every impression")


def _check_places(catalog: CatalogRanks, impressions: int, columns: _Reader) -> None:
    lengths = {len(catalog.above), len(catalog.tied), len(catalog.others)}
    if len(lengths) != 1 or not 0 < len(catalog.above) <= impressions:
        raise columns.fault("clean.catalog", f"must have one place for each of the first of {impressions} impressions")
    places = zip(catalog.above, catalog.tied, catalog.others, strict=True)
    if any(min(above, tied) < 0 or above + tied > others for above, tied, others in places):
        raise columns.fault("clean.catalog.above", "and tied items must be at least 0 and together at most the others")


def _check_first_pairs(record: RunRecord, examples: int, columns: _Reader) -> None:
    first, clean = record.first_pairs, record.clean
    if first is None or clean is None:
        return
    if not (first.examples and first.pairs < first.all_pairs and 2 * first.pairs == examples):
        problem = (
            f"must be the number of the record's {examples // 2} pairs, and less than all_pairs; examples is a hash"
        )
        raise columns.fault("first_pairs", problem)
    if len(clean.impression_sizes) > first.all_impressions:
        raise columns.fault("first_pairs.all_impressions", "is less than the impressions of the record")


def _check_groups(record: RunRecord, clean: Clean, columns: _Reader) -> None:
    lists = 0 if clean.catalog is None else len(clean.catalog.above)
    try:
        fault = grouping_faults(record.groups, clean.labels.n // 2, lists)
    except RecordError as error:
        raise columns.fault("groups", error.problem) from error
    if fault is not None:
        raise columns.fault(*fault)


def _check_user_groups(record: RunRecord, clean: Clean, columns: _Reader) -> None:
    try:
        fault = user_groups_faults(record.user_groups, right_clean(clean), right_under(record))
    except RecordError as error:
        raise columns.fault("user_groups", error.problem) from error
    if fault is not None:
        raise columns.fault(*fault)


def _check_threat(threat: ThreatOutcome, right: BoolArray, columns: _Reader) -> None:
    place = f"threats.{threat.id}"
    tiers = [outcome.tier for outcome in threat.tiers]
    if len(set(tiers)) != len(tiers) or threat.applicable != bool(tiers):
        raise columns.fault(place, "must have each tier once, and tiers exactly where it is applicable")
    for outcome in threat.tiers:
        field = f"{place}.{outcome.tier}.robust"
        robust = columns.bits(outcome.robust, field)
        if len(robust) != len(right):
            raise columns.fault(field, f"has {len(robust)} bits for {len(right)} examples")
        if (robust & ~right).any():
            raise columns.fault(field, "counts examples that are wrong on the clean input")
        for attack in outcome.attacks:
            name = f"{place}.{outcome.tier}.{attack.name}"
            attacked, broken = columns.bits(attack.attacked, name), columns.bits(attack.broken, name)
            if not len(attacked) == len(broken) == len(right) or (broken & ~attacked).any():
                raise columns.fault(name, "must have a bit an example, and break none that it did not attack")
            if (broken & robust).any():
                raise columns.fault(name, "broke examples that are counted as robust")
            _check_naturalness(attack.naturalness, int(broken.sum()), name, columns)


def _check_subset(threat: ThreatOutcome, right: BoolArray, columns: _Reader) -> None:
    """The security curve and the attacks that ran alone, both over a subset of the test examples."""
    place, subset, size = f"threats.{threat.id}", threat.subset, len(threat.subset)
    if size and (len(set(subset)) != size or min(subset) < 0 or max(subset) >= len(right)):
        raise columns.fault(f"{place}.subset", "must name test examples, each once")
    if (threat.curve or threat.alone) and not size:
        raise columns.fault(f"{place}.subset", "is missing, but a curve or an attack that ran alone needs it")
    standing = right[list(subset)]
    budgets = [(point.amount, point.characters) for point in threat.curve]
    if budgets != sorted(set(budgets)) or not all(math.isfinite(amount) and amount >= 0 for amount, _ in budgets):
        raise columns.fault(f"{place}.curve", "must have rising budgets")
    for point in threat.curve:
        robust = columns.bits(point.robust, f"{place}.curve")
        if len(robust) != size or (robust & ~standing).any():
            raise columns.fault(f"{place}.curve", "must have a bit an example, and none that a smaller budget broke")
        standing = robust
    runs = [(lone.attack, lone.tier) for lone in threat.alone]
    if len(set(runs)) != len(runs):
        raise columns.fault(f"{place}.alone", "names an attack twice at one tier")
    for lone in threat.alone:
        name = f"{place}.alone.{lone.attack}"
        broken = columns.bits(lone.broken, name)
        if len(broken) != size:
            raise columns.fault(name, f"does not have {size} bits")
        _check_naturalness(lone.naturalness, int(broken.sum()), name, columns)


def _check_naturalness(found: Naturalness | None, broken: int, place: str, columns: _Reader) -> None:
    """A value for each broken example, perplexity ratios above 0 and cosines between -1 and 1, both or none."""
    if found is None:
        return
    counts = [len(columns.integers(part, f"{place}.naturalness")) for part in (found.words, found.characters)]
    ratio, cosine = (
        None if part is None else columns.floats(part, f"{place}.naturalness")
        for part in (found.perplexity_ratio, found.cosine)
    )
    if (ratio is None) != (cosine is None):
        raise columns.fault(f"{place}.naturalness", "must have perplexity ratios and cosines, or neither")
    if ratio is not None and cosine is not None:
        counts += [len(ratio), len(cosine)]
        if not ((ratio >= 0).all() and (np.abs(cosine) <= 1 + _HALF).all()):
            raise columns.fault(f"{place}.naturalness", "must have ratios from 0 on and cosines from -1 to 1")
    if set(counts) != {broken}:
        raise columns.fault(f"{place}.naturalness", f"must have {broken} values, one for each broken example")


def _check_certified(record: RunRecord, right: BoolArray, columns: _Reader) -> None:
    """A certified example is right, certified at smaller budgets too, and unbroken unless a failed check reports it."""
    tiers = [(one.threat, one.tier) for one in record.certified]
    if len(set(tiers)) != len(tiers):
        raise columns.fault("certified", "names one threat twice at one tier")
    admitted = {gate.threat for gate in record.gates if gate.name == "certificate-holds" and not gate.passed}
    attacked = {(threat.id, outcome.tier): outcome for threat in record.threats for outcome in threat.tiers}
    smaller: dict[str, BoolArray] = {}
    for one in sorted(record.certified, key=lambda one: TIERS.index(one.tier)):
        place = f"certified.{one.threat}.{one.tier}"
        certified = columns.bits(one.certified, place)
        outcome = attacked.get((one.threat, one.tier))
        if outcome is None:
            raise columns.fault(place, "names a threat or tier that was not attacked")
        if len(certified) != len(right) or not 0 <= one.reached <= one.votes:
            raise columns.fault(place, f"must have {len(right)} bits, and reach no more votes than there are")
        if (certified & ~right).any():
            raise columns.fault(place, "certifies examples that are wrong on the clean input")
        if (certified & ~smaller.get(one.threat, right)).any():
            raise columns.fault(place, "certifies examples that a smaller budget does not")
        smaller[one.threat] = certified
        if one.threat not in admitted and (certified & ~columns.bits(outcome.robust, place)).any():
            raise columns.fault(
                place, "certifies examples that an attack broke, without a failed check that reports it"
            )


def _check_ranking(record: RunRecord, clean: Clean, columns: _Reader) -> None:
    if len({outcome.threat for outcome in record.ranking}) != len(record.ranking):
        raise columns.fault("ranking", "names one threat twice")
    count = len(clean.impression_sizes)
    for outcome in record.ranking:
        place, chosen = f"ranking.{outcome.threat}", outcome.impressions
        if chosen and (len(set(chosen)) != len(chosen) or min(chosen) < 0 or max(chosen) >= count):
            raise columns.fault(f"{place}.impressions", "must name impressions of the record, each once")
        sizes = [clean.impression_sizes[number] for number in chosen]
        if len(outcome.targets) != len(chosen) or not all(
            0 <= target < size for target, size in zip(outcome.targets, sizes, strict=True)
        ):
            raise columns.fault(f"{place}.targets", "must name a candidate of each impression")
        if len(columns.floats(outcome.scores, f"{place}.scores")) != sum(sizes):
            raise columns.fault(f"{place}.scores", f"must have {sum(sizes)} values, one a candidate")


def _check_promotion(record: RunRecord, columns: _Reader) -> None:
    if len({outcome.threat for outcome in record.promotion}) != len(record.promotion):
        raise columns.fault("promotion", "names one threat twice")
    for outcome in record.promotion:
        if (outcome.catalog_before is None) != (outcome.catalog_after is None):
            raise columns.fault(f"promotion.{outcome.threat}", "has ranks among all items before or after alone")
        last = float(outcome.competitors + 1)
        limits = {"before": last, "after": last, "catalog_before": math.inf, "catalog_after": math.inf}
        for name, most in limits.items():
            place, column = f"promotion.{outcome.threat}.{name}", getattr(outcome, name)
            if column is None:
                continue
            ranks = columns.floats(column, place)
            users = outcome.users
            if most == math.inf:
                users = min(users, len(ranks) // max(1, len(outcome.items)))
            if len(ranks) != len(outcome.items) * users or (most == math.inf and not users):
                raise columns.fault(place, "must have a rank for each item and user")
            if not ((ranks >= 1) & (ranks <= most)).all():
                raise columns.fault(place, f"must have ranks from 1 to {most:g}")


def _check_ads(record: RunRecord, columns: _Reader) -> None:
    if len({(outcome.threat, outcome.draw) for outcome in record.ads}) != len(record.ads):
        raise columns.fault("ads", "names one draw twice")
    for outcome in record.ads:
        place, size = f"ads.{outcome.threat}.{outcome.draw}", outcome.lists * outcome.sponsored
        tiers = [tier.tier for tier in outcome.tiers]
        if len(set(tiers)) != len(tiers) or outcome.applicable != bool(tiers) or not math.isfinite(outcome.offset):
            raise columns.fault(place, "must have each tier once, tiers exactly where it is applicable, and an offset")
        shown = columns.bits(outcome.shown, f"{place}.shown")
        if len(shown) != size or outcome.lists < 0 or outcome.sponsored < 0:
            raise columns.fault(f"{place}.shown", f"must have {size} bits, one a list and sponsored candidate")
        clean = shown.reshape(outcome.lists, outcome.sponsored).sum(axis=1)
        for tier in outcome.tiers:
            for attack in tier.attacks:
                field = f"{place}.{tier.tier}.{attack.name}"
                ads = columns.bits(attack.ads, field)
                if len(ads) != size or (ads.reshape(outcome.lists, -1).sum(axis=1) > clean).any():
                    raise columns.fault(field, "must show no more ads in a list than the clean list has")
