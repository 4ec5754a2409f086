"""Downloads of archives: resumed where they broke off, checked by hash, with a progress bar."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import IO, Any

import pooch
import requests
from tqdm import tqdm

from recgauntlet.core.errors import OutputError
from recgauntlet.data.sources import MirrorError

CHUNK = 1 << 16
TIMEOUT = (10, 60)
"""Seconds to connect, and between two pieces of an answer."""


def download(url: str, directory: Path, *, sha256: str | None = None, offline: bool = False) -> Path:
    """The file behind `url` in `directory`, downloaded if it is not there yet.

    A download that broke off goes on where it stopped (the `.part` file beside it), if the server says that the
    file is still the same. `sha256` None means that the official hash is not known to the benchmark; then the
    fingerprint of the tables is the check.

    Raises
    ------
    MirrorError
        Where the address cannot be reached, answers with an error, or gives a file of another hash.
    OutputError
        Where `directory` cannot be written.
    """
    target = directory / url.rsplit("/", 1)[-1].replace("+", "-")
    known = f"sha256:{sha256}" if sha256 else None
    if offline and not target.is_file():
        raise MirrorError("not downloaded yet, and --offline forbids it")
    log = pooch.get_logger()
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        directory.mkdir(parents=True, exist_ok=True)
        # Any: pooch's own type of a downloader asks for more than pooch calls.
        resuming: Any = Resuming(target.with_name(target.name + ".part"))
        return Path(pooch.retrieve(url, known, fname=target.name, path=directory, downloader=resuming))
    except requests.RequestException as error:
        raise MirrorError(f"{url} cannot be fetched ({_reason(error)})") from error
    except ValueError as error:  # how pooch reports a hash that does not match
        raise MirrorError(f"{url} gave a file of another hash than the card's, which was not kept") from error
    except OSError as error:
        raise OutputError(
            f"cannot be written ({error.strerror})",
            where=directory,
            remedy="free some disk space, or set RECGAUNTLET_CACHE to a directory you may write to",
        ) from error
    finally:
        log.setLevel(level)


class Resuming:
    """A downloader for pooch that keeps what it has in `part`, and asks for the rest the next time."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self.tag = part.with_name(part.name + ".tag")

    def __call__(self, url: str, output: str | IO[bytes], pooch: Any) -> None:
        """Download `url` and move it to `output` when complete."""
        have = self.part.stat().st_size if self.part.is_file() and self.tag.is_file() else 0
        # The tag names the version of the file that the part belongs to: another version starts from the beginning.
        headers = {"Range": f"bytes={have}-", "If-Range": self.tag.read_text()} if have else {}
        with requests.get(
            url, stream=True, timeout=TIMEOUT, headers={**headers, "Accept-Encoding": "identity"}
        ) as answer:
            answer.raise_for_status()
            if answer.status_code != requests.codes.partial_content:
                have = 0
            self._remember(answer)
            size = answer.headers.get("Content-Length")
            total = have + int(size) if size else None
            with self.part.open("ab" if have else "wb") as file, self._bar(url, have, total) as bar:
                for chunk in answer.iter_content(CHUNK):
                    file.write(chunk)
                    bar.update(len(chunk))
        if total is not None and self.part.stat().st_size != total:
            raise requests.ConnectionError("the connection broke off; the next try goes on from there")
        self.part.replace(str(output))
        self.tag.unlink(missing_ok=True)

    def _remember(self, answer: requests.Response) -> None:
        tag = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
        if tag and not tag.startswith("W/"):
            self.tag.write_text(tag)
        else:
            self.tag.unlink(missing_ok=True)

    @staticmethod
    def _bar(url: str, have: int, total: int | None) -> Any:
        return tqdm(
            desc=url.rsplit("/", 1)[-1],
            initial=have,
            total=total,
            unit="B",
            unit_scale=True,
            disable=None,
            leave=False,
        )


def _reason(error: requests.RequestException) -> str:
    if isinstance(error, requests.HTTPError) and error.response is not None:
        return f"HTTP status {error.response.status_code}"
    if isinstance(error, requests.Timeout):
        return "it did not answer in time"
    text = str(error)
    return text if len(text) < 120 and "object at" not in text else type(error).__name__
