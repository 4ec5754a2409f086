"""From directories of records to the files of a site: read, render, write what changed, remove what is obsolete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from recgauntlet.core.errors import OutputError
from recgauntlet.core.escape import terminal
from recgauntlet.core.files import write_atomically
from recgauntlet.leaderboard.address import slug
from recgauntlet.records.io import Results, read_records
from recgauntlet_site.render import ReleaseLink, render_site

LISTING = "files.txt"
"""The file that lists all others, so that a later build knows what it may remove."""
_Read = tuple[str, Path, Results]
"""A directory's name, its path, and what was read there."""


@dataclass(frozen=True)
class Built:
    """The number of records that the site shows, and the warnings to print."""

    records: int
    warnings: tuple[str, ...]


def build(directories: Sequence[Path], others: Sequence[Path], out: Path, *, docs: str) -> Built:
    """Render the records of `directories` as one leaderboard to `out`, and each of `others` below `out/releases`.

    The leaderboards link to each other. `docs` is the address of the documentation.

    Raises
    ------
    OutputError
        Where a file cannot be written.
    """
    main, *more = [[_read(path) for path in directories], *([_read(path)] for path in others)]
    _write(_rendered(main, more, docs), out)
    results = [found for board in (main, *more) for _, _, found in board]
    return Built(sum(map(len, results)), tuple(_warnings(results)))


def _read(directory: Path) -> _Read:
    return directory.resolve().name, directory, read_records(directory)


def _rendered(main: Sequence[_Read], more: Sequence[Sequence[_Read]], docs: str) -> Iterator[tuple[str, bytes]]:
    """The files of all leaderboards, as they are rendered."""
    names = ["+".join(name for name, _, _ in board) for board in (main, *more)]
    folders = [PurePosixPath(), *_folders(names[1:])]
    for number, (folder, board) in enumerate(zip(folders, (main, *more), strict=True)):
        back = "../" * len(folder.parts)
        links = [
            ReleaseLink(name, f"{back}{other / 'index.html'}", current=number == n)
            for n, (name, other) in enumerate(zip(names, folders, strict=True))
        ]
        address = docs if "://" in docs or docs.startswith("/") else f"{back}{docs}"
        for name, content in render_site(board, docs=address, releases=links):
            yield str(folder / name), content


def _folders(names: Sequence[str]) -> Iterator[PurePosixPath]:
    """A directory for each of the other leaderboards; equal names are numbered."""
    for number, name in enumerate(names):
        own = slug(name)
        taken = own in map(slug, names[:number])
        yield PurePosixPath("releases") / (f"{own}-{number + 1}" if taken else own)


def _write(files: Iterable[tuple[str, bytes]], out: Path) -> None:
    """Write the files that differ from those in `out`, and remove those of an earlier build that are obsolete.

    If it is interrupted, the listing names the files of both builds, so that the next build can still remove them.
    """
    listing = out / LISTING
    former = set(listing.read_text(encoding="utf-8").splitlines()) if listing.is_file() else set[str]()
    made: set[str] = set()
    try:
        for name, content in files:
            made.add(name)
            _put(out / name, content)
    except BaseException:
        with suppress(OutputError):
            _put(listing, _lines(former | made))
        raise
    for name in former - made:
        path = out / name
        if path.is_file() and path.resolve().is_relative_to(out.resolve()):
            path.unlink()
    _put(listing, _lines(made))


def _put(path: Path, content: bytes) -> None:
    if not path.is_file() or path.read_bytes() != content:
        write_atomically(path, content, lasting=False)  # not synced to disk: the next build repairs what differs


def _lines(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in sorted(names)).encode()


def _warnings(found: Sequence[Results]) -> Iterator[str]:
    for results in found:
        for path, error in results.broken:
            yield terminal(f"{path} is left out: {error.problem}")
    if not any(map(len, found)):
        yield "there are no records yet, so the pages have no tables"
