"""Downloads from a hub and uploads to it, with huggingface_hub's own client, against a local server."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from fake_hub import FakeHub
from fake_hub import hub as hub
from safetensors.torch import save

from recgauntlet.core.errors import DataError, RecordError
from recgauntlet.core.files import weights
from recgauntlet.records.manifest import Weights, WeightsFile
from recgauntlet.runner.hub import fetch, upload

CONTENT = save({"weight": torch.arange(6.0)})
PATH = "video-watch/demo/nrms-pgd-0.safetensors"
POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"a" * 64 + b"\nsize 12345\n"


def place(hub: FakeHub, **changes: object) -> tuple[Weights, WeightsFile]:
    """A repository with a file, as a manifest names them."""
    revision = hub.commit("group/weights", {PATH: CONTENT, "README.md": b"# Weights"})
    sha256 = hashlib.sha256(CONTENT).hexdigest()
    file = WeightsFile.model_validate({"path": PATH, "sha256": sha256, "bytes": len(CONTENT), "record": ""} | changes)
    return Weights(repository="group/weights", revision=revision, files=(file,)), file


def test_a_file_is_downloaded_once_and_then_found_offline(hub: FakeHub, tmp_path: Path) -> None:
    where, file = place(hub)
    with pytest.raises(DataError, match="is not in the cache, and no connection may be opened"):
        fetch(where, file, cache=tmp_path, offline=True)
    assert not hub.requests
    path = fetch(where, file, cache=tmp_path)
    assert path.read_bytes() == CONTENT
    assert path.is_relative_to(weights(tmp_path))
    assert any(request.startswith("GET /storage/") for request in hub.requests)
    hub.requests.clear()
    assert fetch(where, file, cache=tmp_path, offline=True) == path
    assert fetch(where, file, cache=tmp_path) == path  # a commit never changes: the cache is enough
    assert not hub.requests


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (POINTER, "is a pointer of Git LFS instead of weights"),
        (b"<!DOCTYPE html><html>Log in</html>", "is an HTML page instead of weights"),
        (b"\x80\x02}q\x00(X\x05\x00weight", "is no safetensors file instead of weights"),
        (b"", "is no safetensors file instead of weights"),
        (save({"weight": torch.zeros(6)}), "has the SHA-256 "),
    ],
)
def test_what_is_not_the_file_is_refused_and_not_kept(
    hub: FakeHub, tmp_path: Path, content: bytes, problem: str
) -> None:
    where, file = place(hub)
    hub.instead[PATH] = content
    with pytest.raises(RecordError, match=re.escape(problem)) as caught:
        fetch(where, file, cache=tmp_path)
    assert caught.value.where == f"group/weights/{PATH}"
    hub.instead.clear()
    assert fetch(where, file, cache=tmp_path).read_bytes() == CONTENT


def _other_repository(hub: FakeHub, where: Weights) -> Weights:
    return where.model_copy(update={"repository": "group/lost"})


def _other_revision(hub: FakeHub, where: Weights) -> Weights:
    return where.model_copy(update={"revision": "0" * 40})


def _without_file(hub: FakeHub, where: Weights) -> Weights:
    del hub.repositories[where.repository][where.revision][PATH]
    return where


def _private(hub: FakeHub, where: Weights) -> Weights:
    hub.private.add(where.repository)
    return where


def _behind_a_login_page(hub: FakeHub, where: Weights) -> Weights:
    hub.is_login_page = True
    return where


def _unreachable(hub: FakeHub, where: Weights) -> Weights:
    hub.shutdown()
    hub.server_close()
    return where


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        (_other_repository, "no such repository on the hub, or you may not see it"),
        (_other_revision, "the repository has no such commit"),
        (_without_file, "the repository has no such file at this commit"),
        (_private, "no such repository on the hub, or you may not see it"),
        (_behind_a_login_page, "an HTML page"),
        (_unreachable, "cannot be downloaded"),
    ],
)
def test_a_download_that_fails_says_why(
    hub: FakeHub,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    change: Callable[[FakeHub, Weights], Weights],
    problem: str,
) -> None:
    where, file = place(hub)
    if change is _unreachable:
        monkeypatch.setattr("time.sleep", lambda seconds: None)  # huggingface_hub waits before it tries again
    if change is _private:
        monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    where = change(hub, where)
    with pytest.raises(DataError, match=problem) as caught:
        fetch(where, file, cache=tmp_path)
    assert file.path in str(caught.value)
    assert caught.value.remedy


@pytest.mark.filterwarnings("ignore:Use 'content=:DeprecationWarning")  # of huggingface_hub's own upload
def test_files_are_pushed_as_one_commit_and_come_back(hub: FakeHub, tmp_path: Path) -> None:
    local = tmp_path / "nrms.safetensors"
    local.write_bytes(CONTENT)
    commit = upload("group/new", {PATH: local, "README.md": b"# Weights\n"}, private=True, message="Weights of 1 cell")
    assert hub.repositories["group/new"] == {commit: {PATH: CONTENT, "README.md": b"# Weights\n"}}
    assert hub.private == {"group/new"}
    _, file = place(hub)
    where = Weights(repository="group/new", revision=commit, files=(file,))
    assert fetch(where, file, cache=tmp_path / "cache").read_bytes() == CONTENT


def test_a_push_without_a_token_is_refused(hub: FakeHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_of_somebody_else")
    with pytest.raises(DataError, match="the hub refuses it") as caught:
        upload("group/new", {"README.md": b""}, private=False, message="x")
    assert "logged in" in (caught.value.remedy or "")


@pytest.mark.parametrize("path", ["/etc/x.safetensors", "../x.safetensors", "a/model.bin", ".hidden.safetensors"])
def test_a_manifest_names_files_of_safetensors_inside_the_repository(path: str) -> None:
    with pytest.raises(ValueError, match="path"):
        WeightsFile(path=path, sha256="a" * 64, bytes=1, record="")
