"""The checks of poisoning: each fails where it must, and at its limit it does not."""

from __future__ import annotations

import pytest
from synthetic_poisoning import CLEAN, POISONED, poisoning, trained, training

from recgauntlet.evaluation.newcomers import (
    LEAST_GAIN,
    LEAST_LEARNED,
    LEAST_SHARE,
    MOST_LOST,
    MOST_REMOVED,
    Gains,
    NewcomersOutcome,
    newcomers_checks,
)
from recgauntlet.evaluation.poisoning_checks import POISON_FILTER, poisoning_checks
from recgauntlet.records.parts import Gate
from recgauntlet.records.poisoning import TargetSet, TrainingDataOutcome


def checks(outcome: TrainingDataOutcome, *, filters: bool = True) -> dict[str, Gate]:
    return {check.name: check for check in poisoning_checks(outcome, None, None, filters=filters)}


def with_removed(*removed: int) -> TrainingDataOutcome:
    """Of 40 fake and 160 genuine users a filter removes so many genuine ones under one attack after another."""
    trainings = tuple(
        training(name, "standard", POISONED).model_copy(
            update={"accounts": 40, "genuine": 160, "dropped_fakes": 0, "dropped_genuine": count}
        )
        for name, count in zip(("coattails", "random"), removed, strict=False)
    )
    outcome = poisoning(trainings=trainings)
    assert isinstance(outcome, TrainingDataOutcome)
    return outcome


@pytest.mark.parametrize(
    ("removed", "passed"),
    [((90, 0), True), ((91, 0), False), ((0, 91), False), ((0, 0), True)],
)
def test_a_filter_keeps_most_users(removed: tuple[int, int], passed: bool) -> None:
    assert checks(with_removed(*removed))["filter-keeps-most"].passed == passed
    assert "filter-keeps-most" not in checks(with_removed(160), filters=False)


def test_what_a_filter_removes_is_compared_with_all_training_users() -> None:
    found = checks(with_removed(120))["filter-keeps-most"]
    assert found.value == 120 / 200 > found.limit == POISON_FILTER
    refused = training("coattails", "standard", CLEAN, faults=("too long",))
    assert "filter-keeps-most" not in checks(with_removed().model_copy(update={"trainings": (refused,)}))


def newcomers(removed: int = 0, genuine: int = 0, fit: float = 0.9) -> dict[str, Gate]:
    found = NewcomersOutcome(
        newcomers=20,
        removed=removed,
        genuine=100,
        removed_genuine=genuine,
        fit=fit,
        fit_genuine=0.9,
        lost=removed / 20,
        lost_genuine=genuine / 100,
    )
    return {check.name: check for check in newcomers_checks(found, "brushing", filters=True)}


@pytest.mark.parametrize(
    ("removed", "genuine", "excess"), [(2, 10, 0.0), (20, 0, 1.0), (20, 49, 0.51), (7, 10, 0.25), (0, 10, -0.1)]
)
def test_newcomers_are_removed_about_as_often_as_genuine_users(removed: int, genuine: int, excess: float) -> None:
    found = newcomers(removed, genuine)["newcomers-are-kept"]
    assert found.value == pytest.approx(excess)
    assert found.passed == (excess <= MOST_REMOVED)


def test_a_filter_that_leaves_newcomers_few_pairs_removes_too_much() -> None:
    found = NewcomersOutcome(
        newcomers=20,
        removed=0,
        genuine=100,
        removed_genuine=0,
        fit=0.9,
        fit_genuine=0.9,
        lost=0.9,
        lost_genuine=0.3,
    )
    (kept, learned) = newcomers_checks(found, "brushing", filters=True)
    assert kept.value == pytest.approx(0.6)
    assert not kept.passed
    assert learned.passed


@pytest.mark.parametrize(("fit", "passed"), [(0.9, True), (0.79, True), (0.77, False), (0.5, False)])
def test_newcomers_are_learned_like_genuine_users(fit: float, passed: bool) -> None:
    found = newcomers(fit=fit)["newcomers-are-learned"]
    assert found.passed == passed == (found.value >= LEAST_LEARNED)


