"""What training costs: beside a bare PyTorch loop, beside PGD's floor, and under each defense beside plain training."""

from __future__ import annotations

import pytest
from bench_figures import Book
from bench_timing import Sides, side_by_side
from bench_training import Course

from recgauntlet.core.plugins import names
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.training.defense import Defense, find_defense
from recgauntlet_baselines.defenses.pgd import PGD

STEPS = 3
"""Of PGD and of what is compared with it."""
EPOCH = 40
"""The fewest steps of an epoch: one of them is counted operation by operation, which slows it down."""


@pytest.fixture(scope="module")
def course() -> Course:
    return Course.of("nrms", {}, 10)


def test_training_costs_little_more_than_a_bare_loop(book: Book) -> None:
    course = Course.of("nrms", {}, EPOCH)
    sides = side_by_side(lambda: course.harness(Defense()), course.bare, rounds=3, warm=False)
    book("training", "standard training ÷ bare loop", *figures_of(sides, course), at_most=1.1, subject=course.subject)


@pytest.mark.parametrize("losses", [1, 2])
def test_pgd_training_costs_little_more_than_its_gradients(losses: int, book: Book) -> None:
    """PGD training learns from the clean and from the perturbed example; the floor from one of them, or from both."""
    course = Course.of("nrms", {}, EPOCH)
    pgd = PGD(steps=STEPS, warmup=0.0)
    sides = side_by_side(lambda: course.harness(pgd), lambda: course.bare(STEPS, losses), rounds=3, warm=False)
    name = f"PGD-{STEPS} training ÷ floor" + (", both losses in it" if losses == 2 else "")
    book("training", name, *figures_of(sides, course), at_most=1.2, subject=course.subject)


@pytest.mark.parametrize("name", ["free", "freelb"])
def test_a_cheap_defense_is_cheaper_than_pgd(name: str, course: Course, book: Book) -> None:
    cheap, dear = defense(name), defense("pgd")
    sides = side_by_side(lambda: course.harness(cheap), lambda: course.harness(dear), rounds=3, warm=False)
    title = f"{name} training ÷ PGD training, {STEPS} steps"
    book("training", title, *figures_of(sides, course), at_most=1.0, subject=course.subject)


@pytest.mark.parametrize("name", names("defenses"))
def test_what_a_defense_costs_in_training(name: str, course: Course, book: Book) -> None:
    defended = defense(name)
    sides = side_by_side(lambda: course.harness(defended), lambda: course.harness(Defense()), rounds=3, warm=False)
    book("training", f"{name} training ÷ standard training", *figures_of(sides, course), subject=course.subject)


def defense(name: str) -> Defense:
    """A registered defense after its warm-up, with `STEPS` steps or replays where it has such."""
    plugin = find_defense(name).value
    chosen = {"warmup": 0.0, "steps": STEPS, "replays": STEPS}
    made: Defense = plugin(**{key: value for key, value in chosen.items() if key in constructor_defaults(plugin)})
    return made


def figures_of(sides: Sides, course: Course) -> tuple[float, str]:
    """The ratio, and the milliseconds of a step behind it."""
    first, second = (seconds / len(course.batches) * 1e3 for seconds in (sides.first, sides.second))
    return sides.ratio, f"{first:.0f} ms a step against {second:.0f} ms, {sides.rounds} rounds"
