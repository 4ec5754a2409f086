"""What may be compared, and the words for why something may not."""

from __future__ import annotations

import pytest
from made_releases import SMALL
from synthetic_records import make_record

from recgauntlet.records.comparability import EvaluationSetting


def setting(**options: object) -> EvaluationSetting:
    return EvaluationSetting.of(make_record(**{**SMALL, **options}))  # type: ignore[arg-type]


@pytest.mark.parametrize("options", [{"seed": 3}, {"model": "mf"}, {"defense": "pgd"}, {"clean": 0.6}])
def test_seed_model_defense_and_outcome_do_not_matter(options: dict[str, object]) -> None:
    assert setting(**options) == setting()
    assert setting().unlike(setting(**options)) == ()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"task": "news"}, "another task (shop and news)"),
        ({"track": "demo"}, "another track (standard and demo)"),
        ({"version": 2}, "another version of the task (1 and 2)"),
        ({"fingerprint": "1" * 64}, "another task card (fingerprints cccccccccccc and 111111111111)"),
        ({"data_fingerprint": "2" * 64}, "other data (fingerprints dddddddddddd and 222222222222)"),
        ({"simulated": True}, "other data (simulated or not, redistributable or not)"),
        ({"suite_fingerprint": "3" * 64}, "another attack suite (preview-1 1 with fingerprints eeeeeeeeeeee and 33"),
        ({"pairs": 70}, "other test examples (hashes "),
    ],
)
def test_every_difference_is_told_in_words(options: dict[str, object], words: str) -> None:
    first, second = setting(), setting(**options)
    assert second.unlike(first)
    (told,) = first.unlike(second)
    assert words in told


def test_all_differences_are_told_together() -> None:
    assert len(setting().unlike(setting(version=2, suite_fingerprint="3" * 64, pairs=70))) == 3


def test_a_cell_that_failed_may_be_of_any_ground_it_does_not_contradict() -> None:
    lost = setting(failure="no file", data_fingerprint="")
    assert lost.unlike(setting()) == setting().unlike(lost) == ()
    assert setting(failure="no file", data_fingerprint="2" * 64).unlike(setting())
    assert setting(failure="no file", suite_fingerprint="3" * 64).unlike(setting())
