"""The task news-click: 9,088 impressions of MIND; its demo is simulated in MIND's own format."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from recgauntlet.core.card import TaskCard, Track, load_card
from recgauntlet.core.dataset import Tables
from recgauntlet.core.files import downloads, write_atomically
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.download import download
from recgauntlet.data.sources import Mirror, MirrorError, RawFile, files_in, find_in, first_of, members, named_directory
from recgauntlet_tasks import mind, news_simulator

ARCHIVES = (
    "https://recodatasets.z20.web.core.windows.net/newsrec/MINDsmall_train.zip",
    # Since July 2024 this one answers that public access is not permitted.
    "https://mind201910small.blob.core.windows.net/release/MINDsmall_train.zip",
)
LICENCE = "https://go.microsoft.com/fwlink/?LinkID=206977"
ROLES = {"behaviors": mind.BEHAVIORS, "news": mind.NEWS}
SIMULATED = "news-click-simulated"


def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
    """The tables of a track. The demo writes its invented week under the cache and reads it like MIND.

    Raises
    ------
    DataError
        Where no mirror has the files, a file is damaged, or it lacks impressions of the task.
    """
    if track == "demo":
        return mind.read(_simulated(card, options), None)
    return mind.read(_read(options), selection())


def selection() -> mind.Selection:
    """The impressions of MINDsmall_train that the standard track is made of; a star marks those that are cut to listed
    articles, because their source numbers articles in another way, and not all could be identified."""
    impressions, articles = (
        (files("recgauntlet_tasks") / f"news_click_{name}.txt").read_text(encoding="ascii").split()
        for name in ("impressions", "articles")
    )
    cut = frozenset(name[:-1] for name in impressions if name.endswith("*"))
    whole = frozenset(name for name in impressions if not name.endswith("*"))
    return mind.Selection(whole, cut, frozenset(f"N{number}" for number in articles))


def _read(options: SourceOptions) -> dict[str, RawFile]:
    return first_of(
        (
            Mirror("a directory of yours", lambda: _from_directory(options.directory)),
            Mirror("Microsoft's archive", lambda: _official(options)),
        ),
        "MIND (MINDsmall_train)",
    )


def _from_directory(named: Path | None) -> dict[str, RawFile]:
    directory = named_directory(named)
    archive = find_in(directory, ["MINDsmall_train.zip"])
    try:
        return files_in(directory, ROLES)
    except MirrorError:
        if archive is None:
            raise
    return members(archive, ROLES)


def _official(options: SourceOptions) -> dict[str, RawFile]:
    kept = downloads(options.cache)
    if not options.accept_licence:
        raise MirrorError(
            "its licence must be accepted first: read the Microsoft Research License Terms "
            f"({LICENCE}; research use, no redistribution) and say --accept-licence"
        )
    reasons: dict[str, None] = {}
    for url in ARCHIVES:
        try:
            return members(download(url, kept, offline=options.offline), ROLES)
        except MirrorError as reason:
            reasons[str(reason)] = None
    raise MirrorError("; ".join(reasons))


def _simulated(card: TaskCard, options: SourceOptions) -> dict[str, RawFile]:
    rules = card.track("demo").cleaning
    names = ("articles", "readers", "impressions", "shown", "seed")
    directory = downloads(options.cache) / SIMULATED
    made = news_simulator.simulate(news_simulator.Size(*(int(str(rules[name])) for name in names)))
    for name, content in made.items():
        write_atomically(directory / name, content)
    return files_in(directory, ROLES)


task = Task(load_card(Path(__file__).with_name("news_click.toml")), load)
