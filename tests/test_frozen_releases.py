"""Frozen results never change: every release in results/ is what its manifest says."""

from __future__ import annotations

from pathlib import Path

from recgauntlet.leaderboard.release.verify import changed_files, frozen_releases

RESULTS = Path(__file__).resolve().parents[1] / "results"
REMEDY = "Frozen files never change: put them back. A correction is a new release (docs/results/records.md)."


def test_every_frozen_file_is_what_its_manifest_says() -> None:
    releases = frozen_releases(RESULTS)
    assert releases
    findings = [finding for release in releases for finding in changed_files(release)]
    assert not findings, "\n".join([*map(str, findings), REMEDY])
