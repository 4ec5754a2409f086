"""The artists here are invented; no row of Last.fm's is."""

from __future__ import annotations

import hashlib
import pickle
import threading
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recgauntlet.core.dataset import Tables
from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.fingerprint import fingerprint
from recgauntlet.data.prepare import prepare
from recgauntlet.data.validate import validate
from recgauntlet_tasks import lastfm, music_listen, music_simulator
from recgauntlet_tasks.music_listen import task

NAMES = ["Tin Rabbit", "Caf\u00e9  Brinmoor", "The Ferrymen", "Orbit", "Unter den Eichen", "\u9234\u6728"]
SEQUENCES = [[0, 1, 2, 4], [0, 2, 3, 4, 5], [1, 3, 4, 5]]


def encoded(folder: Path, sequences: list[list[int]] = SEQUENCES) -> None:
    rows = [(user, place, artist) for user, artists in enumerate(sequences) for place, artist in enumerate(artists)]
    pd.DataFrame(rows, columns=["user", "position", "artist"]).to_parquet(folder / "plays.parquet")
    pd.DataFrame({"artist": range(len(NAMES)), "name": NAMES}).to_parquet(folder / "artists.parquet")


def published(folder: Path, sequences: list[list[int]] = SEQUENCES) -> None:
    """As published: a row a place, with the ten before it, how many of them there are (at least 1), and the artist."""
    padding = len(NAMES)
    rows = [
        ([*artists[max(0, place - 10) : place], *[padding] * 10][:10], min(max(place, 1), 10), artist)
        for artists in sequences
        for place, artist in enumerate(artists)
    ]
    block = np.array([row[1:] for row in rows], dtype=np.int64)
    frame = pd.DataFrame(block, columns=["len_seq", "next"])
    frame.insert(0, "seq", [row[0] for row in rows])
    frame.columns = frame.columns.astype(object)  # pandas 3 would add the names of the columns as bytes
    frame.to_pickle(folder / "train_data.df", protocol=5)
    (folder / "id2name.txt").write_text("".join(f"{n}::{name}\n" for n, name in enumerate(NAMES)), encoding="utf-8")


def order_of(tables: Tables) -> dict[str, list[str]]:
    assert tables.interactions is not None
    out: dict[str, list[str]] = {}
    for row in sorted(tables.interactions.to_pylist(), key=lambda row: row["time"]):
        out.setdefault(row["user"], []).append(row["item"])
    return out


def test_both_forms_give_one_table(here: SourceOptions, files: Path) -> None:
    encoded(files)
    first = task.load(task.card, "standard", here)
    for path in files.iterdir():
        path.unlink()
    published(files)
    second = task.load(task.card, "standard", here)
    assert fingerprint(first) == fingerprint(second)
    assert {user: sorted(map(int, artists)) for user, artists in order_of(first).items()} == {
        str(user): artists for user, artists in enumerate(SEQUENCES)
    }
    assert (
        dict(zip(first.items["id"].to_pylist(), first.items["text"].to_pylist(), strict=True))["1"]
        == "Caf\u00e9 Brinmoor"
    )
    validate(first, "music")


def test_the_order_is_drawn_and_not_that_of_the_numbers(here: SourceOptions, files: Path) -> None:
    sequences = [list(range(6))] * 3
    encoded(files, sequences)
    found = order_of(task.load(task.card, "standard", here))
    encoded(files, [artists[::-1] for artists in sequences])
    assert order_of(task.load(task.card, "standard", here)) == found
    assert len({tuple(artists) for artists in found.values()}) == 3
    expected = sorted(range(6), key=lambda artist: hashlib.sha256(f"0/{artist}".encode()).digest())
    assert found["0"] == [str(artist) for artist in expected]


