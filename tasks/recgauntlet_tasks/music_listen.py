"""The task music-listen: artists that listeners of Last.fm tagged; its demo is simulated."""

from __future__ import annotations

from pathlib import Path

from recgauntlet.core.card import TaskCard, Track, load_card
from recgauntlet.core.dataset import Tables
from recgauntlet.core.files import downloads
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.download import download
from recgauntlet.data.sources import Mirror, MirrorError, RawFile, files_in, first_of, named_directory, read_raw
from recgauntlet_tasks import lastfm, music_simulator

ADDRESS = "https://raw.githubusercontent.com/ChickenTheSlayer/DeepRec/4a8562582e79c1fb493d54d4ee29da62a03bdd13/data/ref/lastfm"
ENCODED = {"plays": "plays.parquet", "artists": "artists.parquet"}
PUBLISHED = {"sequences": "train_data.df", "names": "id2name.txt"}
SHA256 = {
    "train_data.df": "7db71a60d3da4c449091fbc254efc9602f81eec6eb9a60534811ccd61974dbc1",
    "id2name.txt": "b2fb5e6ea624c1d162b80ff2fb09df71c131c9b19549981eeaa4535c89cdb5bb",
}


def load(card: TaskCard, track: Track, options: SourceOptions) -> Tables:
    """The tables of a track; the demo is simulated from the numbers on the card.

    Raises
    ------
    DataError
        Where no mirror has the files, or a file is damaged or foreign.
    """
    if track == "demo":
        rules = card.track(track).cleaning
        names = ("artists", "listeners", "shortest", "longest", "seed")
        return music_simulator.simulate(music_simulator.Size(*(int(str(rules[name])) for name in names)))
    raw = first_of(
        (
            Mirror("a directory of yours", lambda: _from_directory(options.directory)),
            Mirror("the published sequences", lambda: _download(options)),
        ),
        "Last.fm's sequences",
    )
    if "plays" in raw:
        return lastfm.encoded(raw["plays"], raw["artists"])
    return lastfm.published(raw["sequences"], raw["names"])


def _from_directory(named: Path | None) -> dict[str, RawFile]:
    directory = named_directory(named)
    for roles in (ENCODED, PUBLISHED):
        try:
            return files_in(directory, roles)
        except MirrorError:
            continue  # the other form may be there
    pairs = " nor ".join(" and ".join(roles.values()) for roles in (ENCODED, PUBLISHED))
    raise MirrorError(f"{directory} has neither {pairs}")


def _download(options: SourceOptions) -> dict[str, RawFile]:
    kept = downloads(options.cache) / "lastfm"
    return {
        role: read_raw(download(f"{ADDRESS}/{name}", kept, sha256=SHA256[name], offline=options.offline))
        for role, name in PUBLISHED.items()
    }


task = Task(load_card(Path(__file__).with_name("music_listen.toml")), load)
