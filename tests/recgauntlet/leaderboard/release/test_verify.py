"""Verifying a release: every way in which it can be wrong is found, all of them at once."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from made_releases import board, make_release, small

from recgauntlet.leaderboard.release.summary import summary_of
from recgauntlet.leaderboard.release.verify import changed_files, frozen_releases, verify_release
from recgauntlet.records.columns import BitColumn
from recgauntlet.records.digest import compress, to_bytes
from recgauntlet.records.io import read_record
from recgauntlet.records.manifest import MANIFEST, Finding, Manifest, read_manifest
from recgauntlet.records.release import open_release
from recgauntlet.records.schema import RunRecord

CELL = "shop/standard/nrms-standard-0.json.xz"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("made"), records=board())


@pytest.fixture
def release(tmp_path: Path, made: Path) -> Path:
    return Path(shutil.copytree(made, tmp_path / "results" / made.name))


def resealed(directory: Path, **update: Any) -> Manifest:
    """A manifest that was forged well: changed, and its digest made to fit."""
    manifest = read_manifest(directory / MANIFEST).model_copy(update=update).sealed()
    (directory / MANIFEST).write_bytes(manifest.to_bytes())
    return manifest


def forged(directory: Path, change: Callable[[RunRecord], RunRecord]) -> None:
    """One record changed so well that its digest and the manifest's checksums fit."""
    path = directory / CELL
    record = change(read_record(path)).sealed()
    content = compress(to_bytes(record))
    path.write_bytes(content)
    update = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "record": record.digest}
    files = read_manifest(directory / MANIFEST).files
    resealed(directory, files=tuple(f.model_copy(update=update) if f.path == CELL else f for f in files))


def told(directory: Path) -> list[tuple[str, str]]:
    """The files and fields of the findings."""
    return [(Path(finding.path).name, finding.field) for finding in verify_release(directory)]


def test_a_release_that_nobody_touched_has_no_findings(release: Path) -> None:
    assert verify_release(release) == ()


def test_all_findings_are_told_at_once_with_file_and_field(release: Path) -> None:
    folder = release / "shop" / "standard"
    (folder / "nrms-standard-0.json.xz").unlink()
    (folder / "nrms-pgd-0.json.xz").write_bytes(b"short")
    (release / "stray").write_text("x")
    found = verify_release(release)
    assert {(Path(f.path).name, f.field) for f in found} >= {
        ("nrms-standard-0.json.xz", ""),
        ("nrms-pgd-0.json.xz", "bytes"),
        ("stray", ""),
        (MANIFEST, "counts.records"),
        (MANIFEST, "summary"),
    }
    assert all(isinstance(finding, Finding) and finding.problem for finding in found)


@pytest.mark.parametrize(
    ("update", "field"),
    [
        ({"name": "2027.1"}, "name"),
        ({"attack_scores": True}, "attack_scores"),
        ({"summary": ()}, "summary"),
        ({"tasks": ()}, "tasks"),
        ({"files": ()}, "counts.records"),
    ],
)
def test_a_forged_manifest_is_found_by_what_the_records_say(release: Path, update: dict[str, Any], field: str) -> None:
    resealed(release, **update)
    assert (MANIFEST, field) in told(release)


def test_a_forged_count_is_found(release: Path) -> None:
    counts = read_manifest(release / MANIFEST).counts
    resealed(release, counts=counts.model_copy(update={"failed": 2, "best_known": 1}))
    assert told(release) == [(MANIFEST, "counts.best_known"), (MANIFEST, "counts.failed")]


@pytest.mark.parametrize("field", ["clean", "robust"])
def test_a_forged_number_is_found_with_both_values(release: Path, field: str) -> None:
    rows = list(read_manifest(release / MANIFEST).summary)
    place = next(n for n, row in enumerate(rows) if row.defense.name == "pgd")
    interval = getattr(rows[place], field)
    better = replace(interval, value=interval.value + 0.0001)
    rows[place] = rows[place].model_copy(update={field: better})
    resealed(release, summary=tuple(rows))
    (finding,) = verify_release(release)
    assert finding.field == f"summary.{place}.{field}"
    assert "nrms + pgd" in finding.problem
    assert f"{better.value:.6f}" in finding.problem
    assert f"the records give {interval.value:.6f}" in finding.problem


