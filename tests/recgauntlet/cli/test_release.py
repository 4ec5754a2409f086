"""`recgauntlet release`: what it prints, in which exit code it ends, and that a release is used like any results."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from command_line import Run
from made_releases import board, make_release, small, write_all
from synthetic_records import make_record

from recgauntlet.cli import rerunning
from recgauntlet.records.io import read_records
from recgauntlet.records.manifest import MANIFEST, Finding, read_manifest
from recgauntlet.records.reruns import confirmed, drawn, records_within
from recgauntlet.runner.submission.rerun import Rerun


def test_a_release_is_frozen_verified_listed_corrected_and_compared(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path / "mine", board())
    text = run("release", "freeze", "2026.1", "--results", "mine")
    manifest = read_manifest(tmp_path / "results" / "2026.1" / MANIFEST)
    assert "14 records (0 failed), 0 best known attacks, 5 rows" in text
    row = next(row for row in manifest.summary if row.defense.name == "pgd")
    assert row.robust is not None
    assert f"{100 * row.clean.value:.1f} [" in text
    assert f"{100 * row.robust.value:.1f} [" in text
    assert "no findings" in run("release", "verify", "2026.1")
    write_all(tmp_path / "again", small(defense="pgd", ratio=1.5, hyperparameters={"epsilon": 0.1}, clean=0.8))
    text = run(
        "release", "freeze", "2026.1.1", "--results", "results/2026.1", "--results", "again", "--newest",
        "--supersedes", "2026.1", "--reason", "labels of pgd",
    )  # fmt: skip
    assert "0 new, 0 gone" in text
    assert "2026.1 -> 2026.1.1" in text
    listed = run("release", "list")
    assert "superseded by 2026.1.1" in listed
    assert "supersedes 2026.1: labels of pgd" in listed
    text = run("release", "verify", "2026.1")
    assert "superseded by 2026.1.1: cite that one" in text
    assert "no findings" in text


def test_findings_end_in_exit_code_1_all_told(run: Run, tmp_path: Path) -> None:
    directory = make_release(tmp_path, records=small())
    (directory / "shop" / "standard" / "nrms-standard-0.json.xz").unlink()
    (directory / "stray\nfile\x1b[31m").write_text("x")
    text = run("release", "verify", "2026.1", code=1)
    assert "results/2026.1/shop/standard/nrms-standard-0.json.xz: is in the manifest and cannot be read" in text
    assert "stray\\u000afile\\u001b[31m: is not listed" in text
    assert "\x1b" not in text
    assert "manifest.json: counts.records: is 3, there are 2" in text


def test_a_refusal_names_everything_and_ends_in_exit_code_2(run: Run, tmp_path: Path) -> None:
    write_all(tmp_path / "mine", [*small(), make_record(seed=4, failure="no memory"), *small(1, version=2)])
    (tmp_path / "mine" / "cut.json").write_text("{")
    text = run("release", "freeze", "2026.1", "--results", "mine", code=2)
    assert "for 4 reasons" in text
    for word in ("cut.json: broken", "leave it out with --without-failed", "another version of the task (2 and 1)"):
        assert word in text
    assert not list((tmp_path / "results").glob("*"))


def test_the_difference_is_printed_with_old_value_and_new(run: Run, tmp_path: Path) -> None:
    make_release(tmp_path, "2026.1", [*small(), *small(defense="gone")])
    make_release(tmp_path, "2026.2", [*small(clean=0.6), *small(defense="new")])
    text = run("release", "diff", "2026.1", "2026.2")
    old, new = (read_manifest(tmp_path / "results" / name / MANIFEST).summary for name in ("2026.1", "2026.2"))
    was, now = (next(row for row in rows if row.defense.name == "standard").clean.value for rows in (old, new))
    assert f"{100 * was:.2f} [" in text
    assert f"-> {100 * now:.2f} [" in text
    assert "1 new, 1 gone, 1 changed and 0 the same" in text
    content = json.loads(run("release", "diff", "2026.1", "2026.2", "--json"))
    assert sorted(change["kind"] for change in content["changes"]) == ["changed", "gone", "new"]


def test_numbers_of_another_suite_are_printed_with_a_warning(run: Run, tmp_path: Path) -> None:
    make_release(tmp_path, "2026.1", small())
    write_all(tmp_path / "mine", small(suite_fingerprint="9" * 64))
    text = run("release", "diff", "2026.1", "mine")
    assert "shop (standard): numbers may not be compared: another attack suite" in text


def test_unknown_releases_are_told_with_close_names(run: Run, tmp_path: Path) -> None:
    make_release(tmp_path, records=small(1))
    assert "did you mean 2026.1?" in run("release", "verify", "2026.2", code=2)
    assert "did you mean 2026.1?" in run("release", "diff", "2026.1", "2026.9", code=2)
    (tmp_path / "results" / "loose").mkdir()
    assert "is no frozen release" in run("release", "verify", "loose", code=2)


def test_the_list_names_what_nobody_froze_and_what_is_broken(run: Run, tmp_path: Path) -> None:
    assert "no releases below results" in run("release", "list")
    directory = make_release(tmp_path, records=small(1))
    write_all(tmp_path / "results" / "mine", small(1))
    (directory / MANIFEST).write_text("{")
    text = run("release", "list")
    assert "BROKEN: is not complete JSON" in text
    assert "not frozen" in text


def test_a_record_of_a_release_is_shown_like_any_other(run: Run, tmp_path: Path) -> None:
    make_release(tmp_path, records=small())
    text = run("show", "results/2026.1/shop/standard/nrms-standard-0.json.xz")
    assert "shop (standard) / nrms / undefended / seed 0" in text
    assert "clean accuracy" in text


def test_the_page_of_a_release_has_the_numbers_of_its_records(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RECGAUNTLET_CACHE", str(tmp_path / "cache"))
    make_release(tmp_path, records=board())
    run("site", "--results", "results/2026.1", "--out", "frozen")
    run("site", "--results", "records-of-2026.1", "--out", "loose")
    assert (tmp_path / "frozen" / "leaderboard.csv").read_bytes() == (
        tmp_path / "loose" / "leaderboard.csv"
    ).read_bytes()
    run("site", "--results", "frozen/records", "--out", "again")
    first, second = ((tmp_path / name / "leaderboard.json").read_bytes() for name in ("frozen", "again"))
    assert first == second
    copies = list((tmp_path / "frozen" / "records").rglob("*.json"))
    assert len(copies) == len(board())


def test_nothing_is_written_into_a_release(run: Run, tmp_path: Path, test_plugins: Path) -> None:
    directory = make_release(tmp_path, records=small())
    before = sorted(path for path in directory.rglob("*"))
    cell = "results/2026.1/shop/standard/nrms-standard-0.json.xz"
    text = run("challenge", cell, "--attack", "drop-one", code=2)
    assert "lies in the frozen release 2026.1, whose files never change" in text
    text = run("run", "--track", "demo", "--task", "video-watch", "--out", "results/2026.1/more", code=2)
    assert "lies in the frozen release 2026.1, whose files never change" in text
    assert sorted(path for path in directory.rglob("*")) == before


def test_another_programs_manifest_forbids_nothing(tmp_path: Path) -> None:
    from recgauntlet.records.manifest import check_not_frozen

    (tmp_path / MANIFEST).write_text('{"name": "an extension"}')
    check_not_frozen(tmp_path / "out", "--out")


def test_a_cell_of_another_suite_is_not_run_again(run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(rerunning, "rerun")
    directory = make_release(tmp_path, records=small())
    text = run("release", "verify", "2026.1", "--rerun", "--lot", "7", code=1)
    assert "suite.fingerprint: is of preview-1 1" in text
    assert "no cell was run again" in text
    assert not directory.with_name("2026.1.reruns.json").exists()


@pytest.mark.parametrize(("equal", "findings"), [(True, ()), (False, ()), (True, (Finding("p", "clean", "apart"),))])
def test_the_outcome_of_a_cell_run_again_is_kept_beside_the_release(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, equal: bool, findings: tuple[Finding, ...]
) -> None:
    directory = make_release(tmp_path, records=small())
    records = records_within(directory, read_records(directory))
    record = records[drawn(records, 7)]
    again = record if equal else make_record(seed=5)
    monkeypatch.setattr("recgauntlet.cli.release.not_installed", lambda record: ())
    monkeypatch.setattr(rerunning, "rerun", lambda path, given, *rest, **more: Rerun(equal, findings, again))
    text = run("release", "verify", "2026.1", "--rerun", "--lot", "7", code=1 if findings else 0)
    assert f"lot 7 falls on {drawn(records, 7)}" in text
    assert f"2026.1.reruns.json: {'equal' if equal else 'other'} numbers" in text
    kept = confirmed(directory, read_records(directory))
    assert set(kept) == ({record.digest} if equal and not findings else set())
    assert "no findings" in run("release", "verify", "2026.1")
