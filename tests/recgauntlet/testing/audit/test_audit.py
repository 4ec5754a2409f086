"""The audit: which fakes the installed suite finds out, and that the audit fails where one gets past."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
from toy_recommender import embedding_threat

from recgauntlet.cli import audit as command
from recgauntlet.cli import main
from recgauntlet.core.task import find_task
from recgauntlet.evaluation.exhaustive import Gap
from recgauntlet.records.schema import Gate
from recgauntlet.testing.audit import Audit, Subject, run
from recgauntlet.testing.audit.run import first_pairs, verdict, with_all_surfaces
from recgauntlet.testing.audit.zoo import fake_names

pytestmark = pytest.mark.timeout(900)  # the whole audit runs once, in the first test that needs it


@pytest.mark.slow
@pytest.mark.parametrize("name", fake_names())
def test_the_fake_is_found_out(name: str, toy_audit: Audit) -> None:
    (row,) = (row for row in toy_audit.rows if row.fake == name)
    assert row.verdict != "UNDETECTED", row


@pytest.mark.slow
def test_the_honest_model_raises_no_alarm(toy_audit: Audit) -> None:
    assert toy_audit.honest.flags == ()


@pytest.mark.parametrize(
    ("gain", "flags", "expected"),
    [
        ({"a": 0.02, "b": -0.5}, [], "harmless"),
        ({"a": 0.021, "b": -0.5}, [], "UNDETECTED"),
        ({"a": 0.021, "b": -0.5}, ["deterministic"], "flagged"),
        ({}, [], "harmless"),
    ],
)
def test_more_than_two_points_under_any_threat_need_a_flag(
    gain: dict[str, float], flags: list[str], expected: str
) -> None:
    assert verdict(gain, flags) == expected


def test_surfaces_that_a_card_leaves_out_are_attacked_with_another_cards_threat() -> None:
    card = find_task("news-click").card
    more = with_all_surfaces(card, frozenset({"candidate-text", "embedding", "history"}))
    assert [threat.id for threat in more.threats[len(card.threats) :]] == ["history-perturbation"]
    assert with_all_surfaces(card, frozenset({"embedding"})).threats == card.threats


def test_the_first_pairs_are_kept(toy_subject: Subject) -> None:
    kept = first_pairs(toy_subject.data, 3).test
    assert len(kept) == 3
    assert kept.clicked.tolist() == toy_subject.data.test.clicked[:3].tolist()


@pytest.mark.parametrize(("largest", "code"), [(1.0, 0), (-1.0, 1)])
def test_the_command_compares_the_suite_with_all_legal_edits(
    largest: float,
    code: int,
    toy_subject: Subject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    few = replace(toy_subject, data=first_pairs(toy_subject.data, 5))
    monkeypatch.setattr(command, "train_subject", lambda *_, **__: few)
    monkeypatch.setattr(Gap, "passed", property(lambda gap: gap.value <= largest))
    monkeypatch.setattr("sys.argv", ["recgauntlet", "audit", "--exhaustive", "--out", str(tmp_path / "gaps.json")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == code
    printed = capsys.readouterr().out
    assert ("TOO MUCH" in printed) == bool(code)
    assert "one of 10 examples is 10.0 points" in printed
    gaps = json.loads((tmp_path / "gaps.json").read_text(encoding="utf-8"))
    assert {gap["edits"] for gap in gaps} == {1, 2}
    assert all(gap["together"] <= gap["suite"] <= gap["clean"] for gap in gaps)


def test_the_exhaustive_search_has_no_part_for_fakes_and_needs_a_threat_that_counts_edits(
    toy_subject: Subject, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    card = toy_subject.card.model_copy(update={"threats": (embedding_threat(),)})
    monkeypatch.setattr(command, "train_subject", lambda *_, **__: replace(toy_subject, card=card))
    for more, problem in ((["--fake", "constant"], "leave --fake"), ([], "toy: threats: the task has no threat")):
        monkeypatch.setattr("sys.argv", ["recgauntlet", "audit", "--exhaustive", *more])
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == 2
        assert problem in " ".join(capsys.readouterr().err.split())


@pytest.mark.parametrize(("switched_off", "code"), [(False, 0), (True, 1)])
def test_the_command_fails_if_a_fake_passes_undetected(
    switched_off: bool,
    code: int,
    toy_subject: Subject,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def subject(*_: object, **__: object) -> Subject:
        return toy_subject

    def none_failed(gates: tuple[Gate, ...]) -> tuple[Gate, ...]:
        return ()

    monkeypatch.setattr(command, "train_subject", subject)
    if switched_off:
        monkeypatch.setattr(run, "failed", none_failed)
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setattr(
        "sys.argv", ["recgauntlet", "audit", "--fake", "constant", "--offline", "--out", str(tmp_path / "audit.json")]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    shown = capsys.readouterr().out
    assert ended.value.code == code, shown
    assert ("UNDETECTED constant" in shown) == switched_off
    written = json.loads((tmp_path / "audit.json").read_text(encoding="utf-8"))
    assert written["sound"] is not switched_off
    assert [row["fake"] for row in written["rows"]] == ["constant"]
