"""The rule that frozen files never change, on a scratch repository that breaks it in every way."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from made_releases import make_release, small

from recgauntlet.leaderboard.release.frozen import changed_files, changes_in_history, frozen_releases
from recgauntlet.records.manifest import MANIFEST, read_manifest

CELL = "shop/standard/nrms-standard-0.cell"


class Repository:
    """A git repository with one frozen release in results/, the first commit."""

    def __init__(self, folder: Path, release: Path) -> None:
        self.folder, self.root = folder, folder / "results"
        shutil.copytree(release, self.root / release.name)
        self.release = self.root / release.name
        self.git("init", "-q", "-b", "main")
        self.commit("the release")

    def git(self, *arguments: str) -> None:
        settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", "-c", "core.hooksPath="]
        subprocess.run(["git", *settings, *arguments], cwd=self.folder, check=True, capture_output=True)

    def commit(self, message: str) -> None:
        self.git("add", "-A")
        self.git("commit", "-q", "-m", message)

    def told(self) -> list[str]:
        """What the history says, paths seen from the release, without the commits' numbers."""
        found = changes_in_history(self.root)
        assert not found.unknown
        return [
            f"{(Path.cwd() / f.path).relative_to(self.release).as_posix()} {f.problem.split(' after')[0]}"
            for f in found.findings
        ]

    def submit(self, name: str, **files: str) -> None:
        folder = self.release / "submissions" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, text in files.items():
            (folder / file).write_text(text)
        sums = [{"path": f, "sha256": hashlib.sha256(t.encode()).hexdigest()} for f, t in files.items()]
        (folder / MANIFEST).write_text(json.dumps({"files": sums}))


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_release(tmp_path_factory.mktemp("made"), records=small())


