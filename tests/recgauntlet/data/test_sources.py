from __future__ import annotations

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import pytest

from recgauntlet.core.errors import DataError
from recgauntlet.data.download import SourceArchive, Wheel, fetch_source_archive, fetch_wheel, wheel_in
from recgauntlet.data.sources import (
    Mirror,
    MirrorError,
    RawFile,
    files_in,
    find_in,
    first_of,
    members,
    named_directory,
)


def absent() -> dict[str, RawFile]:
    raise MirrorError("nothing here")


def damaged() -> dict[str, RawFile]:
    raise DataError("is damaged", where="toys.csv", remedy="mend it")


def good() -> dict[str, RawFile]:
    return {"toys": RawFile("toys.csv", b"id")}


def test_the_first_mirror_that_has_the_files_is_read() -> None:
    assert first_of([Mirror("one", absent), Mirror("two", good), Mirror("three", damaged)], "toys") == good()


def test_every_mirror_that_failed_is_named() -> None:
    with pytest.raises(DataError) as caught:
        first_of([Mirror("a directory", absent), Mirror("an archive", absent)], "toys")
    assert "a directory: nothing here" in str(caught.value)
    assert "an archive: nothing here" in str(caught.value)


def test_a_damaged_file_is_not_replaced_by_another_mirror() -> None:
    with pytest.raises(DataError, match="is damaged"):
        first_of([Mirror("one", damaged), Mirror("two", good)], "toys")


def test_files_are_found_in_a_directory_or_one_level_below(tmp_path: Path) -> None:
    (tmp_path / "ml").mkdir()
    (tmp_path / "ml" / "u.data").write_bytes(b"1")
    (tmp_path / "u.item").write_bytes(b"2")
    found = files_in(tmp_path, {"data": "u.data", "item": "u.item"})
    assert (found["data"].content, found["item"].content) == (b"1", b"2")
    assert find_in(tmp_path, ["u.genre", "u.item"]) == tmp_path / "u.item"
    with pytest.raises(MirrorError, match=r"no u\.genre"):
        files_in(tmp_path, {"item": "u.item", "genre": "u.genre"})


def test_a_directory_that_is_none_is_an_error_but_none_named_is_not(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="not a directory"):
        named_directory(tmp_path / "nowhere")
    with pytest.raises(MirrorError):
        named_directory(None)


def archive(path: Path) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("ml-100k/u.data", b"ratings" * 500)
        file.writestr("ml-100k/other", b"other")
    return path


def test_only_the_named_members_are_read(tmp_path: Path) -> None:
    found = members(archive(tmp_path / "toys.zip"), {"data": "u.data"})
    assert found["data"].content == b"ratings" * 500
    assert [path.name for path in tmp_path.iterdir()] == ["toys.zip"]


def test_a_truncated_or_foreign_archive_is_named(tmp_path: Path) -> None:
    whole = archive(tmp_path / "toys.zip")
    with pytest.raises(DataError, match=r"holds no file u\.item"):
        members(whole, {"item": "u.item"})
    whole.write_bytes(whole.read_bytes()[:-40])
    with pytest.raises(DataError, match="truncated or no zip file") as caught:
        members(whole, {"data": "u.data"})
    assert caught.value.where == str(whole)


def test_a_flipped_byte_in_an_archive_is_seen(tmp_path: Path) -> None:
    whole = archive(tmp_path / "toys.zip")
    content = bytearray(whole.read_bytes())
    content[50] ^= 0xFF
    whole.write_bytes(bytes(content))
    with pytest.raises(DataError, match="truncated or no zip file"):
        members(whole, {"data": "u.data"})


@pytest.fixture
def index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Wheel:
    """A wheel in a directory that pip is told to look in, as a user's own settings may."""
    shelf = tmp_path / "index"
    shelf.mkdir()
    path = shelf / "toy_data-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("toy_data/toys.csv", b"id\n1\n")
        file.writestr("toy_data-1.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: toy-data\nVersion: 1.0\n")
        file.writestr("toy_data-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        file.writestr("toy_data-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return Wheel("toy-data", "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_wheel_comes_by_the_users_own_pip_and_is_only_read(index: Wheel, tmp_path: Path) -> None:
    kept = fetch_wheel(index, tmp_path / "cache")
    assert members(kept, {"toys": "toy_data/toys.csv"})["toys"].content == b"id\n1\n"
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [index.filename]
    (tmp_path / "index" / index.filename).unlink()
    assert fetch_wheel(index, tmp_path / "cache", offline=True) == kept


def test_a_wheel_that_pip_does_not_find_is_told(index: Wheel, tmp_path: Path) -> None:
    missing = Wheel("toy-data", "2.0", "toy_data-2.0-py3-none-any.whl", index.sha256)
    with pytest.raises(MirrorError, match=r"pip download toy-data==2\.0 failed"):
        fetch_wheel(missing, tmp_path / "cache")
    with pytest.raises(MirrorError, match="--offline"):
        fetch_wheel(missing, tmp_path / "cache", offline=True)


def test_a_wheel_of_another_hash_is_refused(index: Wheel, tmp_path: Path) -> None:
    other = Wheel(index.package, index.version, index.filename, "0" * 64)
    with pytest.raises(DataError, match="not the wheel "):
        fetch_wheel(other, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    with pytest.raises(DataError, match="not the wheel "):
        wheel_in(tmp_path / "index", other)
    assert wheel_in(tmp_path, index).name == index.filename


@pytest.fixture
def source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SourceArchive:
    """A source archive in a directory that pip is told to look in. Its `setup.py` leaves a file where it is run."""
    shelf = tmp_path / "index"
    shelf.mkdir()
    path = shelf / "toy-1.0.tar.gz"
    files = {"setup.py": f"open({str(tmp_path / 'was-run')!r}, 'w')", "PKG-INFO": "Metadata-Version: 1.0", "toys": "1"}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(f"toy-1.0/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content.encode()))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    return SourceArchive("toy", "1.0", path.name, hashlib.sha256(path.read_bytes()).hexdigest())


def test_a_source_archive_comes_by_the_users_own_pip_and_none_of_its_code_is_run(
    source: SourceArchive, tmp_path: Path
) -> None:
    kept = fetch_source_archive(source, tmp_path / "cache")
    assert kept.read_bytes() == (tmp_path / "index" / source.filename).read_bytes()
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [source.filename]
    assert not (tmp_path / "was-run").exists()
    (tmp_path / "index" / source.filename).unlink()
    assert fetch_source_archive(source, tmp_path / "cache", offline=True) == kept


def test_a_source_archive_of_another_hash_is_refused_before_it_is_unpacked(
    source: SourceArchive, tmp_path: Path
) -> None:
    other = SourceArchive(source.package, source.version, source.filename, "0" * 64)
    with pytest.raises(MirrorError, match="another SHA-256"):
        fetch_source_archive(other, tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    assert not (tmp_path / "was-run").exists()
    kept = fetch_source_archive(source, tmp_path / "cache")
    kept.write_bytes(b"cut")
    with pytest.raises(DataError, match=r"not the source archive toy==1\.0"):
        fetch_source_archive(source, tmp_path / "cache")