@pytest.mark.parametrize(
    "change", [{"rank": 9}, {"flags": ()}, {"seeds": (0, 1, 2, 3)}, {"worst": "embedding"}], ids=lambda c: next(iter(c))
)
def test_a_forged_rank_flag_seed_or_threat_is_found(release: Path, change: dict[str, Any]) -> None:
    rows = list(read_manifest(release / MANIFEST).summary)
    place = next(n for n, row in enumerate(rows) if row.defense.name == "masked")
    rows[place] = rows[place].model_copy(update=change)
    resealed(release, summary=tuple(rows))
    assert told(release) == [(MANIFEST, f"summary.{place}.{next(iter(change))}")]


def test_a_release_of_the_older_rule_of_ranks_keeps_its_ranks_and_its_order(release: Path) -> None:
    """What overlapping intervals ranked in another way is no finding; a changed number still is."""
    known = read_manifest(release / MANIFEST).summary
    rows = [row.model_copy(update={"rank": row.rank and row.rank + 1}) for row in known]
    resealed(release, summary=tuple(rows[::-1]))
    assert (MANIFEST, "summary") in told(release)
    resealed(release, ranks="intervals")
    assert '"ranks"' not in (release / MANIFEST).read_text()
    assert told(release) == []
    rows[0] = rows[0].model_copy(update={"seeds": (0, 1)})
    resealed(release, summary=tuple(rows[::-1]))
    assert told(release) == [(MANIFEST, f"summary.{len(rows) - 1}.seeds")]
    assert [row.rank for row in summary_of(open_release(release))[0]] == [row.rank for row in known]


def test_bounds_may_differ_by_what_another_stream_of_draws_would_change(release: Path) -> None:
    rows = list(read_manifest(release / MANIFEST).summary)
    near = replace(rows[0].clean, low=rows[0].clean.low + 0.004)
    far = replace(rows[1].clean, high=rows[1].clean.high + 0.006)
    rows[0] = rows[0].model_copy(update={"clean": near})
    rows[1] = rows[1].model_copy(update={"clean": far})
    resealed(release, summary=tuple(rows))
    assert told(release) == [(MANIFEST, "summary.1.clean")]


def test_a_record_that_was_changed_with_all_checksums_made_to_fit_is_found_by_the_summary(release: Path) -> None:
    def better(record: RunRecord) -> RunRecord:
        first = record.threats[0]
        right = first.tiers[0].robust
        tiers = tuple(
            tier.model_copy(update={"robust": right, "attacks": ()}) if tier.tier == "standard" else tier
            for tier in first.tiers
        )
        return record.model_copy(update={"threats": (first.model_copy(update={"tiers": tiers}), *record.threats[1:])})

    forged(release, better)
    assert open_release(release).results.broken == ()  # it does not contradict itself
    fields = {field for _, field in told(release)}
    assert any(field.startswith("summary.") and field.endswith(".robust") for field in fields)


def test_columns_that_contradict_each_other_are_found_though_the_checksums_fit(release: Path) -> None:
    def contradictory(record: RunRecord) -> RunRecord:
        first = record.threats[0]
        robust = first.tiers[0].robust
        tier = first.tiers[0].model_copy(update={"robust": BitColumn.of(~(robust.to_bool() & False))})
        threat = first.model_copy(update={"tiers": (tier, *first.tiers[1:])})
        return record.model_copy(update={"threats": (threat, *record.threats[1:])})

    forged(release, contradictory)
    assert ("nrms-standard-0.json.xz", "threats.stuffing.low.robust") in told(release)


def test_a_record_of_another_suite_among_the_others_is_found(release: Path) -> None:
    forged(
        release,
        lambda record: record.model_copy(update={"suite": record.suite.model_copy(update={"fingerprint": "9" * 64})}),
    )
    found = [finding for finding in verify_release(release) if finding.field == "tasks"]
    assert len(found) == 1
    assert "another attack suite" in found[0].problem
    assert "seed 0" in found[0].problem


