"""What training costs: beside a bare PyTorch loop, beside PGD's floor, and under each defense beside plain training."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from bench_figures import Figure
from bench_timing import Sides, side_by_side
from bench_training import Course

from recgauntlet.core.plugins import names
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.training.cost import count_passes
from recgauntlet.training.defense import Defense, find_defense
from recgauntlet_baselines.defenses.pgd import PGD

STEPS = 3
"""Of PGD and of what is compared with it."""
EPOCH = 40
"""The fewest steps of an epoch: one of them is counted operation by operation, which slows it down."""
SMALL = {"word_size": 8, "heads": 2, "head_size": 4, "attention_size": 8}
measures = [pytest.mark.measures, pytest.mark.timeout(3600), pytest.mark.filterwarnings("ignore")]
Book = Callable[[Figure], None]


def defense(name: str) -> Defense:
    """A registered defense after its warm-up, with `STEPS` steps or replays where it has such."""
    plugin = find_defense(name).value
    chosen = {"warmup": 0.0, "steps": STEPS, "replays": STEPS}
    made: Defense = plugin(**{key: value for key, value in chosen.items() if key in constructor_defaults(plugin)})
    return made


@pytest.fixture(scope="module")
def course() -> Course:
    return Course.of("nrms", {}, 10)


def detail(sides: Sides, course: Course) -> str:
    steps = len(course.batches)
    return (
        f"{sides.first / steps * 1e3:.0f} ms a step against {sides.second / steps * 1e3:.0f} ms, {sides.rounds} rounds"
    )


def test_the_bare_loop_ends_at_the_weights_of_the_harness() -> None:
    """So it does the same work."""
    ended = []
    for bare in (True, False):
        course = Course.of("nrms", SMALL, 4, size=8)
        torch.manual_seed(0)
        if bare:
            course.bare()
        else:
            course.harness(Defense())
        ended.append(torch.cat([value.detach().flatten() for value in course.model.parameters()]))
    assert torch.equal(*ended)


def test_the_floor_of_pgd_takes_one_pass_and_one_for_each_step() -> None:
    course = Course.of("nrms", SMALL, 2, size=8)
    with count_passes(course.model) as passes:
        course.bare(STEPS)
    assert (passes.forwards, passes.backwards) == ((STEPS + 1) * 2 * 2 * 8,) * 2


@pytest.mark.parametrize("name", [pytest.param("nrms", marks=measures)])
def test_training_costs_little_more_than_a_bare_loop(name: str, benchmark: Any, book: Book) -> None:
    course = Course.of(name, {}, EPOCH)
    sides = side_by_side(benchmark, lambda: course.harness(Defense()), course.bare, rounds=3, warm=False)
    book(
        Figure(
            name=f"standard training over a bare loop, {name}",
            measured=sides.ratio,
            at_most=1.1,
            detail=detail(sides, course),
            subject=course.subject,
        )
    )


@pytest.mark.parametrize("losses", [pytest.param(count, marks=measures) for count in (1, 2)])
def test_pgd_training_costs_little_more_than_its_gradients(losses: int, benchmark: Any, book: Book) -> None:
    """PGD training learns from the clean and from the perturbed example; the floor from one of them, or from both."""
    course = Course.of("nrms", {}, EPOCH)
    pgd = PGD(steps=STEPS, warmup=0.0)
    floor = lambda: course.bare(STEPS, losses)  # noqa: E731
    sides = side_by_side(benchmark, lambda: course.harness(pgd), floor, rounds=3, warm=False)
    book(
        Figure(
            name=f"PGD-{STEPS} training over its floor" + (", both losses in it" if losses == 2 else ""),
            measured=sides.ratio,
            at_most=1.2,
            detail=detail(sides, course),
            subject=course.subject,
        )
    )


@pytest.mark.parametrize("name", [pytest.param(name, marks=measures) for name in ("free", "freelb")])
def test_a_cheap_defense_is_cheaper_than_pgd(name: str, course: Course, benchmark: Any, book: Book) -> None:
    cheap, dear = defense(name), defense("pgd")
    sides = side_by_side(benchmark, lambda: course.harness(cheap), lambda: course.harness(dear), rounds=3, warm=False)
    book(
        Figure(
            name=f"{name} training over PGD training, {STEPS} steps",
            measured=sides.ratio,
            at_most=1.0,
            detail=detail(sides, course),
            subject=course.subject,
        )
    )


@pytest.mark.parametrize("name", [pytest.param(name, marks=measures) for name in names("defenses")])
def test_what_a_defense_costs_in_training(name: str, course: Course, benchmark: Any, book: Book) -> None:
    defended, plain = defense(name), Defense()
    sides = side_by_side(
        benchmark, lambda: course.harness(defended), lambda: course.harness(plain), rounds=3, warm=False
    )
    book(
        Figure(
            name=f"{name} training over standard training",
            measured=sides.ratio,
            detail=detail(sides, course),
            subject=course.subject,
        )
    )
