"""The examples and seeds that are said to be needed are found to be enough, by simulation."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from scipy import stats
from synthetic_records import make_record

from recgauntlet.cli import cli
from recgauntlet.core.errors import RecordError
from recgauntlet.metrics.power import assumed, needs, pairs_needed, power_of
from recgauntlet.metrics.significance import Components, crossed_test
from recgauntlet.records.io import write_record

PARTS = Components(training=0.01**2, pairs=0.15**2, rest=0.2**2)


def drawn(rng: np.random.Generator, parts: Components, seeds: int, pairs: int, mean: float) -> np.ndarray:
    return (
        mean
        + rng.normal(0, np.sqrt(parts.training), (seeds, 1))
        + rng.normal(0, np.sqrt(parts.pairs), (1, pairs))
        + rng.normal(0, np.sqrt(parts.rest), (seeds, pairs))
    )


@pytest.mark.parametrize(
    ("parts", "seeds", "difference"),
    [
        (PARTS, 3, 0.04),
        (PARTS, 5, 0.03),
        (PARTS, 10, 0.02),
        (Components(0.0, 0.15**2, 0.2**2), 3, 0.03),
        (Components(0.02**2, 0.05**2, 0.15**2), 10, 0.03),
    ],
)
def test_with_the_pairs_that_are_needed_the_test_sees_the_difference_as_often_as_promised(
    parts: Components, seeds: int, difference: float
) -> None:
    pairs = pairs_needed(parts, seeds=seeds, difference=difference, power=0.8, alpha=0.05)
    assert pairs is not None
    rng = np.random.default_rng(seeds)
    seen = [crossed_test(drawn(rng, parts, seeds, pairs, difference)).p < 0.05 for _ in range(1500)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)


def test_with_one_seed_it_is_the_power_of_a_paired_t_test() -> None:
    parts = Components(training=0.5, pairs=0.15**2, rest=0.2**2)
    rng = np.random.default_rng(1)
    pairs = pairs_needed(parts, seeds=1, difference=0.03, power=0.8, alpha=0.05)
    assert pairs is not None
    models = Components(0.0, parts.pairs, parts.rest)
    seen = [stats.ttest_1samp(drawn(rng, models, 1, pairs, 0.03)[0], 0).pvalue < 0.05 for _ in range(1500)]
    assert np.mean(seen) == pytest.approx(0.8, abs=0.03)


def test_without_a_difference_the_power_is_the_rate_of_false_alarms() -> None:
    rng = np.random.default_rng(2)
    alarms = [crossed_test(drawn(rng, PARTS, 3, 200, 0.0)).p < 0.05 for _ in range(3000)]
    assert power_of(PARTS, seeds=3, pairs=200, difference=0.0, alpha=0.05) == pytest.approx(np.mean(alarms), abs=0.015)
    assert power_of(PARTS, seeds=1, pairs=200, difference=0.0, alpha=0.05) == pytest.approx(0.05, abs=0.002)


@pytest.mark.parametrize("difference", [0.025, 0.027, 0.03, 0.034, 0.041])
def test_the_number_of_pairs_is_the_least_that_is_enough(difference: float) -> None:
    pairs = pairs_needed(PARTS, seeds=5, difference=difference, power=0.9, alpha=0.05)
    assert pairs is not None
    assert power_of(PARTS, seeds=5, pairs=pairs, difference=difference, alpha=0.05) >= 0.9
    assert power_of(PARTS, seeds=5, pairs=pairs - 1, difference=difference, alpha=0.05) < 0.9


def test_no_number_of_pairs_makes_up_for_trainings_that_vary_too_much() -> None:
    assert pairs_needed(Components(0.03**2, 0.01, 0.04), seeds=3, difference=0.01, power=0.8, alpha=0.05) is None


def test_rows_that_never_vary_need_the_least_there_is() -> None:
    assert pairs_needed(Components(0, 0, 0), seeds=3, difference=0.01, power=0.8, alpha=0.05) == 2


def test_assumptions_give_the_variances_of_such_outcomes() -> None:
    """Outcomes of two examples a pair that differ in a share of them, half of that in every seed."""
    rng = np.random.default_rng(3)
    count = 200_000
    parts = assumed(discordant=0.2, shared=0.0, seed_sd=0.0)
    outcomes = rng.choice([-1, 0, 1], p=[0.1, 0.8, 0.1], size=(count, 2)).mean(axis=1)
    assert parts.rest == pytest.approx(outcomes.var(), rel=0.02)
    assert assumed(discordant=0.2, shared=0.5, seed_sd=0.01).pairs == pytest.approx(parts.rest / 2)


def test_a_line_a_number_of_seeds() -> None:
    found = needs(PARTS, difference=0.03, seeds=(1, 5), present=500)
    assert [need.seeds for need in found] == [1, 5]
    assert all(need.power_at_present is not None for need in found)
    assert needs(PARTS, difference=0.03)[0].power_at_present is None


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("first")
    records = [make_record(seed=s, defense=d) for s in range(3) for d in ("standard", "pgd")]
    records.append(make_record(defense="one"))
    for number, record in enumerate(records):
        write_record(record, directory / f"{number}.json")
    return directory


def run(*arguments: str) -> tuple[int, str, BaseException | None]:
    result = CliRunner().invoke(cli, ["power", *arguments])
    return result.exit_code, result.output, result.exception


def test_the_command_says_what_it_assumes() -> None:
    code, out, _ = run("--difference", "2.0", "--seeds", "3,5")
    assert code == 0
    assert "assumed: the rows disagree on 20%" in out
    assert "power with" not in out


def test_the_command_learns_from_two_rows(release: Path) -> None:
    rows = ["--from", f"{release}/shop/nrms/pgd", "--to", f"{release}/shop/nrms/standard"]
    code, out, _ = run("--difference", "3", *rows)
    assert code == 0
    assert "from 3 seeds and 200 pairs" in out
    assert "robust accuracy under stuffing" in out
    low = ["--difference", "3", *rows, "--threat", "embedding", "--tier", "low", "--json"]
    _, out, _ = run(*low, "--comparisons", "4")
    content = json.loads(out)
    assert content["present_pairs"] == 200
    strict = {need["seeds"]: need["power_at_present"] for need in content["needs"]}
    _, out, _ = run(*low)
    loose = {need["seeds"]: need["power_at_present"] for need in json.loads(out)["needs"]}
    assert all(strict[seeds] < loose[seeds] for seeds in (1, 3, 5, 10))


def test_rows_with_one_common_seed_teach_nothing_of_trainings(release: Path) -> None:
    rows = ["--from", f"{release}/shop/nrms/one", "--to", f"{release}/shop/nrms/standard"]
    _, _, error = run("--difference", "3", *rows)
    assert isinstance(error, RecordError)
    assert "no two common seeds" in error.problem


@pytest.mark.parametrize(
    "arguments",
    [["--from", "a/b/c/d"], ["--threat", "x"], ["--seeds", "0,1"], ["--power", "1"], ["--alpha", "0"], []],
)
def test_options_that_make_no_sense_are_refused(arguments: list[str]) -> None:
    code, _, _ = run(*(["--difference", "2"] if arguments else []), *arguments)
    assert code == 2
