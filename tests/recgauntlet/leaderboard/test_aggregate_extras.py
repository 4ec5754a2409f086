"""Curves, ablations, rankings and exposure: every number from the facts of the records, written out."""

from __future__ import annotations

import math

import numpy as np
import pytest
from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import ThreatCells
from recgauntlet.metrics.ranking import Ranked, offsets_of
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.schema import RunRecord


def seeds(count: int = 3) -> list[RunRecord]:
    return [make_record(seed=seed, further=True) for seed in range(count)]


def cells_of(records: list[RunRecord], threat: str = "stuffing") -> ThreatCells:
    (table,) = build_table(records)
    cells = table.rows[0].under(threat)
    assert cells is not None
    return cells


def altered(record: RunRecord, threat: str, **update: object) -> RunRecord:
    """The record, sealed again, with fields of one threat's outcome changed."""
    threats = tuple(t.model_copy(update=update) if t.id == threat else t for t in record.threats)
    return record.model_copy(update={"threats": threats}).sealed()


@pytest.mark.parametrize("threat", ["stuffing", "embedding"])
def test_a_curve_is_the_mean_over_seeds_of_the_subsets_bits(threat: str) -> None:
    records = seeds()
    found = cells_of(records, threat).curve
    facts = [next(t for t in record.threats if t.id == threat).curve for record in records]
    assert [point.amount for point in found] == [point.amount for point in facts[0]]
    for number, point in enumerate(found):
        expected = np.mean([curve[number].robust.to_bool().mean() for curve in facts])
        assert point.accuracy.value == pytest.approx(expected)
        assert point.accuracy.low < expected < point.accuracy.high


def test_both_examples_of_a_pair_are_resampled_together() -> None:
    """Right on one example of every pair: no draw of pairs can change the mean."""
    record = make_record(further=True)
    embedding = next(t for t in record.threats if t.id == "embedding")
    half = BitColumn.of(np.tile([True, False], 30))
    curve = (embedding.curve[0].model_copy(update={"robust": half}),)
    (point,) = cells_of([altered(record, "embedding", curve=curve)], "embedding").curve
    assert (point.accuracy.low, point.accuracy.value, point.accuracy.high) == (0.5, 0.5, 0.5)


def test_an_ablation_tells_what_the_suite_would_miss_without_an_attack() -> None:
    record = make_record(further=True)
    stuffing = next(t for t in record.threats if t.id == "stuffing")
    assert record.clean is not None
    right = ((record.clean.scores.to_float() > 0) == record.clean.labels.to_bool())[list(stuffing.subset)]
    sets = {lone.attack: {*np.flatnonzero(lone.broken.to_bool())} for lone in stuffing.alone}
    (found,) = cells_of([record]).ablation
    assert (found.tier, found.examples) == ("standard", 60)
    assert found.clean.value == pytest.approx(right.mean())
    assert found.whole.value == pytest.approx((right.sum() - len(set.union(*sets.values()))) / 60)
    assert [line.attack for line in found.attacks] == list(sets)
    for line in found.attacks:
        others = set.union(*(broken for name, broken in sets.items() if name != line.attack))
        assert line.alone.value == pytest.approx((right.sum() - len(sets[line.attack])) / 60)
        assert line.without.value == pytest.approx((right.sum() - len(others)) / 60)
        assert line.only_here == len(sets[line.attack] - others)
        assert line.alone.value >= found.whole.value
    assert any(line.only_here for line in found.attacks)


def test_a_ranking_is_that_of_the_attacked_impressions() -> None:
    records = seeds()
    found = cells_of(records, "embedding").ranking
    assert found is not None
    assert found.impressions == 30
    before, after, ranks = [], [], []
    for record in records:
        assert record.clean is not None
        outcome = next(outcome for outcome in record.ranking if outcome.threat == "embedding")
        offsets = offsets_of(record.clean.impression_sizes[:30])
        labels = record.clean.impression_labels.to_bool()[: offsets[-1]]
        scores = record.clean.impression_scores.to_float()[: offsets[-1]]
        before.append(Ranked.of(labels, scores, offsets).ndcg_each(10).mean())
        after.append(Ranked.of(labels, outcome.scores.to_float(), offsets).ndcg_each(10).mean())
        for start, end, target in zip(offsets[:-1], offsets[1:], outcome.targets, strict=True):
            one = outcome.scores.to_float()[start:end]
            ranks.append(1 + (one > one[target]).sum() + ((one == one[target]).sum() - 1) / 2)
    assert found.ndcg10_before.value == pytest.approx(np.mean(before))
    assert found.ndcg10_after.value == pytest.approx(np.mean(after))
    assert found.rank_after.value == pytest.approx(np.mean(ranks))
    assert found.rank_before.value < found.rank_after.value
    assert 0 < found.overlap.value < 1
    assert found.rank_after.low < found.rank_after.value < found.rank_after.high


