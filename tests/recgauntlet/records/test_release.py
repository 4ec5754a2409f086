"""Opening releases: by name or path, frozen or not, and what is said where there is none."""

from __future__ import annotations

import base64
import json
import lzma
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_releases import make_release, small, write_all

from recgauntlet.core.errors import RecordError
from recgauntlet.records.io import read_record, read_records
from recgauntlet.records.manifest import MANIFEST, read_manifest
from recgauntlet.records.release import Release, open_release, release_names, superseded_by


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two releases, the second superseding the first, and a directory that nobody froze."""
    folder = tmp_path_factory.mktemp("releases")
    make_release(folder, "2026.1", small())
    make_release(folder, "2026.1.1", small(clean=0.7), supersedes="2026.1", reason="labels")
    write_all(folder / "results" / "mine", small())
    return folder


def test_a_release_is_opened_by_its_name_or_its_path(folder: Path) -> None:
    by_name = open_release("2026.1", folder / "results")
    assert by_name == open_release(folder / "results" / "2026.1")
    assert by_name == open_release(str(folder / "results" / "2026.1"))
    assert (by_name.name, len(by_name.results.records)) == ("2026.1", 3)


def test_a_directory_that_nobody_froze_has_its_own_name_and_no_digest(folder: Path) -> None:
    release = open_release("mine", folder / "results")
    assert isinstance(release, Release)
    assert (release.name, release.manifest, release.digest) == ("mine", None, "")
    assert len(release.results.records) == 3


def test_a_name_below_the_root_goes_before_a_directory_here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    (folder / "2026.1").mkdir()
    assert open_release("2026.1").manifest is not None


def test_close_names_are_suggested(folder: Path) -> None:
    with pytest.raises(RecordError, match=r"did you mean 2026\.1 or 2026\.1\.1\?"):
        open_release("2026.l", folder / "results")
    with pytest.raises(RecordError, match=r"or one of: 2026\.1, 2026\.1\.1, mine"):
        open_release("xyzzy", folder / "results")
    with pytest.raises(RecordError, match="there are no releases below"):
        open_release("xyzzy", folder / "none")


def test_a_file_is_no_release(folder: Path) -> None:
    with pytest.raises(RecordError, match="is a file"):
        open_release(folder / "results" / "2026.1" / MANIFEST)


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda text: text[:-50], "is not complete JSON"),
        (lambda text: text.replace('"rows": 1', '"rows": 2'), "was changed after it was written"),
        (lambda text: text.replace('"schema_version": 2', '"schema_version": 7'), "has schema version 7"),
        (lambda text: text.replace('"kind": "release"', '"kind": "other"'), "is no manifest of a release"),
        (lambda text: text.replace('"rows": 1', '"raws": 1'), "counts.rows: Field required"),
    ],
)
def test_a_broken_manifest_is_told_with_its_file(tmp_path: Path, spoil: object, problem: str) -> None:
    path = make_release(tmp_path, records=small()) / MANIFEST
    path.write_text(spoil(path.read_text()))  # type: ignore[operator]
    with pytest.raises(RecordError, match=problem) as caught:
        open_release("2026.1", tmp_path / "results")
    assert caught.value.where == str(path)


def test_the_names_below_the_root_and_what_supersedes_what(folder: Path) -> None:
    root = folder / "results"
    assert release_names(root) == ["2026.1", "2026.1.1", "mine"]
    assert release_names(folder / "none") == []
    assert (superseded_by("2026.1", root), superseded_by("2026.1.1", root)) == (["2026.1.1"], [])


def test_a_changed_missing_or_stray_file_of_a_release_never_counts(tmp_path: Path) -> None:
    directory = make_release(tmp_path, records=small(5))
    folder = directory / "shop" / "standard"
    (folder / "nrms-standard-0.json.xz").unlink()
    content = bytearray((folder / "nrms-standard-1.json.xz").read_bytes())
    content[-1] ^= 1
    (folder / "nrms-standard-1.json.xz").write_bytes(bytes(content))
    write_all(directory / "more", small(1, defense="pgd"))
    results = open_release(directory).results
    assert [path.name for path, _ in results.records] == [f"nrms-standard-{n}.json.xz" for n in (2, 3, 4)]
    told = {path.name: error.problem for path, error in results.broken}
    assert set(told) == {"nrms-standard-0.json.xz", "nrms-standard-1.json.xz", "000.json"}
    assert "checksum is not the manifest's" in told["nrms-standard-1.json.xz"]
    assert told["000.json"] == "is no part of the frozen release"


def test_submissions_are_no_part_of_a_release_and_can_be_read_by_themselves(tmp_path: Path) -> None:
    directory = make_release(tmp_path, records=small())
    submission = write_all(directory / "submissions" / "mine", small(defense="pgd"))
    (submission / MANIFEST).write_text(json.dumps({"files": []}))
    assert len(open_release(directory).results.records) == 3
    assert open_release(directory).results.broken == ()
    assert len(read_records(directory / "submissions").records) == 3
    assert len(read_records(directory).records) == 3


def test_a_directory_of_releases_is_read_as_all_of_them(folder: Path) -> None:
    found = read_records(folder / "results")
    assert (len(found.records), found.broken) == (9, ())


def test_a_release_with_a_broken_manifest_is_still_read_every_record_checked(tmp_path: Path) -> None:
    directory = make_release(tmp_path, records=small())
    (directory / MANIFEST).write_text("{")
    found = read_records(directory)
    assert [path.name for path, _ in found.broken] == [MANIFEST]
    assert len(found.records) == 3


def test_a_manifest_says_the_same_once_it_is_read(folder: Path) -> None:
    path = folder / "results" / "2026.1" / MANIFEST
    assert read_manifest(path).to_bytes() == path.read_bytes()


def test_the_format_can_be_read_without_recgauntlet(folder: Path) -> None:
    path = folder / "results" / "2026.1" / "shop" / "standard" / "nrms-standard-0.json.xz"
    content, record = json.loads(lzma.decompress(path.read_bytes())), read_record(path)
    assert record.clean is not None

    def raw(column: dict[str, Any]) -> bytes:
        return zlib.decompress(base64.b64decode(column["data"]))

    scores, labels = content["clean"]["scores"], content["clean"]["labels"]
    assert np.frombuffer(raw(scores), dtype="<f2").tolist() == record.clean.scores.to_float().tolist()
    bits = np.unpackbits(np.frombuffer(raw(labels), dtype=np.uint8), count=labels["n"])
    assert bits.tolist() == record.clean.labels.to_bool().tolist()
