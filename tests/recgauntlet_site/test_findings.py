"""The sentences of the findings follow the numbers: toy records turn each sign."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from board import render_records
from page_reader import read_page
from synthetic_records import make_record

from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.paired import CLEAN, Quantity, paired
from recgauntlet.records.columns import FloatColumn
from recgauntlet.records.schema import RunRecord
from recgauntlet_site.findings import MOST_ANSWERS, Findings, sure
from recgauntlet_site.pages.task import task_pages

Level = tuple[float, float]
"""Robust accuracy under the ranked threat, and under the diagnostic one."""
UP, SAME, DOWN = (0.65, 0.7), (0.5, 0.5), (0.35, 0.3)


def rows(defense: str, level: Level, task: str = "shop", clean: float = 0.75, seeds: int = 3) -> list[RunRecord]:
    threat = {"shop": "stuffing", "film": "swap", "news": "tampering"}[task]
    threats = {threat: (level[0],) * 3, "embedding": (level[1],) * 3}
    ratio = None if defense == "standard" else 1.5
    made = [
        make_record(task=task, seed=s, defense=defense, threats=threats, clean=clean, ratio=ratio) for s in range(seeds)
    ]
    return [record.sealed() for record in made]


def findings(records: Sequence[RunRecord]) -> Findings:
    return Findings(task_pages(build_table(records), lambda table: None, {r.digest: r for r in records}))


def texts(found: Findings) -> list[str]:
    return [one.text for one in found.answers]


def test_the_defense_that_keeps_most_is_named_with_its_gain_its_cost_and_how_sure_it_is() -> None:
    records = [*rows("standard", SAME), *rows("pgd", UP), *rows("trades", (0.55, 0.5))]
    found = findings(records)
    first = found.answers[0]
    (line,) = paired(records[3:6], records[:3], [Quantity("stuffing")])
    assert first.text.startswith(
        f"On shop nrms + pgd keeps most: {100 * line.a:.1f} % under stuffing where undefended keeps"
    )
    assert f"{100 * line.b:.1f} % ({100 * line.difference.value:+.1f} points, " in first.text
    assert "at 1.50× the training FLOPs; it is the best ranked row in 100 % of the draws." in first.text
    assert first.path.startswith("rows/shop-standard-nrms-pgd")


@pytest.mark.parametrize(("level", "worse"), [(SAME, "none"), (DOWN, "1")])
def test_where_none_is_clearly_better_no_defense_is_worth_its_cost(level: Level, worse: str) -> None:
    text = texts(findings([*rows("standard", SAME), *rows("pgd", level)]))[0]
    assert text == (
        "On shop no defense is worth its cost: of 1 ranked defense none keeps clearly more than undefended under "
        f"stuffing, {worse} clearly less."
    )


def test_a_defense_of_one_seed_proves_nothing() -> None:
    text = texts(findings([*rows("standard", SAME), *rows("pgd", UP, seeds=1)]))[0]
    assert text == "On shop no defense can be judged: no defended row is ranked beside a ranked twin."


@pytest.mark.parametrize(("clean", "said"), [(0.75, "not told apart"), (0.95, "+"), (0.55, "−")])
def test_the_change_of_clean_accuracy_has_its_sign(clean: float, said: str) -> None:
    level = (0.5, 0.5) if clean < 0.75 else UP
    records = [*rows("standard", (0.35, 0.3)), *rows("pgd", level, clean=clean)]
    text = texts(findings(records))[0]
    (line,) = paired(records[3:], records[:3], [CLEAN])
    if said == "not told apart":
        assert "with clean accuracy not told apart from undefended" in text
    else:
        assert f"with {said}{abs(100 * line.difference.value):.1f} points of clean accuracy" in text


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ((UP, UP), "Of 1 method ranked on all 2 tasks nrms + pgd keeps clearly more than undefended on each of them."),
        ((UP, DOWN), "No defense helps everywhere: of 1 method ranked on all 2 tasks none keeps clearly more"),
    ],
)
def test_what_helps_on_every_task_is_named(levels: tuple[Level, Level], said: str) -> None:
    records = [record for task in ("shop", "film") for record in rows("standard", SAME, task)]
    records += [
        record for task, level in zip(("shop", "film"), levels, strict=True) for record in rows("pgd", level, task)
    ]
    assert any(text.startswith(said) for text in texts(findings(records)))


def test_methods_that_lack_a_task_are_not_compared_across_tasks() -> None:
    records = [*rows("standard", SAME), *rows("standard", SAME, "film"), *rows("pgd", UP), *rows("fgm", UP, "film")]
    assert "No method with a defense is ranked on all 2 tasks, so none can be compared across them." in texts(
        findings(records)
    )


def test_the_cheapest_defense_that_helps_is_named() -> None:
    dear = [make_record(seed=s, defense="pgd", ratio=3.0, threats={"stuffing": (0.7,) * 3}) for s in range(3)]
    cheap = [make_record(seed=s, defense="fgm", ratio=1.1, threats={"stuffing": (0.65,) * 3}) for s in range(3)]
    useless = [make_record(seed=s, defense="awp", ratio=1.01, threats={"stuffing": (0.5,) * 3}) for s in range(3)]
    plain = [make_record(seed=s, threats={"stuffing": (0.5,) * 3}) for s in range(3)]
    (text,) = [text for text in texts(findings([*plain, *dear, *cheap, *useless])) if "cheapest" in text]
    assert "on shop is nrms + fgm: +" in text
    assert text.endswith("at 1.10× the training FLOPs.")


def test_what_attacks_turn_of_undefended_is_told() -> None:
    records = rows("standard", SAME)
    cell = build_table(records)[0].rows[0].worst_cell
    assert cell is not None
    assert cell.attack_success is not None
    (text,) = [text for text in texts(findings(records)) if "undefended nrms" in text]
    assert text.endswith(f"attacks turn {100 * cell.attack_success.value:.1f} % of what they may attack.")


def test_there_are_at_most_ten_answers() -> None:
    records = [r for task in ("shop", "film", "news") for name in ("standard", "pgd") for r in rows(name, UP, task)]
    records += [r for task in ("shop", "film", "news") for r in rows("trades", (0.72, 0.7), task)]
    other = [r.model_copy(update={"task": r.task.model_copy(update={"id": "more"})}).sealed() for r in records[:6]]
    assert len(findings([*records, *other]).answers) == MOST_ANSWERS


@pytest.mark.parametrize(
    ("level", "stuffing", "embedding"),
    [
        (UP, "1 of 1 ranked defense keeps clearly more than undefended (nrms + pgd +", "1 of 1 ranked defense keeps"),
        (SAME, "none of 1 ranked defense keeps clearly more than undefended, none clearly less.", "none of 1"),
        (
            DOWN,
            "none of 1 ranked defense keeps clearly more than undefended, 1 clearly less (nrms + pgd −",
            "none of 1",
        ),
        ((0.65, 0.3), "1 of 1 ranked", "none of 1 ranked defense keeps clearly more than undefended, 1 clearly less"),
    ],
)
def test_which_defense_protects_against_what(level: Level, stuffing: str, embedding: str) -> None:
    ((_, found),) = findings([*rows("standard", SAME), *rows("pgd", level)]).protection
    assert found[0].text.startswith(f"stuffing (ranked): {stuffing}")
    assert found[1].text.startswith(f"embedding (diagnostic): {embedding}")


@pytest.mark.parametrize(
    ("levels", "said"),
    [
        ((UP, UP), "carries over. Of 2 defenses that keep clearly more than undefended under embedding, 2 keep"),
        ((UP, (0.5, 0.7)), "carries over in part. Of 2 defenses that keep clearly more"),
        (((0.5, 0.7), (0.35, 0.7)), "does not carry over. Of 2 defenses that keep clearly more"),
    ],
)
def test_what_carries_over_between_threats(levels: tuple[Level, Level], said: str) -> None:
    records = [*rows("standard", SAME), *rows("pgd", levels[0]), *rows("fgm", levels[1])]
    ((_, found),) = findings(records).transfers
    (text,) = [one.text for one in found if one.text.startswith("embedding → stuffing: ")]
    assert text.startswith(f"embedding → stuffing: {said}")
    if levels[1] == (0.35, 0.7):
        assert "0 keep clearly more under stuffing, 1 clearly less, and 1 cannot be told apart" in text


def test_nothing_is_said_of_transfer_where_nothing_helps() -> None:
    assert findings([*rows("standard", SAME), *rows("pgd", DOWN)]).transfers == []


def with_rankings(records: Sequence[RunRecord], quality: float) -> list[RunRecord]:
    """The records with impressions whose clicked candidates score higher by `quality`."""
    made = []
    for record in records:
        assert record.clean is not None
        labels = record.clean.impression_labels.to_bool()
        scores = np.random.default_rng(record.seed).normal(size=len(labels)) + quality * labels
        clean = record.clean.model_copy(update={"impression_scores": FloatColumn.of(scores)})
        made.append(record.model_copy(update={"clean": clean}).sealed())
    return made


@pytest.mark.parametrize(
    ("defended", "verdict"),
    [
        ((UP, 0.95, 3.0), "The numbers bear it out: of 1 ranked row with adversarial training 1 has clearly more"),
        (
            (SAME, 0.75, 1.0),
            "The numbers do not show it: of 1 ranked row with adversarial training 0 have clearly more",
        ),
        (
            (DOWN, 0.55, -3.0),
            "The numbers are against it: of 1 ranked row with adversarial training 0 have clearly more",
        ),
    ],
)
def test_the_three_claims_follow_the_sign_of_the_numbers(defended: tuple[Level, float, float], verdict: str) -> None:
    level, clean, quality = defended
    plain = with_rankings(rows("standard", SAME), 1.0)
    found = findings([*plain, *with_rankings(rows("pgd", level, clean=clean), quality)]).claims
    assert [claim.title.split(" models ")[1].split(" on ")[0] for claim in found] == [
        "more robust",
        "more accurate",
        "generalize better",
    ]
    assert all(claim.verdict.startswith(verdict) for claim in found), [claim.verdict for claim in found]
    counts = {
        "The numbers bear": "1 clearly more, 0 clearly less, 0 not",
        "The numbers do n": "0 clearly more, 0 clearly less, 1 not",
    }
    expected = counts.get(verdict[:16], "0 clearly more, 1 clearly less, 0 not")
    assert all(claim.lines[0].startswith(f"shop: {expected} told apart; differences ") for claim in found)


def test_claims_are_mixed_where_rows_differ_in_sign_and_leave_other_defenses_out() -> None:
    records = [*rows("standard", SAME), *rows("pgd", UP), *rows("fgm", DOWN), *rows("word-dropout", UP)]
    robust = findings(records).claims[0]
    assert robust.verdict.startswith(
        "The numbers are mixed: of 2 ranked rows with adversarial training 1 has clearly more"
    )
    records = [*rows("standard", SAME), *rows("pgd", UP), *rows("fgm", SAME)]
    assert findings(records).claims[0].verdict.startswith("The numbers bear it out in part: of 2 ranked rows")
    untested = findings([*rows("standard", SAME), *rows("word-dropout", UP)]).claims[0]
    assert untested.verdict == "Not tested: no row with adversarial training is ranked beside a ranked twin."
    assert untested.lines == ()


def test_a_difference_that_is_not_told_apart_has_no_sign() -> None:
    records = [*rows("standard", SAME), *rows("pgd", UP)]
    (line,) = paired(records[3:], records[:3], [Quantity("stuffing")])
    assert (sure(line), sure(replace(line, p=0.06))) == (1, 0)


def test_the_page_and_the_start_page_show_them(tmp_path: Path) -> None:
    files = render_records(tmp_path, [*rows("standard", SAME), *rows("pgd", UP)])
    answers = read_page(files["index.html"]).all("section", class_="answers")[0]
    assert 1 <= len(answers.all("li")) <= MOST_ANSWERS
    assert all(link.attributes["href"] in files for link in answers.all("a"))
    page = read_page(files["findings.html"])
    assert [heading.text() for heading in page.all("h2")] == [
        "Which defense is worth its cost",
        "Three claims on adversarial training",
        "Which defense protects against what",
        "What carries over between threats",
    ]


def test_the_demo_track_has_no_findings(tmp_path: Path) -> None:
    files = render_records(
        tmp_path, [make_record(track="demo", seed=s, defense=d) for s in range(3) for d in ("standard", "pgd")]
    )
    assert "findings.html" not in files
    assert not read_page(files["index.html"]).all("section", class_="answers")