class Trap:
    """Writes a file where it is unpickled."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return Path.touch, (self.path,)  # type: ignore[return-value]


def test_the_pickled_file_is_not_unpickled(here: SourceOptions, files: Path, tmp_path: Path) -> None:
    published(files)
    (files / "train_data.df").write_bytes(pickle.dumps(Trap(tmp_path / "trapped"), protocol=5))
    with pytest.raises(DataError, match="does not hold the block"):
        task.load(task.card, "standard", here)
    assert not (tmp_path / "trapped").exists()


def test_damaged_and_foreign_files_are_named(here: SourceOptions, files: Path) -> None:
    published(files)
    sequences, names = files / "train_data.df", files / "id2name.txt"
    whole = sequences.read_bytes()
    for content, problem in (
        (whole[:-30], "is truncated or no pickled data frame"),
        (b"users,artists", "is truncated or no pickled data frame"),
        (pickle.dumps(bytearray(range(15)), protocol=5), "does not hold the block"),
        (pickle.dumps(bytearray(range(32)), protocol=5), "other numbers than lengths and artists"),
    ):
        sequences.write_bytes(content)
        with pytest.raises(DataError, match=problem) as caught:
            task.load(task.card, "standard", here)
        assert caught.value.where == str(sequences)
    sequences.write_bytes(whole)
    for text, problem in (("0:Tin Rabbit\n", "has 1 fields"), ("one::Tin Rabbit\n", "whole and not negative")):
        names.write_text(text)
        with pytest.raises(DataError, match=problem) as caught:
            task.load(task.card, "standard", here)
        assert caught.value.where == str(names)
    encoded(files)
    pd.DataFrame({"listener": [0], "artist": [0]}).to_parquet(files / "plays.parquet")
    with pytest.raises(DataError, match="lacks one of the columns user, artist") as caught:
        task.load(task.card, "standard", here)
    assert caught.value.where == str(files / "plays.parquet")
    for numbers in ([-1], [None], ["two"]):
        pd.DataFrame({"user": [0], "artist": numbers}).to_parquet(files / "plays.parquet")
        with pytest.raises(DataError, match="whole and not negative"):
            task.load(task.card, "standard", here)
    (files / "artists.parquet").write_bytes(b"PAR1")
    encoded(files, [[0, 9]])
    with pytest.raises(DataError, match="not in the table of items"):
        validate(task.load(task.card, "standard", here), "music")


def test_other_tables_than_the_cards_are_refused(here: SourceOptions, files: Path) -> None:
    encoded(files)
    with pytest.raises(DataError, match=r"interactions \(13 rows where the card has 50800\)"):
        prepare(task, "standard", here)


@pytest.fixture
def online(here: SourceOptions, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SourceOptions]:
    """A server on this machine in the place of the published files; no directory is named."""
    www = tmp_path / "www"
    www.mkdir()
    published(www)

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_: object) -> None:
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(www)))
    thread = threading.Thread(target=http.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setattr(music_listen, "ADDRESS", f"http://127.0.0.1:{http.server_address[1]}")
    sums = {name: hashlib.sha256((www / name).read_bytes()).hexdigest() for name in music_listen.SHA256}
    monkeypatch.setattr(music_listen, "SHA256", sums)
    yield replace(here, directory=None, offline=False)
    http.shutdown()
    http.server_close()
    thread.join()


def test_the_published_files_are_downloaded_once(online: SourceOptions, files: Path) -> None:
    published(files)
    found = fingerprint(task.load(task.card, "standard", online))
    assert found == fingerprint(task.load(task.card, "standard", replace(online, directory=files)))
    assert fingerprint(task.load(task.card, "standard", replace(online, offline=True))) == found


def test_a_download_of_another_hash_is_refused(online: SourceOptions, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(music_listen.SHA256, "train_data.df", "0" * 64)
    with pytest.raises(DataError, match="gave a file of another hash"):
        task.load(task.card, "standard", online)


def test_without_a_mirror_every_one_is_named(here: SourceOptions) -> None:
    with pytest.raises(DataError) as caught:
        task.load(task.card, "standard", here)
    message = str(caught.value)
    assert "has neither plays.parquet and artists.parquet nor train_data.df and id2name.txt" in message
    assert "the published sequences: not downloaded yet" in message


def test_the_simulated_track_is_the_one_on_the_card(here: SourceOptions) -> None:
    track = task.card.track("demo")
    found = fingerprint(task.load(task.card, "demo", here))
    assert found.sha256 == track.fingerprint
    assert {name: each.sha256 for name, each in found.tables.items()} == {
        name: each.sha256 for name, each in track.tables.items()
    }


def test_simulated_listeners_move_between_two_genres() -> None:
    size = music_simulator.Size(artists=80, listeners=60, shortest=8, longest=10, seed=5)
    tables = music_simulator.simulate(size)
    validate(tables, "simulated")
    sequences = order_of(tables)
    assert len(set(tables.items["text"].to_pylist())) == 80
    assert {len(artists) for artists in sequences.values()} == {8, 9, 10}
    genres = {f"a{number}": number % 8 for number in range(80)}
    first, last = (
        np.mean([genres[artists[at]] == genres[artists[0]] for artists in sequences.values()]) for at in (1, -1)
    )
    assert first > 2 * last
    popular = [int(artist[1:]) // 8 for artists in sequences.values() for artist in artists]
    assert np.mean(popular) < 4.5  # uniform would be 4.5


def test_the_demo_prepares_offline(here: SourceOptions) -> None:
    data = prepare(task, "demo", replace(here, directory=None))
    assert (len(data.train), len(data.valid), len(data.test), len(data.impressions)) == (3000, 200, 75, 75)


def test_real_data_is_never_replaced_by_the_simulated(here: SourceOptions) -> None:
    task.load(task.card, "demo", here)
    with pytest.raises(DataError, match="no mirror"):
        task.load(task.card, "standard", here)


def test_rows_of_a_listener_need_not_be_together() -> None:
    together = lastfm.tables([(0, 1), (0, 2), (1, 1), (1, 0)], enumerate(NAMES))
    mixed = lastfm.tables([(1, 1), (0, 2), (1, 0), (0, 1)], enumerate(NAMES))
    assert fingerprint(together) == fingerprint(mixed)