@pytest.fixture
def repository(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> Repository:
    for variable in ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE"):
        monkeypatch.delenv(variable, raising=False)
    return Repository(tmp_path, made)


def change(repository: Repository) -> None:
    (repository.release / CELL).write_bytes(b"other")


def delete(repository: Repository) -> None:
    (repository.release / CELL).unlink()


def rename(repository: Repository) -> None:
    (repository.release / CELL).rename(repository.release / "shop/standard/other.cell")


def add(repository: Repository) -> None:
    (repository.release / "strä y.txt").write_text("x")


def replace_manifest(repository: Repository) -> None:
    path = repository.release / MANIFEST
    path.write_text(path.read_text() + "\n")


def link(repository: Repository) -> None:
    (repository.release / CELL).unlink()
    (repository.release / CELL).symlink_to("../../manifest.json")


BREAKS: dict[Callable[[Repository], None], list[str]] = {
    change: [f"{CELL} was changed"],
    delete: [f"{CELL} was deleted"],
    rename: [f"{CELL} was deleted", "shop/standard/other.cell was added"],
    add: ["strä y.txt was added"],
    replace_manifest: [f"{MANIFEST} was changed"],
    link: [f"{CELL} was changed into another kind of file"],
}


def test_a_release_that_nobody_touched_is_whole(repository: Repository) -> None:
    assert repository.told() == []
    assert changed_files(repository.release) == []
    assert frozen_releases(repository.root) == [repository.release]


@pytest.mark.parametrize("spoil", BREAKS, ids=lambda spoil: spoil.__name__)
def test_a_commit_that_touches_a_frozen_file_is_found(
    repository: Repository, spoil: Callable[[Repository], None]
) -> None:
    spoil(repository)
    repository.commit("spoil")
    assert repository.told() == BREAKS[spoil]


def test_a_file_that_was_put_back_was_still_changed(repository: Repository) -> None:
    before = (repository.release / CELL).read_bytes()
    change(repository)
    repository.commit("spoil")
    (repository.release / CELL).write_bytes(before)
    repository.commit("put back")
    assert repository.told() == [f"{CELL} was changed"] * 2
    assert changed_files(repository.release) == []


def test_a_whole_release_that_was_removed_is_missed(repository: Repository) -> None:
    shutil.rmtree(repository.release)
    (repository.root / "keep").mkdir()
    (repository.root / "keep" / "x").write_text("x")
    repository.commit("gone")
    told = repository.told()
    assert f"{MANIFEST} was deleted" in told
    assert len(told) == 5
    assert frozen_releases(repository.root) == []


def test_a_change_that_is_not_committed_yet_is_found(repository: Repository) -> None:
    replace_manifest(repository)
    (finding,) = changes_in_history(repository.root).findings
    assert "in the working tree" in finding.problem


def test_all_violations_are_told_together_with_the_commit(repository: Repository) -> None:
    change(repository)
    repository.commit("one")
    delete(repository)
    add(repository)
    repository.commit("two")
    found = changes_in_history(repository.root).findings
    assert len(found) == 3
    assert len({finding.problem[-30:] for finding in found}) == 2
    assert all("in commit " in finding.problem for finding in found)


def test_a_change_that_a_merge_brings_is_found(repository: Repository) -> None:
    repository.git("checkout", "-q", "-b", "side")
    change(repository)
    repository.commit("side")
    repository.git("checkout", "-q", "main")
    (repository.folder / "readme").write_text("x")
    repository.commit("main")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    assert repository.told() == [f"{CELL} was changed"]


def test_a_change_that_is_made_in_a_merge_itself_is_found(repository: Repository) -> None:
    repository.git("checkout", "-q", "-b", "side")
    (repository.folder / "side").write_text("x")
    repository.commit("side")
    repository.git("checkout", "-q", "main")
    (repository.folder / "readme").write_text("x")
    repository.commit("main")
    repository.git("merge", "-q", "--no-ff", "--no-commit", "side")
    change(repository)
    repository.commit("merge")
    assert repository.told() == [f"{CELL} was changed"]


def test_what_a_branch_put_back_before_it_was_merged_never_reached_anybody(repository: Repository) -> None:
    before = (repository.release / CELL).read_bytes()
    repository.git("checkout", "-q", "-b", "side")
    change(repository)
    repository.commit("spoil")
    (repository.release / CELL).write_bytes(before)
    repository.commit("put back")
    repository.git("checkout", "-q", "main")
    repository.git("merge", "-q", "--no-ff", "-m", "merge", "side")
    assert repository.told() == []


def test_what_was_there_before_the_release_was_frozen_could_change(repository: Repository) -> None:
    loose = repository.root / "loose"
    loose.mkdir()
    for text in ("one", "two"):
        (loose / "record.json").write_text(text)
        repository.commit(text)
    assert repository.told() == []


def test_releases_may_be_added_and_are_frozen_from_then_on(repository: Repository) -> None:
    shutil.copytree(repository.release, repository.root / "2026.2")
    repository.commit("another")
    assert repository.told() == []
    (repository.root / "2026.2" / CELL).write_bytes(b"other")
    repository.commit("spoil")
    assert [Path(f.path).parts[-4] for f in changes_in_history(repository.root).findings] == ["2026.2"]
    assert changes_in_history(repository.root, only="2026.1").findings == ()
    assert len(changes_in_history(repository.root, only="2026.2").findings) == 1


def test_a_submission_may_be_added_once(repository: Repository) -> None:
    repository.submit("mine", a="1", b="2")
    repository.commit("a submission")
    repository.submit("yours", c="3")
    repository.commit("another")
    assert repository.told() == []
    assert changed_files(repository.release) == []


def test_a_submission_that_was_merged_never_changes(repository: Repository) -> None:
    repository.submit("mine", a="1", b="2")
    repository.commit("a submission")
    repository.submit("mine", a="other", c="more")
    repository.commit("changed")
    assert sorted(repository.told()) == [
        "submissions/mine/a was changed",
        "submissions/mine/c was added",
        f"submissions/mine/{MANIFEST} was changed",
    ]


def test_a_submission_must_be_what_its_own_manifest_says(repository: Repository) -> None:
    repository.submit("mine", a="1", b="2")
    folder = repository.release / "submissions"
    (folder / "mine" / "a").write_text("other")
    (folder / "mine" / "b").unlink()
    (folder / "mine" / "c").write_text("stray")
    (folder / "stray.txt").write_text("stray")
    (folder / "bare").mkdir()
    (folder / "odd").mkdir()
    (folder / "odd" / MANIFEST).write_text('{"files": 3}')
    told = sorted(str(finding).partition("submissions/")[2] for finding in changed_files(repository.release))
    assert told == [
        f"bare: is a submission without its own {MANIFEST}",
        "mine/a: sha256: was changed after it was submitted",
        "mine/b: is in the submission's manifest and missing",
        "mine/c: is not listed in the submission's manifest: a stray",
        f"odd/{MANIFEST}: files: is no list of objects with path and sha256",
        "stray.txt: is no directory of a submission: a stray",
    ]


def test_files_that_are_not_those_of_the_manifest_are_told_together(repository: Repository) -> None:
    change(repository)
    (repository.release / "shop/standard/nrms-standard-1.cell").unlink()
    add(repository)
    told = [str(finding).partition("2026.1/")[2] for finding in changed_files(repository.release)]
    assert told[0].startswith(f"{CELL}: bytes: has 5 bytes, the manifest says")
    assert told[1].startswith("shop/standard/nrms-standard-1.cell: is in the manifest and cannot be read")
    assert told[2] == "strä y.txt: is not listed in the manifest: a stray"
    assert len(told) == 3


def test_a_change_that_keeps_the_size_is_found_by_the_sum(repository: Repository) -> None:
    path = repository.release / CELL
    content = bytearray(path.read_bytes())
    content[10] ^= 1
    path.write_bytes(bytes(content))
    (finding,) = changed_files(repository.release)
    assert finding.field == "sha256"


def test_a_manifest_that_names_files_elsewhere_reads_none_of_them(repository: Repository) -> None:
    path = repository.release / MANIFEST
    manifest = read_manifest(path)
    files = [file.model_copy(update={"path": f"../../{file.path}"}) for file in manifest.files]
    path.write_bytes(manifest.model_copy(update={"files": tuple(files)}).sealed().to_bytes())
    assert sum("no file below it" in finding.problem for finding in changed_files(repository.release)) == len(files)


@pytest.mark.parametrize("path", ["/etc/hostname", "C:/x", "a\\b", "../x"])
def test_a_path_that_is_none_below_the_release_is_refused(repository: Repository, path: str) -> None:
    manifest = read_manifest(repository.release / MANIFEST)
    files = (manifest.files[0].model_copy(update={"path": path}), *manifest.files[1:])
    forged = manifest.model_copy(update={"files": files}).sealed()
    (repository.release / MANIFEST).write_bytes(forged.to_bytes())
    told = [finding.problem for finding in changed_files(repository.release)]
    assert any(f"names {path!r}, no file below it" in problem for problem in told)


def test_a_linked_directory_is_a_stray_and_a_pipe_no_file(repository: Repository) -> None:
    (repository.release / "more").symlink_to(repository.folder, target_is_directory=True)
    (repository.release / CELL).unlink()
    os.mkfifo(repository.release / CELL)
    told = {Path(finding.path).name: finding.problem for finding in changed_files(repository.release)}
    assert told == {"more": "is not listed in the manifest: a stray", Path(CELL).name: "is no plain file"}


def test_a_file_that_is_listed_twice_is_told(repository: Repository) -> None:
    manifest = read_manifest(repository.release / MANIFEST)
    forged = manifest.model_copy(update={"files": (*manifest.files, manifest.files[0])}).sealed()
    (repository.release / MANIFEST).write_bytes(forged.to_bytes())
    (finding,) = changed_files(repository.release)
    assert finding.problem == f"lists {manifest.files[0].path} more than once"


def test_a_release_under_another_name_is_told(repository: Repository) -> None:
    other = repository.release.rename(repository.root / "2027.1")
    assert [(f.field, "2026.1" in f.problem) for f in changed_files(other)] == [("name", True)]


def test_without_a_history_nothing_is_claimed(tmp_path: Path, made: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.copytree(made, tmp_path / "results" / "2026.1")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = changes_in_history(tmp_path / "results")
    assert found.findings == ()
    assert "there is no git history" in found.unknown
    monkeypatch.setenv("PATH", str(tmp_path))
    assert "there is no git history" in changes_in_history(tmp_path / "results").unknown


def test_a_shallow_clone_is_said_to_be_one(repository: Repository, tmp_path: Path) -> None:
    add(repository)
    repository.commit("spoil")
    repository.git("clone", "-q", "--depth", "1", f"file://{repository.folder}", str(tmp_path / "shallow"))
    found = changes_in_history(tmp_path / "shallow" / "results")
    assert found.findings == ()
    assert "shallow" in found.unknown
