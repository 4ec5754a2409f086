"""Frozen results never change: every release in results/ is what its manifest says and what git remembers."""

from __future__ import annotations

from pathlib import Path

import pytest

from recgauntlet.leaderboard.release.frozen import changed_files, changes_in_history, frozen_releases

RESULTS = Path(__file__).resolve().parents[1] / "results"
REMEDY = "Frozen files never change: put them back. A correction is a new release (docs/results/records.md)."


def test_every_frozen_file_is_what_its_manifest_says() -> None:
    findings = [finding for release in frozen_releases(RESULTS) for finding in changed_files(release)]
    assert not findings, "\n".join([*map(str, findings), REMEDY])


def test_no_commit_has_changed_a_frozen_file() -> None:
    history = changes_in_history(RESULTS)
    if history.unknown:
        pytest.skip(f"not compared with the past: {history.unknown}")
    assert not history.findings, "\n".join([*map(str, history.findings), REMEDY])