def gained(
    own: tuple[float, float], twin: tuple[float, float] | None = (0.08, 0.1), lost: float = 0.0
) -> dict[str, Gate]:
    """Where training on a pair adds so much to its margin, for newcomers and for genuine users."""
    found = NewcomersOutcome(
        newcomers=20,
        removed=0,
        genuine=100,
        removed_genuine=0,
        fit=0.9,
        fit_genuine=0.9,
        lost=lost,
        gains=Gains(newcomers=own[0], genuine=own[1]),
        twin_gains=Gains(newcomers=twin[0], genuine=twin[1]) if twin else None,
    )
    return {check.name: check for check in newcomers_checks(found, "brushing", filters=False)}


@pytest.mark.parametrize(
    ("own", "share"),
    [((0.08, 0.1), 1.0), ((0.16, 0.2), 1.0), ((0.042, 0.1), 0.525), ((0.03, 0.1), 0.375), ((0, 0.1), 0)],
)
def test_newcomers_count_as_much_as_without_the_defense(own: tuple[float, float], share: float) -> None:
    found = gained(own)["newcomers-count-as-much"]
    assert found.value == pytest.approx(share)
    assert found.passed == (share >= LEAST_SHARE)


@pytest.mark.parametrize("twin", [None, (LEAST_GAIN - 0.01, 0.1), (0.1, LEAST_GAIN - 0.01)])
def test_no_statement_is_made_where_training_on_a_pair_adds_next_to_nothing(twin: tuple[float, float] | None) -> None:
    assert "newcomers-count-as-much" not in gained((0.0, 0.1), twin)
    assert "newcomers-count-as-much" not in gained((0.0, LEAST_GAIN - 0.01))


def test_no_statement_is_made_where_a_filter_leaves_few_pairs_of_newcomers() -> None:
    assert "newcomers-count-as-much" in gained((0.0, 0.1), lost=MOST_LOST)
    assert "newcomers-count-as-much" not in gained((0.0, 0.1), lost=MOST_LOST + 0.01)


def test_no_statement_is_made_of_nobody_or_of_a_model_that_learns_nothing() -> None:
    none = NewcomersOutcome(newcomers=0, removed=0, genuine=9, removed_genuine=0, fit=0.5, fit_genuine=0.9)
    assert not list(newcomers_checks(none, "brushing", filters=True))
    constant = NewcomersOutcome(newcomers=9, removed=9, genuine=9, removed_genuine=0, fit=0.5, fit_genuine=0.5)
    assert [check.name for check in newcomers_checks(constant, "brushing", filters=True)] == ["newcomers-are-kept"]
    assert not list(newcomers_checks(constant, "brushing", filters=False))


def with_lifts(random: list[int], other: list[int]) -> TrainingDataOutcome:
    """Of three targets, none a control, that had all 99 other items above them: how many each passes for every user."""
    trainings = tuple(
        training(name, "standard", trained([[99 - passed for passed in lifts]] * 3, [[1, 1, 1]] * 3))
        for name, lifts in (("random", random), ("coattails", other))
    )
    clean = trained([[99, 99, 99]] * 3, [[1, 1, 1]] * 3)
    outcome = poisoning(sets=(TargetSet(name="label", size=3),), clean=clean, trainings=trainings)
    assert isinstance(outcome, TrainingDataOutcome)
    return outcome


@pytest.mark.parametrize(
    ("random", "other", "passed"),
    [
        ([20, 21, 20], [30, 31, 30], True),
        ([22, 21, 22], [20, 20, 20], True),
        ([23, 24, 23], [20, 20, 20], False),
        ([37, 21, 19], [28, 20, 18], True),  # tiny data with ten plays in accounts: one target had the luck
        ([60, 70, 65], [20, 20, 20], False),
    ],
)
def test_random_profiles_lift_no_more_than_by_chance(random: list[int], other: list[int], passed: bool) -> None:
    found = checks(with_lifts(random, other), filters=False)["random-profiles-lift-no-more"]
    assert found.passed == passed, found
    assert found.value == pytest.approx((sum(random) - sum(other)) / 3 / 99)
