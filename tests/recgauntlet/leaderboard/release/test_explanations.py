"""Explanations in a release: frozen with the records they belong to, refused without, and found when forged."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_releases import SMALL, small, write_all
from synthetic_explanations import explanation_of, with_evidence

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.release import freeze as freezing
from recgauntlet.leaderboard.release.freeze import Wanted, freeze
from recgauntlet.leaderboard.release.verify import verify_release
from recgauntlet.records.explanations import ExplainedDecision, write_explanation
from recgauntlet.records.manifest import MANIFEST, read_manifest
from recgauntlet.records.release import open_release

RECORDS = [with_evidence(record) for record in small()]


def source_with(folder: Path, found: ExplainedDecision) -> Path:
    source = write_all(folder / "records", RECORDS)
    write_explanation(found, source / "explanations" / "why.json")
    return source


def test_they_are_frozen_with_their_records_and_verified(tmp_path: Path) -> None:
    made = explanation_of(RECORDS[1])
    directory = freeze(Wanted("2026.1", (source_with(tmp_path, made),), tmp_path / "results"))
    release = open_release(directory)
    ((path, found),) = release.results.explanations
    assert found == made
    assert path.relative_to(directory).as_posix() == (
        "explanations/shop/standard/nrms-standard-1-1-stuffing-standard.json.xz"
    )
    (entry,) = (file for file in read_manifest(directory / MANIFEST).files if file.kind == "explanation")
    assert entry.path == path.relative_to(directory).as_posix()
    assert read_manifest(directory / MANIFEST).counts.explanations == 1
    assert verify_release(directory) == ()
    path.write_bytes(path.read_bytes()[:-1])
    assert {finding.path.rpartition("/")[2] for finding in verify_release(directory)} >= {path.name}


def test_a_release_without_any_does_not_count_them(tmp_path: Path) -> None:
    directory = freeze(Wanted("2026.1", (write_all(tmp_path / "records", RECORDS),), tmp_path / "results"))
    assert b"explanations" not in (directory / MANIFEST).read_bytes()


@pytest.mark.parametrize(
    ("changes", "problem"),
    [({"example": 3}, "does not have as evidence"), ({"example": 10**6 + 1}, "explains no record here")],
)
def test_one_of_no_record_of_the_release_is_refused_and_found(
    tmp_path: Path, changes: dict[str, int], problem: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted = Wanted("2026.1", (source_with(tmp_path, explanation_of(RECORDS[0], **changes)),), tmp_path / "results")
    with pytest.raises(RecordError, match=rf"why\.json: .*{problem}"):
        freeze(wanted)
    monkeypatch.setattr(freezing, "misplaced", lambda records, found: None)
    (finding,) = verify_release(freeze(wanted))
    assert problem in finding.problem


def test_one_of_another_cell_is_of_no_record(tmp_path: Path) -> None:
    (other,) = small(1, defense="pgd")
    assert other.clean is not None
    assert other.clean.labels.n == 2 * SMALL["pairs"]
    source = source_with(tmp_path, explanation_of(with_evidence(other)))
    with pytest.raises(RecordError, match="explains no record here"):
        freeze(Wanted("2026.1", (source,), tmp_path / "results"))