def test_only_the_named_impressions_count_in_the_order_they_are_named() -> None:
    record = make_record(further=True)
    (whole, *_) = record.ranking
    assert record.clean is not None
    offsets = offsets_of(record.clean.impression_sizes)
    scores = whole.scores.to_float()
    chosen = (7, 2)
    part = whole.model_copy(
        update={
            "impressions": chosen,
            "targets": tuple(whole.targets[n] for n in chosen),
            "scores": FloatColumn.of(np.concatenate([scores[offsets[n] : offsets[n + 1]] for n in chosen])),
        }
    )
    found = cells_of([record.model_copy(update={"ranking": (part,)}).sealed()]).ranking
    assert found is not None
    ranks = []
    for n in chosen:
        one = scores[offsets[n] : offsets[n + 1]]
        ranks.append(1 + (one > one[whole.targets[n]]).sum())
    assert found.rank_after.value == pytest.approx(np.mean(ranks))


def test_exposure_is_the_share_of_items_and_users_within_the_cut_off() -> None:
    records = seeds()
    found = cells_of(records).promotion
    assert found is not None
    assert (found.items, found.users, found.competitors) == (4, 15, 100)
    for k, before, after in (
        (10, found.exposure10_before, found.exposure10_after),
        (50, found.exposure50_before, found.exposure50_after),
    ):
        facts = [record.promotion[0] for record in records]
        assert before.value == pytest.approx(np.mean([(p.before.to_float() <= k).mean() for p in facts]))
        assert after.value == pytest.approx(np.mean([(p.after.to_float() <= k).mean() for p in facts]))
        assert before.value < after.value
        assert before.low < before.value < before.high


def test_exposure_knows_that_users_share_an_item() -> None:
    """One item seen by all, three by none: the interval must span what four items can tell, however many users."""
    record = make_record(further=True)
    ranks = np.repeat([1.0, 60, 60, 60], 15)
    part = record.promotion[0].model_copy(update={"before": FloatColumn.of(ranks)})
    found = cells_of([record.model_copy(update={"promotion": (part,)}).sealed()]).promotion
    assert found is not None
    assert found.exposure10_before.value == 0.25
    assert (found.exposure10_before.low, found.exposure10_before.high) == (0.0, 0.75)


def test_a_row_lacks_what_one_of_its_records_lacks() -> None:
    found = cells_of([make_record(seed=0, further=True), make_record(seed=1)])
    assert (found.ablation, found.ranking, found.promotion) == ((), None, None)
    assert math.isfinite(found.cells[0].robust.value)


def test_a_row_has_the_curve_of_the_seeds_that_have_one() -> None:
    one, other = make_record(seed=0, further=True), make_record(seed=1, further=True)
    alone = cells_of([one]).curve
    assert alone
    assert cells_of([one, altered(other, "stuffing", curve=())]).curve == alone
    assert cells_of([altered(record, "stuffing", curve=()) for record in (one, other)]).curve == ()


def test_curves_over_other_examples_are_not_averaged() -> None:
    one, other = (make_record(seed=seed, further=True) for seed in range(2))
    subset = next(t for t in other.threats if t.id == "stuffing").subset
    other = altered(other, "stuffing", subset=tuple(example + 120 for example in subset))
    assert cells_of([one, other]).curve == ()


def test_a_threat_that_does_not_apply_has_none_of_it() -> None:
    found = cells_of([make_record(threats={"stuffing": None, "embedding": (0.6, 0.5, 0.4)}, further=True)])
    assert (found.curve, found.ablation, found.ranking, found.promotion) == ((), (), None, None)
