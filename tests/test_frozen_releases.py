"""Frozen results never change: every release in results/ is what its manifest says, and CI compares with the base."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from recgauntlet.leaderboard.release.verify import changed_files, frozen_releases

ROOT = Path(__file__).resolve().parents[1]
RESULTS = ROOT / "results"
REMEDY = "Frozen files never change: put them back. A correction is a new release (docs/results/records.md)."


def test_every_frozen_file_is_what_its_manifest_says() -> None:
    releases = frozen_releases(RESULTS)
    assert releases
    findings = [finding for release in releases for finding in changed_files(release)]
    assert not findings, "\n".join([*map(str, findings), REMEDY])


@pytest.mark.parametrize(
    ("change", "allowed"),
    [
        (lambda root: (root / "results/2026.1/manifest.json").write_text("other"), False),
        (lambda root: (root / "results/2026.1/a/one.json.xz").unlink(), False),
        (lambda root: (root / "results/2026.1/a/one.json.xz").rename(root / "results/2026.1/a/two.json.xz"), False),
        (lambda root: (root / "results/2026.1/submissions").write_text("more"), True),
        (lambda root: (root / "results/2026.2").write_text("more"), True),
        (lambda root: (root / "readme").write_text("other"), True),
    ],
)
def test_ci_refuses_a_change_of_a_file_that_the_base_branch_has_frozen(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: Callable[[Path], object], allowed: bool
) -> None:
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)

    def git(*arguments: str) -> None:
        settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", "-c", "core.hooksPath="]
        subprocess.run(["git", *settings, *arguments], cwd=tmp_path, check=True, capture_output=True)

    (tmp_path / "results/2026.1/a").mkdir(parents=True)
    for name in ("results/2026.1/manifest.json", "results/2026.1/a/one.json.xz", "readme"):
        (tmp_path / name).write_text(name)
    git("init", "-q", "-b", "main")
    git("add", "-A")
    git("commit", "-q", "-m", "base")
    git("checkout", "-q", "-b", "branch")
    change(tmp_path)
    git("add", "-A")
    git("commit", "-q", "-m", "change")
    ran = subprocess.run([ROOT / ".ci/frozen", "main"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ran.returncode == (0 if allowed else 1), ran.stderr
    assert ("Frozen files never change" in ran.stdout) != allowed
