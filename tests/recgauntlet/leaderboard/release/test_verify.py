"""Verifying from the ground up: every way in which a release can be wrong is found, all of them at once."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_releases import board, make_release, small

from recgauntlet.leaderboard.release.frozen import Finding
from recgauntlet.leaderboard.release.verify import verify_release
from recgauntlet.records.columns import Packed
from recgauntlet.records.manifest import MANIFEST, Manifest, read_manifest
from recgauntlet.records.packed_cells import packed_cells, read_cell
from recgauntlet.records.packing import as_released
from recgauntlet.records.release import open_release
from recgauntlet.records.schema import RunRecord


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
    """One record changed so well that its digest and the manifest's sums fit."""
    folder = directory / "shop" / "standard"
    cells = {path.name: read_cell(path) for path in sorted(folder.glob("*.cell"))}
    name = "nrms-standard-0.cell"
    cells[name] = change(cells[name]).sealed()
    files = packed_cells(cells)
    entries = []
    for entry in read_manifest(directory / MANIFEST).files:
        path = Path(entry.path)
        if path.parent.as_posix() == "shop/standard":
            content = files[path.name]
            (folder / path.name).write_bytes(content)
            digest = cells[path.name].digest if path.name in cells else ""
            update = {"sha256": hashlib.sha256(content).hexdigest(), "bytes": len(content), "record": digest}
            entry = entry.model_copy(update=update)
        entries.append(entry)
    resealed(directory, files=tuple(entries))


def told(directory: Path) -> list[tuple[str, str]]:
    """The files and fields of the findings."""
    return [(Path(finding.path).name, finding.field) for finding in verify_release(directory)]


def test_a_release_that_nobody_touched_has_no_findings(release: Path) -> None:
    assert verify_release(release) == ()


def test_all_findings_are_told_at_once_with_file_and_field(release: Path) -> None:
    folder = release / "shop" / "standard"
    (folder / "nrms-standard-0.cell").unlink()
    (folder / "nrms-pgd-0.cell").write_bytes(b"short")
    (release / "stray").write_text("x")
    found = verify_release(release)
    assert {(Path(f.path).name, f.field) for f in found} >= {
        ("nrms-standard-0.cell", ""),
        ("nrms-pgd-0.cell", "bytes"),
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
    better = interval.model_copy(update={"value": interval.value + 0.0001})
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


def test_bounds_may_differ_by_what_another_stream_of_draws_would_change(release: Path) -> None:
    rows = list(read_manifest(release / MANIFEST).summary)
    near = rows[0].clean.model_copy(update={"low": rows[0].clean.low + 0.004})
    far = rows[1].clean.model_copy(update={"high": rows[1].clean.high + 0.006})
    rows[0] = rows[0].model_copy(update={"clean": near})
    rows[1] = rows[1].model_copy(update={"clean": far})
    resealed(release, summary=tuple(rows))
    assert told(release) == [(MANIFEST, "summary.1.clean")]


def test_a_record_that_was_changed_with_all_sums_made_to_fit_is_found_by_the_summary(release: Path) -> None:
    def better(record: RunRecord) -> RunRecord:
        first = record.threats[0]
        right = first.tiers[0].robust
        tiers = tuple(
            tier.model_copy(update={"robust": right, "attacks": ()}) if tier.tier == "standard" else tier
            for tier in first.tiers
        )
        return record.model_copy(update={"threats": (first.model_copy(update={"tiers": tiers}), *record.threats[1:])})

    forged(release, better)
    assert open_release(release).results.broken == ()  # the sums vouch for it
    fields = {field for _, field in told(release)}
    assert any(field.startswith("summary.") and field.endswith(".robust") for field in fields)


def test_columns_that_contradict_each_other_are_found_though_the_sums_fit(release: Path) -> None:
    def contradictory(record: RunRecord) -> RunRecord:
        first = record.threats[0]
        robust = first.tiers[0].robust
        tier = first.tiers[0].model_copy(update={"robust": Packed.bits(~(robust.to_bool() & False))})
        threat = first.model_copy(update={"tiers": (tier, *first.tiers[1:])})
        return record.model_copy(update={"threats": (threat, *record.threats[1:])})

    forged(release, lambda record: as_released(contradictory(record)))
    assert ("nrms-standard-0.cell", "threats.stuffing.low.robust") in told(release)


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


def test_the_history_is_asked_where_there_is_one(release: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GIT_DIR", raising=False)
    run = ["git", "-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    for arguments in (["init", "-q"], ["add", "-A"], ["commit", "-q", "-m", "frozen"]):
        subprocess.run([*run, *arguments], cwd=release.parents[1], check=True, capture_output=True)
    assert verify_release(release) == ()
    rows = read_manifest(release / MANIFEST)
    resealed(release, reason=rows.reason + " a word more")
    assert [(f.field, "in the working tree" in f.problem) for f in verify_release(release)] == [("", True)]


def test_a_small_release_of_one_row_verifies_too(tmp_path: Path) -> None:
    assert verify_release(make_release(tmp_path, records=small(1))) == ()