def test_a_fingerprint_of_the_manifest_that_is_not_the_records_is_found(release: Path) -> None:
    tasks = list(read_manifest(release / MANIFEST).tasks)
    tasks[0] = tasks[0].model_copy(update={"data_fingerprint": "0" * 64})
    resealed(release, tasks=tuple(tasks))
    assert told(release) == [(MANIFEST, "tasks.news.data_fingerprint")]


def test_a_broken_manifest_is_one_finding(release: Path) -> None:
    (release / MANIFEST).write_text("{")
    assert told(release) == [(MANIFEST, "")]


def test_a_small_release_of_one_row_verifies_too(tmp_path: Path) -> None:
    assert verify_release(make_release(tmp_path, records=small(1))) == ()


def test_a_submission_may_be_added_to_a_release(release: Path) -> None:
    folder = release / "submissions"
    (folder / "bare").mkdir(parents=True)
    (folder / "odd").mkdir()
    (folder / "odd" / MANIFEST).write_text('{"files": 3}')
    (folder / "stray.txt").write_text("stray")
    told = [str(finding).partition("submissions/")[2] for finding in changed_files(release)]
    assert told == [
        f"bare/{MANIFEST}: is missing",
        f"odd/{MANIFEST}: kind: is no manifest of a submission",
        "stray.txt: is no directory of a submission",
    ]
    assert frozen_releases(release.parent) == [release]


def test_files_that_are_not_those_of_the_manifest_are_named_together(release: Path) -> None:
    (release / CELL).write_bytes(b"other")
    (release / "shop/standard/nrms-standard-1.json.xz").unlink()
    (release / "strä y.txt").write_text("x")
    told = [str(finding).partition("2026.1/")[2] for finding in changed_files(release)]
    assert told[0].startswith(f"{CELL}: bytes: has 5 bytes, the manifest says")
    assert told[1].startswith("shop/standard/nrms-standard-1.json.xz: is in the manifest and cannot be read")
    assert told[2] == "strä y.txt: is not listed in the manifest"
    assert len(told) == 3


def test_a_change_that_keeps_the_size_is_found_by_the_checksum(release: Path) -> None:
    path = release / CELL
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(bytes(content))
    (finding,) = changed_files(release)
    assert finding.field == "sha256"


@pytest.mark.parametrize("path", ["/etc/hostname", "C:/x", "a\\b", "../x"])
def test_a_path_that_is_none_below_the_release_is_refused(release: Path, path: str) -> None:
    manifest = read_manifest(release / MANIFEST)
    files = (manifest.files[0].model_copy(update={"path": path}), *manifest.files[1:])
    forged = manifest.model_copy(update={"files": files}).sealed()
    (release / MANIFEST).write_bytes(forged.to_bytes())
    told = [finding.problem for finding in changed_files(release)]
    assert any(f"names {path!r}, no file below it" in problem for problem in told)


def test_a_linked_directory_is_unlisted_and_a_pipe_no_file(release: Path) -> None:
    (release / "more").symlink_to(release.parents[1], target_is_directory=True)
    (release / CELL).unlink()
    os.mkfifo(release / CELL)
    told = {Path(finding.path).name: finding.problem for finding in changed_files(release)}
    assert told == {"more": "is not listed in the manifest", Path(CELL).name: "is no plain file"}


def test_a_file_that_is_listed_twice_is_named(release: Path) -> None:
    manifest = read_manifest(release / MANIFEST)
    forged = manifest.model_copy(update={"files": (*manifest.files, manifest.files[0])}).sealed()
    (release / MANIFEST).write_bytes(forged.to_bytes())
    (finding,) = changed_files(release)
    assert finding.problem == f"lists {manifest.files[0].path} more than once"


def test_a_release_under_another_name_is_named(release: Path) -> None:
    other = release.rename(release.parent / "2027.1")
    assert [(f.field, "2026.1" in f.problem) for f in changed_files(other)] == [("name", True)]
