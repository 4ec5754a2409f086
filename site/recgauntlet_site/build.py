"""From directories of results to files on disk: read, render and write what changed, remove what is gone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from recgauntlet.core.errors import OutputError
from recgauntlet.core.escape import terminal
from recgauntlet.core.files import write_atomically
from recgauntlet.leaderboard.address import slug
from recgauntlet.leaderboard.crew import Crew
from recgauntlet.leaderboard.garbage import without_collections
from recgauntlet.leaderboard.kept import Kept
from recgauntlet.leaderboard.workshop import Workshop
from recgauntlet.records.io import Results
from recgauntlet_site.links import Release

LISTING = "files.txt"
"""The file that lists all others, so that a later build knows what it may remove."""
_Read = tuple[str, Path, Results]
"""A directory's name, its path, and what was read there."""


@dataclass(frozen=True)
class Built:
    """How many records the site shows, what to tell whoever made it, and all that it was made of."""

    records: int
    warnings: tuple[str, ...]
    made_of: tuple[object, ...]


def build(
    directories: Sequence[Path], others: Sequence[Path], out: Path, *, docs: str, kept: Kept | None, crew: Crew
) -> Built:
    """Render `directories` as one board to `out`, and each of `others` below it, all linked with each other, with a
    `crew` for what takes long. What is `kept` of records and rows is not worked out again.

    Raises
    ------
    OutputError
        Where a file cannot be written.
    """
    with without_collections(), nullcontext() if kept is None else kept:
        workshop = Workshop(crew, kept, meanwhile=_prepare)
        main = [(path.resolve().name, path, workshop.read(path)) for path in directories]
        more = [(path.resolve().name, path, workshop.read(path)) for path in others]
        _write(_rendered(main, more, docs, workshop, crew), out)
    results = [results for _, _, results in [*main, *more]]
    return Built(sum(len(found.records) for found in results), tuple(_warnings(results)), (workshop, *results))


def _prepare() -> None:
    """Import what renders, while others read records."""
    import recgauntlet_site.render  # noqa: F401


def _rendered(
    main: Sequence[_Read], more: Sequence[_Read], docs: str, workshop: Workshop, crew: Crew
) -> Iterator[tuple[str, bytes]]:
    """The files of all boards, as they are made."""
    from recgauntlet_site.render import render_site

    names = ["+".join(name for name, _, _ in main), *(name for name, _, _ in more)]
    places = [PurePosixPath(), *_places(names[1:])]
    for number, (place, found) in enumerate(zip(places, [main, *([one] for one in more)], strict=True)):
        back = "../" * len(place.parts)
        links = [
            Release(name, f"{back}{other / 'index.html'}", current=number == n)
            for n, (name, other) in enumerate(zip(names, places, strict=True))
        ]
        where = docs if "://" in docs or docs.startswith("/") else f"{back}{docs}"
        for name, content in render_site(found, docs=where, releases=links, tabulate=workshop.tables, work=crew.map):
            yield str(place / name), content


def _places(names: Sequence[str]) -> Iterator[PurePosixPath]:
    """A directory for each of the other boards."""
    for number, name in enumerate(names):
        own = slug(name)
        taken = own in map(slug, names[:number])
        yield PurePosixPath("releases") / (f"{own}-{number + 1}" if taken else own)


def _write(files: Iterable[tuple[str, bytes]], out: Path) -> None:
    """Write the files that differ from what is there, as they come; remove those of a former build that are no longer
    made. If that is interrupted, all that this build or a former one made is listed, for a later one."""
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
        write_atomically(path, content, lasting=False)  # a later build finds what differs


def _lines(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\n" for name in sorted(names)).encode()


def _warnings(found: Sequence[Results]) -> Iterator[str]:
    for results in found:
        for path, error in results.broken:
            yield terminal(f"{path} is left out: {error.problem}")
    if not any(results.records for results in found):
        yield "there are no records yet, so the pages have no tables"
