"""No record may contradict itself: what the schema cannot say of packed columns and what they mean together."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt

from recgauntlet.card import TIERS
from recgauntlet.data.tables import BoolArray
from recgauntlet.errors import RecordError
from recgauntlet.metrics import correct
from recgauntlet.packed import Packed
from recgauntlet.record import REMEDY, Clean, RunRecord, ThreatOutcome


def check_record(record: RunRecord, where: Path | None = None) -> None:
    """Check what the schema cannot: that every packed column unfolds and that no column contradicts another.

    Raises
    ------
    RecordError
        Naming `where`, the first column at fault and what is wrong with it.
    """
    if record.status == "failed":
        if record.failure is None:
            raise _fault(where, "failure", "is missing in a record of a failed cell")
        return
    if record.clean is None:
        raise _fault(where, "clean", "is missing in a record of a finished cell")
    if record.cost is None:
        raise _fault(where, "cost", "is missing in a record of a finished cell")
    right = _check_clean(record.clean, where)
    ids = [threat.id for threat in record.threats]
    if len(set(ids)) != len(ids):
        raise _fault(where, "threats", "names one threat twice")
    for threat in record.threats:
        _check_threat(threat, right, where)
        _check_subset(threat, right, where)
    _check_certified(record, right, where)
    _check_ranking(record, record.clean, where)
    _check_promotion(record, where)
    if not record.task.redistributable and any(found.shows_text for found in record.evidence):
        raise _fault(where, "evidence", "shows text of data that may not be passed on")


def _check_clean(clean: Clean, where: Path | None) -> BoolArray:
    """`[P]`: true where the clean score may count as right. A score that rounded to 0 may, on either side."""
    labels = _bits(clean.labels, where, "clean.labels")
    scores = _floats(clean.scores, where, "clean.scores")
    if len(labels) == 0 or len(labels) != len(scores):
        raise _fault(where, "clean.scores", f"has {len(scores)} values for {len(labels)} labels")
    if len(labels) % 2 or not labels[0::2].all() or labels[1::2].any():
        raise _fault(where, "clean.labels", "must be pairs: clicked, unclicked, clicked, ...")
    sizes = np.asarray(clean.impression_sizes, dtype=np.int64)
    shown = _bits(clean.impression_labels, where, "clean.impression_labels")
    shown_scores = _floats(clean.impression_scores, where, "clean.impression_scores")
    if len(sizes) == 0 or (sizes < 1).any() or not int(sizes.sum()) == len(shown) == len(shown_scores):
        raise _fault(where, "clean.impression_sizes", "do not add up to the labels and scores of the impressions")
    if len(clean.impression_users) != len(sizes):
        raise _fault(where, "clean.impression_users", "must name one user an impression")
    clicks = np.add.reduceat(shown.astype(np.int64), np.concatenate([[0], np.cumsum(sizes)[:-1]]))
    if ((clicks < 1) | (clicks >= sizes)).any():
        raise _fault(
            where,
            "clean.impression_labels",
            "must have a clicked and an unclicked candidate in every impression",
        )
    rounded: BoolArray = scores == 0
    return correct(labels, scores) | rounded


def _check_threat(threat: ThreatOutcome, right: BoolArray, where: Path | None) -> None:
    place = f"threats.{threat.id}"
    tiers = [outcome.tier for outcome in threat.tiers]
    if len(set(tiers)) != len(tiers) or threat.applicable != bool(tiers):
        raise _fault(where, place, "must have each tier once, and tiers exactly where it is applicable")
    for outcome in threat.tiers:
        robust = _bits(outcome.robust, where, f"{place}.{outcome.tier}.robust")
        if len(robust) != len(right):
            raise _fault(where, f"{place}.{outcome.tier}.robust", f"has {len(robust)} bits for {len(right)} examples")
        if (robust & ~right).any():
            raise _fault(where, f"{place}.{outcome.tier}.robust", "counts examples that are wrong on the clean input")
        for attack in outcome.attacks:
            name = f"{place}.{outcome.tier}.{attack.name}"
            attacked, broken = _bits(attack.attacked, where, name), _bits(attack.broken, where, name)
            if len(attacked) != len(right) or len(broken) != len(right) or (broken & ~attacked).any():
                raise _fault(where, name, "must have a bit an example, and break none that it did not attack")
            if (broken & robust).any():
                raise _fault(where, name, "broke examples that are counted as robust")


def _check_subset(threat: ThreatOutcome, right: BoolArray, where: Path | None) -> None:
    """The security curve and the lone attacks."""
    place, size = f"threats.{threat.id}", len(threat.subset)
    if len(set(threat.subset)) != size or not all(0 <= example < len(right) for example in threat.subset):
        raise _fault(where, f"{place}.subset", "must name test examples, each once")
    if (threat.curve or threat.alone) and not size:
        raise _fault(where, f"{place}.subset", "is missing, but a curve or a lone attack speaks of it")
    standing = right[list(threat.subset)]
    budgets = [(point.amount, point.characters) for point in threat.curve]
    if budgets != sorted(set(budgets)) or not all(np.isfinite(amount) and amount >= 0 for amount, _ in budgets):
        raise _fault(where, f"{place}.curve", "must have rising budgets")
    for point in threat.curve:
        robust = _bits(point.robust, where, f"{place}.curve")
        if len(robust) != size or (robust & ~standing).any():
            raise _fault(where, f"{place}.curve", "must have a bit an example, and none that a smaller budget broke")
        standing = robust
    runs = [(lone.attack, lone.tier) for lone in threat.alone]
    if len(set(runs)) != len(runs):
        raise _fault(where, f"{place}.alone", "names an attack twice at one tier")
    for lone in threat.alone:
        if len(_bits(lone.broken, where, f"{place}.alone.{lone.attack}")) != size:
            raise _fault(where, f"{place}.alone.{lone.attack}", f"does not have {size} bits")


def _check_certified(record: RunRecord, right: BoolArray, where: Path | None) -> None:
    """What is certified is right, holds for smaller budgets too, and stands, unless a failed gate says that it fell."""
    tiers = [(one.threat, one.tier) for one in record.certified]
    if len(set(tiers)) != len(tiers):
        raise _fault(where, "certified", "names one threat twice at one tier")
    admitted = {gate.threat for gate in record.gates if gate.name == "certificate-holds" and not gate.passed}
    attacked = {(threat.id, outcome.tier): outcome for threat in record.threats for outcome in threat.tiers}
    smaller: dict[str, BoolArray] = {}
    for one in sorted(record.certified, key=lambda one: TIERS.index(one.tier)):
        place = f"certified.{one.threat}.{one.tier}"
        bits = _bits(one.certified, where, place)
        outcome = attacked.get((one.threat, one.tier))
        if outcome is None:
            raise _fault(where, place, "speaks of a threat or tier that was not attacked")
        if len(bits) != len(right) or not 0 <= one.reached <= one.votes:
            raise _fault(where, place, f"must have {len(right)} bits, and reach no more votes than there are")
        if (bits & ~right).any():
            raise _fault(where, place, "certifies examples that are wrong on the clean input")
        if (bits & ~smaller.setdefault(one.threat, right)).any():
            raise _fault(where, place, "certifies examples that a smaller budget does not")
        smaller[one.threat] = bits
        if one.threat not in admitted and (bits & ~_bits(outcome.robust, where, place)).any():
            raise _fault(where, place, "certifies examples that an attack broke, and no failed gate says so")


def _check_ranking(record: RunRecord, clean: Clean, where: Path | None) -> None:
    if len({outcome.threat for outcome in record.ranking}) != len(record.ranking):
        raise _fault(where, "ranking", "names one threat twice")
    count = len(clean.impression_sizes)
    for outcome in record.ranking:
        place, chosen = f"ranking.{outcome.threat}", outcome.impressions
        if len(set(chosen)) != len(chosen) or not all(0 <= number < count for number in chosen):
            raise _fault(where, f"{place}.impressions", "must name impressions of the record, each once")
        sizes = [clean.impression_sizes[number] for number in chosen]
        if len(outcome.targets) != len(chosen) or not all(
            0 <= target < size for target, size in zip(outcome.targets, sizes, strict=True)
        ):
            raise _fault(where, f"{place}.targets", "must name a candidate of each impression")
        if len(_floats(outcome.scores, where, f"{place}.scores")) != sum(sizes):
            raise _fault(where, f"{place}.scores", f"must have {sum(sizes)} values, one a candidate")


def _check_promotion(record: RunRecord, where: Path | None) -> None:
    if len({outcome.threat for outcome in record.promotion}) != len(record.promotion):
        raise _fault(where, "promotion", "names one threat twice")
    for outcome in record.promotion:
        for name, column in (("before", outcome.before), ("after", outcome.after)):
            place = f"promotion.{outcome.threat}.{name}"
            ranks = _floats(column, where, place)
            if len(ranks) != len(outcome.items) * outcome.users:
                raise _fault(where, place, "must have a rank for each item and user")
            if not ((ranks >= 1) & (ranks <= outcome.competitors + 1)).all():
                raise _fault(where, place, f"must have ranks from 1 to {outcome.competitors + 1}")


def _bits(column: Packed, where: Path | None, field: str) -> BoolArray:
    try:
        return column.to_bool()
    except RecordError as error:
        raise _fault(where, field, error.problem) from error


def _floats(column: Packed, where: Path | None, field: str) -> npt.NDArray[np.float32]:
    try:
        return column.to_float()
    except RecordError as error:
        raise _fault(where, field, error.problem) from error


def _fault(where: Path | None, field: str, problem: str) -> RecordError:
    return RecordError(
        problem,
        where=where,
        field=field,
        remedy=REMEDY,
    )
