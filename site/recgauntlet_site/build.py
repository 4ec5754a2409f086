"""From directories of records to the files of a site: read, render, write what changed, remove what is obsolete."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from recgauntlet.core.errors import OutputError
from recgauntlet.core.escape import terminal
from recgauntlet.core.files import write_atomically
from recgauntlet.leaderboard.address import slug
from recgauntlet.records.io import Results, read_records
from recgauntlet.runner.processes import importable, start_method
from recgauntlet_site.format import distinct
from recgauntlet_site.pages.docs import Docs
from recgauntlet_site.pages.task import Mapper
from recgauntlet_site.render import ReleaseLink, render_site

LISTING = "files.txt"
"""The file that lists all others, so that a later build knows what it may remove."""
_Board = Sequence[tuple[str, Path, Results]]
"""The directories of one leaderboard: the name, the path and the content of each."""


class Built(NamedTuple):
    """The number of records that the site shows, and the warnings to print."""

    records: int
    warnings: list[str]


def build(directories: Sequence[Path], others: Sequence[Path], out: Path, *, docs: Docs) -> Built:
    """Render the records of `directories` as one leaderboard to `out`, and each of `others` below `out/releases`.

    The leaderboards link to each other. They link to `docs`.

    Raises
    ------
    OutputError
        Where a file cannot be written.
    """
    boards = [
        [(path.resolve().name, path, read_records(path)) for path in together]
        for together in (directories, *([path] for path in others))
    ]
    context = start_method(["recgauntlet_site.figures"])
    with importable(), ProcessPoolExecutor(mp_context=context) as pool:
        try:
            _write(_rendered(boards, docs, pool.map), out)
        finally:
            pool.shutdown(cancel_futures=True)  # after an error nothing more is drawn
    results = [found for board in boards for _, _, found in board]
    broken = [terminal(f"{path} is left out: {error.problem}") for found in results for path, error in found.broken]
    empty = [] if any(map(len, results)) else ["there are no records yet, so the pages have no tables"]
    return Built(sum(map(len, results)), broken + empty)


def _rendered(boards: Sequence[_Board], docs: Docs, draw: Mapper) -> Iterator[tuple[str, bytes]]:
    """The files of all leaderboards, as they are rendered; the first one is the site's own."""
    names = ["+".join(name for name, _, _ in board) for board in boards]
    folders = [PurePosixPath(), *(PurePosixPath("releases", name) for name in distinct([*map(slug, names[1:])]))]
    for folder, board in zip(folders, boards, strict=True):
        back = "../" * len(folder.parts)
        links = [
            ReleaseLink(name, f"{back}{other / 'index.html'}", current=other is folder)
            for name, other in zip(names, folders, strict=True)
        ]
        for name, content in render_site(board, docs=docs.below(back) if back else docs, releases=links, draw=draw):
            yield str(folder / name), content


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
