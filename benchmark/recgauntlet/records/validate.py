"""No record may contradict itself: what the schema cannot say of packed columns and what they mean together."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
import numpy.typing as npt

from recgauntlet.core.card import TIERS
from recgauntlet.core.errors import RecordError
from recgauntlet.core.types import BoolArray
from recgauntlet.metrics.example_sets import to_set
from recgauntlet.metrics.ranking import correct
from recgauntlet.records.columns import Columns, Packed
from recgauntlet.records.schema import REMEDY, Clean, RunRecord, ThreatOutcome

Unfolded = TypeVar("Unfolded")


@dataclass(frozen=True)
class _Unfolding:
    """The columns of the record at `where`, as they unfold; one that does not is a fault of the record."""

    where: Path | None
    columns: Columns

    def examples(self, column: Packed, field: str) -> int:
        """The set of examples in a column of bits."""
        try:
            return self.columns.examples(column)
        except RecordError as error:
            raise self.fault(field, error.problem) from error

    def length(self, column: Packed, field: str) -> int:
        """How many values a column of half floats has."""
        return len(self._unfolded(self.columns.halves, column, field))

    def bits(self, column: Packed, field: str) -> BoolArray:
        return self._unfolded(Packed.to_bool, column, field)

    def floats(self, column: Packed, field: str) -> npt.NDArray[np.float32]:
        return self._unfolded(Packed.to_float, column, field)

    def fault(self, field: str, problem: str) -> RecordError:
        return RecordError(problem, where=self.where, field=field, remedy=REMEDY)

    def _unfolded(self, unfold: Callable[[Packed], Unfolded], column: Packed, field: str) -> Unfolded:
        try:
            return unfold(column)
        except RecordError as error:
            raise self.fault(field, error.problem) from error


@dataclass(frozen=True)
class _Right:
    """The test examples whose clean score may count as right, of `count` in all."""

    examples: int
    count: int


def check_record(record: RunRecord, where: Path | None = None, unfolded: Columns | None = None) -> None:
    """Check what the schema cannot: that every packed column unfolds and that no column contradicts another.
    `unfolded` are columns that were unfolded before; those of this record come to them.

    Raises
    ------
    RecordError
        Naming `where`, the first column at fault and what is wrong with it.
    """
    columns = _Unfolding(where, Columns() if unfolded is None else unfolded)
    if record.status == "failed":
        if record.failure is None:
            raise columns.fault("failure", "is missing in a record of a failed cell")
        return
    if record.clean is None:
        raise columns.fault("clean", "is missing in a record of a finished cell")
    if record.cost is None:
        raise columns.fault("cost", "is missing in a record of a finished cell")
    bits = _check_clean(record.clean, columns)
    right = _Right(to_set(bits), len(bits))
    ids = [threat.id for threat in record.threats]
    if len(set(ids)) != len(ids):
        raise columns.fault("threats", "names one threat twice")
    for threat in record.threats:
        _check_threat(threat, right, columns)
        _check_subset(threat, bits, columns)
    _check_certified(record, right, columns)
    _check_ranking(record, record.clean, columns)
    _check_promotion(record, columns)
    if not record.task.redistributable and any(found.shows_text for found in record.evidence):
        raise columns.fault("evidence", "shows text of data that may not be passed on")


def _check_clean(clean: Clean, columns: _Unfolding) -> BoolArray:
    """`[P]`: true where the clean score may count as right. A score that rounded to 0 may, on either side."""
    labels = columns.bits(clean.labels, "clean.labels")
    scores = columns.floats(clean.scores, "clean.scores")
    if len(labels) == 0 or len(labels) != len(scores):
        raise columns.fault("clean.scores", f"has {len(scores)} values for {len(labels)} labels")
    if len(labels) % 2 or not labels[0::2].all() or labels[1::2].any():
        raise columns.fault("clean.labels", "must be pairs: clicked, unclicked, clicked, ...")
    shown = columns.bits(clean.impression_labels, "clean.impression_labels")
    scored = columns.length(clean.impression_scores, "clean.impression_scores")
    if (
        not clean.impression_sizes
        or min(clean.impression_sizes) < 1
        or not sum(clean.impression_sizes) == len(shown) == scored
    ):
        raise columns.fault("clean.impression_sizes", "do not add up to the labels and scores of the impressions")
    if len(clean.impression_users) != len(clean.impression_sizes):
        raise columns.fault("clean.impression_users", "must name one user an impression")
    sizes = np.asarray(clean.impression_sizes, dtype=np.int64)
    clicks = np.add.reduceat(shown.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)[:-1]]))
    if ((clicks < 1) | (clicks >= sizes)).any():
        raise columns.fault(
            "clean.impression_labels",
            "must have a clicked and an unclicked candidate in every impression",
        )
    rounded: BoolArray = scores == 0
    return correct(labels, scores) | rounded


def _check_threat(threat: ThreatOutcome, right: _Right, columns: _Unfolding) -> None:
    place = f"threats.{threat.id}"
    tiers = [outcome.tier for outcome in threat.tiers]
    if len(set(tiers)) != len(tiers) or threat.applicable != bool(tiers):
        raise columns.fault(place, "must have each tier once, and tiers exactly where it is applicable")
    for outcome in threat.tiers:
        field = f"{place}.{outcome.tier}.robust"
        robust = columns.examples(outcome.robust, field)
        if outcome.robust.n != right.count:
            raise columns.fault(field, f"has {outcome.robust.n} bits for {right.count} examples")
        if robust & ~right.examples:
            raise columns.fault(field, "counts examples that are wrong on the clean input")
        for attack in outcome.attacks:
            name = f"{place}.{outcome.tier}.{attack.name}"
            attacked, broken = columns.examples(attack.attacked, name), columns.examples(attack.broken, name)
            if attack.attacked.n != right.count or attack.broken.n != right.count or broken & ~attacked:
                raise columns.fault(name, "must have a bit an example, and break none that it did not attack")
            if broken & robust:
                raise columns.fault(name, "broke examples that are counted as robust")


def _check_subset(threat: ThreatOutcome, right: BoolArray, columns: _Unfolding) -> None:
    """The security curve and the lone attacks."""
    place, subset, size = f"threats.{threat.id}", threat.subset, len(threat.subset)
    if size and (len(set(subset)) != size or min(subset) < 0 or max(subset) >= len(right)):
        raise columns.fault(f"{place}.subset", "must name test examples, each once")
    if (threat.curve or threat.alone) and not size:
        raise columns.fault(f"{place}.subset", "is missing, but a curve or a lone attack speaks of it")
    standing = to_set(right[list(subset)])
    budgets = [(point.amount, point.characters) for point in threat.curve]
    if budgets != sorted(set(budgets)) or not all(math.isfinite(amount) and amount >= 0 for amount, _ in budgets):
        raise columns.fault(f"{place}.curve", "must have rising budgets")
    for point in threat.curve:
        robust = columns.examples(point.robust, f"{place}.curve")
        if point.robust.n != size or robust & ~standing:
            raise columns.fault(f"{place}.curve", "must have a bit an example, and none that a smaller budget broke")
        standing = robust
    runs = [(lone.attack, lone.tier) for lone in threat.alone]
    if len(set(runs)) != len(runs):
        raise columns.fault(f"{place}.alone", "names an attack twice at one tier")
    for lone in threat.alone:
        columns.examples(lone.broken, f"{place}.alone.{lone.attack}")
        if lone.broken.n != size:
            raise columns.fault(f"{place}.alone.{lone.attack}", f"does not have {size} bits")


def _check_certified(record: RunRecord, right: _Right, columns: _Unfolding) -> None:
    """What is certified is right, holds for smaller budgets too, and stands, unless a failed gate says that it fell."""
    tiers = [(one.threat, one.tier) for one in record.certified]
    if len(set(tiers)) != len(tiers):
        raise columns.fault("certified", "names one threat twice at one tier")
    admitted = {gate.threat for gate in record.gates if gate.name == "certificate-holds" and not gate.passed}
    attacked = {(threat.id, outcome.tier): outcome for threat in record.threats for outcome in threat.tiers}
    smaller: dict[str, int] = {}
    for one in sorted(record.certified, key=lambda one: TIERS.index(one.tier)):
        place = f"certified.{one.threat}.{one.tier}"
        proved = columns.examples(one.certified, place)
        outcome = attacked.get((one.threat, one.tier))
        if outcome is None:
            raise columns.fault(place, "speaks of a threat or tier that was not attacked")
        if one.certified.n != right.count or not 0 <= one.reached <= one.votes:
            raise columns.fault(place, f"must have {right.count} bits, and reach no more votes than there are")
        if proved & ~right.examples:
            raise columns.fault(place, "certifies examples that are wrong on the clean input")
        if proved & ~smaller.setdefault(one.threat, right.examples):
            raise columns.fault(place, "certifies examples that a smaller budget does not")
        smaller[one.threat] = proved
        if one.threat not in admitted and proved & ~columns.examples(outcome.robust, place):
            raise columns.fault(place, "certifies examples that an attack broke, and no failed gate says so")


def _check_ranking(record: RunRecord, clean: Clean, columns: _Unfolding) -> None:
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
        if columns.length(outcome.scores, f"{place}.scores") != sum(sizes):
            raise columns.fault(f"{place}.scores", f"must have {sum(sizes)} values, one a candidate")


def _check_promotion(record: RunRecord, columns: _Unfolding) -> None:
    if len({outcome.threat for outcome in record.promotion}) != len(record.promotion):
        raise columns.fault("promotion", "names one threat twice")
    for outcome in record.promotion:
        for name, column in (("before", outcome.before), ("after", outcome.after)):
            place = f"promotion.{outcome.threat}.{name}"
            ranks = columns.floats(column, place)
            if len(ranks) != len(outcome.items) * outcome.users:
                raise columns.fault(place, "must have a rank for each item and user")
            if not ((ranks >= 1) & (ranks <= outcome.competitors + 1)).all():
                raise columns.fault(place, f"must have ranks from 1 to {outcome.competitors + 1}")
