"""Weights on a Hugging Face hub: downloaded by commit and checked, or uploaded as one commit.

huggingface_hub does the transfers. It has its own places for tokens (`hf auth login`, HF_TOKEN), for the hub's address
(HF_ENDPOINT) and for work without a connection (HF_HUB_OFFLINE); nothing of that is read here.
"""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterator, Mapping
from pathlib import Path

from recgauntlet.core.errors import DataError, RecordError
from recgauntlet.core.files import cache_root
from recgauntlet.core.files import weights as weights_directory
from recgauntlet.records.manifest import Weights, WeightsFile

_POINTER = b"version https://git-lfs.github.com/spec/"
_CHUNK = 1 << 20
_HEADER_LENGTH = 8
"""Bytes of a safetensors file before its header, a JSON object."""


def fetch(place: Weights, file: WeightsFile, *, cache: Path | None = None, offline: bool = False) -> Path:
    """The file of weights in the cache, downloaded where it is not there, with the checksum of the manifest.

    Raises
    ------
    DataError
        Where it cannot be downloaded, or is not in the cache and `offline`.
    RecordError
        Where something else came: a web page, a pointer of Git LFS, or other weights. It does not stay in the cache.
    """
    from huggingface_hub import HfApi, constants, try_to_load_from_cache

    name = f"{place.repository}/{file.path}"
    directory = weights_directory(cache or cache_root())
    kept = try_to_load_from_cache(place.repository, file.path, directory, place.revision)  # a commit never changes
    if not isinstance(kept, str) and (offline or constants.is_offline_mode()):
        raise DataError(
            "is not in the cache, and no connection may be opened",
            where=name,
            remedy="fetch it once with a connection: recgauntlet weights pull",
        )
    if not isinstance(kept, str):
        with _explained(name):
            kept = HfApi().hf_hub_download(place.repository, file.path, revision=place.revision, cache_dir=directory)
    path = Path(kept)
    try:
        check_content(path, file.sha256, name)
    except RecordError:
        for stale in (path.resolve(), path):  # the content, and the name of it in the cache
            stale.unlink(missing_ok=True)
        raise
    return path


def check_content(path: Path, sha256: str, name: str) -> None:
    """RecordError where the file, shown as `name`, is no safetensors file with this checksum."""
    problem = wrong_content(path)
    if problem:
        raise RecordError(
            f"is {problem} instead of weights",
            where=name,
            remedy="publish the file itself (recgauntlet weights push), or check the proxy between here and the hub",
        )
    found = sha256_of(path)
    if found != sha256:
        raise RecordError(
            f"has the SHA-256 {found[:12]}, the manifest says {sha256[:12]}",
            where=name,
            field="sha256",
            remedy="fetch it again; if it stays so, the repository does not hold the weights of this release",
        )


def wrong_content(path: Path) -> str:
    """What the file is where it is no safetensors file; empty where it begins like one."""
    with path.open("rb") as file:
        head = file.read(256)
    if head.startswith(_POINTER):
        return "a pointer of Git LFS"
    if head.lstrip()[:1] == b"<":
        return "an HTML page"
    if len(head) <= _HEADER_LENGTH or head[_HEADER_LENGTH : _HEADER_LENGTH + 1] != b"{":
        return "no safetensors file"
    return ""


def sha256_of(path: Path) -> str:
    """The SHA-256 of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


def upload(repository: str, files: Mapping[str, Path | bytes], *, private: bool, message: str) -> str:
    """Upload files by their paths in the repository, which is made where it is not there, as one commit; its hash.

    Raises
    ------
    DataError
        Where the hub refuses or cannot be reached.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api = HfApi()
    with _explained(repository):
        api.create_repo(repository, private=private, exist_ok=True)
        operations = [CommitOperationAdd(path_in_repo=path, path_or_fileobj=file) for path, file in files.items()]
        return str(api.create_commit(repository, operations, commit_message=message).oid)


@contextlib.contextmanager
def _explained(name: str) -> Iterator[None]:
    """What huggingface_hub raises, as a DataError that names what was wanted and what to do."""
    from huggingface_hub import errors

    def error(problem: str, remedy: str) -> DataError:
        return DataError(problem, where=name, remedy=remedy)

    try:
        yield
    except errors.GatedRepoError as cause:
        raise error("needs the consent of its owner", "ask for access on the hub's page, and log in there") from cause
    except errors.RepositoryNotFoundError as cause:
        remedy = "check the name; for a private repository log in first (hf auth login, or HF_TOKEN)"
        raise error("there is no such repository on the hub, or you may not see it", remedy) from cause
    except errors.RevisionNotFoundError as cause:
        raise error("the repository has no such commit", "check the revision in the release's manifest") from cause
    except errors.RemoteEntryNotFoundError as cause:
        raise error("the repository has no such file at this commit", "check the release's manifest") from cause
    except errors.LocalEntryNotFoundError as cause:  # nothing came, and nothing is in the cache
        if isinstance(cause.__cause__, errors.FileMetadataError):
            problem = "the answer is not that of a hub (perhaps an HTML page of a proxy, or a login page)"
            raise error(problem, _REACH) from cause
        raise error(f"cannot be downloaded ({_short(cause.__cause__ or cause)})", _REACH) from cause
    except (errors.HfHubHTTPError, OSError, ValueError, RuntimeError) as cause:  # an upload that fails: RuntimeError
        raise error(f"the hub refuses it or cannot be reached ({_short(cause)})", _REACH) from cause


_REACH = "check the connection, HF_ENDPOINT and your proxy, and that you are logged in where that is needed"


def _short(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
