"""Comparing two rows: paired, corrected, and careful about what one may say."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from synthetic_records import make_record

from recgauntlet.cli import cli
from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.address import locate_rows
from recgauntlet.leaderboard.compare import Comparison, compare, sentence
from recgauntlet.leaderboard.paired import paired
from recgauntlet.metrics.ranking import accuracy
from recgauntlet.metrics.significance import crossed_test, flip_test, holm
from recgauntlet.records.io import write_record
from recgauntlet.records.schema import Gate, RunRecord

STRONG = {"stuffing": (0.7, 0.68, 0.6), "embedding": (0.66, 0.56, 0.3)}
FAILED = Gate(name="not-constant", threat="", passed=False, value=0.9, limit=0.8, explanation="one answer for all")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> str:
    records: list[RunRecord] = []
    for seed in range(3):
        records += [
            make_record(seed=seed),
            make_record(seed=seed, defense="pgd", threats=STRONG),
            make_record(seed=seed, defense="same"),
            make_record(seed=seed, defense="flagged", gates=(FAILED,)),
            make_record(seed=seed, model="mf", threats={"stuffing": None, "embedding": (0.6, 0.5, 0.4)}),
            make_record(seed=seed, task="film", threats={"swap": (0.6, 0.5, 0.4)}),
        ]
    records += [make_record(defense="lone", seed=1), make_record(defense="other", seed=9)]
    directory = tmp_path_factory.mktemp("first")
    for number, record in enumerate(records):
        write_record(record, directory / f"{number}.json")
    return str(directory)


def of(release: str, a: str, b: str, **options: object) -> Comparison:
    return compare(*locate_rows(f"{release}/{a}", f"{release}/{b}"), **options)


def test_the_numbers_are_those_of_the_tables(release: str) -> None:
    found = of(release, "shop/nrms/pgd", "shop/nrms/standard")
    assert [(d.quantity.threat, d.quantity.tier) for d in found.differences] == [
        ("", "standard"),
        ("stuffing", "standard"),
        ("embedding", "standard"),
    ]
    stuffing = found.differences[1]
    row = found.a.row.under("stuffing")
    cell = row and row.at("standard")
    assert cell is not None
    assert stuffing.a == pytest.approx(cell.robust.value)
    assert stuffing.difference.value == pytest.approx(stuffing.a - stuffing.b)
    assert stuffing.difference.low < stuffing.difference.value < stuffing.difference.high
    assert (found.seeds, found.examples, found.cautions) == ((0, 1, 2), 400, ())


def test_the_p_values_are_the_boards_test_and_two_corrected_for_all_lines(release: str) -> None:
    found = of(release, "shop/nrms/pgd", "shop/nrms/standard", tiers=("low", "standard", "high"))
    assert len(found.differences) == 7
    raw = [d.bits for d in found.differences]
    for difference in found.differences:
        (alone,) = paired(found.a.records, found.b.records, [difference.quantity])
        assert (alone.p, alone.difference) == (difference.p, difference.difference)
        assert alone.bits.mean() == pytest.approx(difference.a - difference.b)
    assert [d.p_models for d in found.differences] == [flip_test(x) for x in raw]
    assert [d.holm_models for d in found.differences] == list(holm([flip_test(x) for x in raw]))
    assert [d.holm_trainings for d in found.differences] == list(holm([crossed_test(x).p for x in raw]))


def test_turning_the_rows_round_turns_the_signs_round_and_nothing_else(release: str) -> None:
    one = of(release, "shop/nrms/pgd", "shop/nrms/standard")
    two = of(release, "shop/nrms/standard", "shop/nrms/pgd")
    for a, b in zip(one.differences, two.differences, strict=True):
        assert a.difference.value == pytest.approx(-b.difference.value)
        assert a.difference.low == pytest.approx(-b.difference.high)
        assert a.p_models == b.p_models
        assert a.p_trainings == pytest.approx(b.p_trainings)


def test_a_sentence_names_the_difference_its_interval_and_p(release: str) -> None:
    found = of(release, "shop/nrms/pgd", "shop/nrms/standard")
    said = sentence(found, found.differences[1])
    line = found.differences[1]
    points = f"{100 * line.difference.value:.1f}"
    assert said.startswith(f"pgd keeps {points} points more than undefended under stuffing")
    assert f"{100 * line.difference.low:.1f} to {100 * line.difference.high:.1f}" in said
    assert "p < 0.001" in said
    turned = of(release, "shop/nrms/standard", "shop/nrms/pgd")
    said = sentence(turned, turned.differences[1])
    assert "points less than pgd" in said
    assert f"{100 * line.difference.low:.1f} to {100 * line.difference.high:.1f}" in said
    assert "may be chance" in sentence(found, found.differences[0])


def test_a_sentence_on_models_names_models(release: str) -> None:
    found = of(release, "shop/mf/standard", "shop/nrms/standard")
    assert sentence(found, found.differences[0]).startswith("mf + undefended has")
    assert any("cannot be compared across models" in caution for caution in found.cautions)
    assert any("no such result: robust accuracy under stuffing" in caution for caution in found.cautions)


def test_a_flagged_row_is_told_before_anything_else(release: str) -> None:
    found = of(release, "shop/nrms/flagged", "shop/nrms/standard")
    assert any("not ranked: failed check: not-constant" in caution for caution in found.cautions)


def test_one_common_seed_speaks_of_two_models_only(release: str) -> None:
    found = of(release, "shop/nrms/lone", "shop/nrms/standard")
    assert found.seeds == (1,)
    for line in found.differences:
        assert line.difference.value == pytest.approx(line.a - line.b)
    clean = found.b.records[1].clean
    assert clean is not None
    assert found.differences[0].b == pytest.approx(accuracy(clean.labels.to_bool(), clean.scores.to_float()))
    assert all(d.p_trainings is None and not d.told_apart for d in found.differences)
    assert any("One common seed" in caution for caution in found.cautions)
    assert any("seeds 0, 2 of" in caution for caution in found.cautions)


@pytest.mark.parametrize(
    ("a", "b", "problem"),
    [
        ("shop/nrms/pgd", "film/nrms/standard", "another task"),
        ("shop/nrms/pgd", "shop/nrms/pgd", "compared with itself"),
        ("shop/nrms/other", "shop/nrms/standard", "no seed in common"),
    ],
)
def test_what_cannot_be_compared_is_refused(release: str, a: str, b: str, problem: str) -> None:
    with pytest.raises(RecordError, match=problem):
        of(release, a, b)


def test_an_unknown_threat_is_refused(release: str) -> None:
    with pytest.raises(RecordError, match="no threat 'swap'") as told:
        of(release, "shop/nrms/pgd", "shop/nrms/standard", threats=("swap",))
    assert "stuffing" in told.value.remedy


def run(*arguments: str) -> tuple[int, str]:
    result = CliRunner().invoke(cli, list(arguments))
    return result.exit_code, result.stdout


def test_the_command_prints_a_table_and_sentences(release: str) -> None:
    code, out = run("compare", f"{release}/shop/nrms/pgd", f"{release}/shop/nrms/standard", "--threat", "stuffing")
    assert code == 0
    assert "p (trainings)" in out
    assert "pgd keeps" in out
    assert "400 test examples (200 pairs), 3 seeds" in out
    assert "embedding" not in out


def test_the_command_writes_json(release: str) -> None:
    code, out = run("compare", f"{release}/shop/nrms/pgd", f"{release}/shop/nrms/standard", "--json", "--tier", "high")
    assert code == 0
    content = json.loads(out)
    assert content["seeds"] == [0, 1, 2]
    assert [(d["threat"], d["tier"]) for d in content["differences"]] == [
        (None, None),
        ("stuffing", "high"),
        ("embedding", "high"),
    ]
    assert content["a"]["defense"]["name"] == "pgd"
    assert np.isfinite([d["p_models_holm"] for d in content["differences"]]).all()


def test_the_entry_point_ends_with_two_for_an_unknown_row(
    release: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from recgauntlet.cli import main

    monkeypatch.setattr("sys.argv", ["recgauntlet", "compare", f"{release}/shop/nrms/pdg", f"{release}/shop/nrms/pgd"])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 2
    assert "did you mean pgd" in capsys.readouterr().err
    assert Path(release).is_dir()
