from __future__ import annotations

import pytest
from synthetic_ads import ad_outcome, bits, record_with_ads
from synthetic_records import make_record

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.ads import ads_of, kept_by_tier
from recgauntlet.records.ads import AdOutcome
from recgauntlet.records.validate import check_record


def test_the_fewest_ads_up_to_a_tier_count_and_every_attack_must_leave_an_ad() -> None:
    assert kept_by_tier(ad_outcome()) == [(5 / 6, 4 / 6), (2 / 6, 1 / 6)]


def test_a_rows_exposure_is_that_of_its_records_with_each_attack_and_the_control() -> None:
    found = ads_of([record_with_ads(0), record_with_ads(1)])
    assert found is not None
    assert found.lists == 4
    assert found.shown.value == 6 / 40
    assert [(tier.tier, tier.exposure.value, tier.accuracy.value) for tier in found.tiers] == [
        ("low", 5 / 6, 4 / 6),
        ("standard", 2 / 6, 1 / 6),
    ]
    assert [(name, estimate.value) for name, estimate in found.tiers[1].attacks] == [
        ("folk-rule", 5 / 6),
        ("dodging-gradient", 4 / 6),
    ]
    assert all(tier.exposure.low <= tier.exposure.value <= tier.exposure.high for tier in found.tiers)
    (control,) = found.controls
    assert (control.attack, control.exposure.value, control.difference.value) == ("dodging-gradient", 4 / 6, 0.0)
    assert control.agrees
    assert found.failed == ("a-check",)


def test_records_without_ads_or_with_others_give_none() -> None:
    assert ads_of([make_record(seed=0)]) is None
    assert ads_of([record_with_ads(0), make_record(seed=1)]) is None
    other = ad_outcome().model_copy(update={"tiers": ad_outcome().tiers[:1]})
    assert ads_of([record_with_ads(0), record_with_ads(1, other, ad_outcome(1))]) is None


def test_a_model_that_reads_no_histories_has_no_tiers() -> None:
    unread = AdOutcome(
        threat="ad-dodging", draw=0, applicable=False, lists=0, sponsored=0, offset=0, shown=bits([]), tiers=()
    )
    found = ads_of([record_with_ads(0, unread)])
    assert found is not None
    assert found.tiers == ()
    assert found.at("low") is None


def test_records_without_ads_keep_their_bytes() -> None:
    assert "ads" not in make_record(seed=0).model_dump(mode="json")
    check_record(record_with_ads())


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"shown": bits([[1, 0, 0]])}, "ads.ad-dodging.0.shown"),
        ({"applicable": False}, "ads.ad-dodging.0"),
        ({"offset": float("nan")}, "ads.ad-dodging.0"),
        ({"shown": bits([[0, 0, 0]] * 4)}, "ads.ad-dodging.0.low.folk-rule"),
        ({"draw": 1}, "ads"),
    ],
)
def test_ads_that_contradict_themselves_are_refused(change: dict[str, object], field: str) -> None:
    broken = record_with_ads(0, ad_outcome().model_copy(update=change), ad_outcome(1))
    with pytest.raises(RecordError) as caught:
        check_record(broken)
    assert caught.value.field == field
