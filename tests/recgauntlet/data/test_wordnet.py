"""A WordNet of a few invented synsets, in the format of wndb(5WN)."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest

from recgauntlet.core.errors import DataError
from recgauntlet.core.files import cache_root, word_nets
from recgauntlet.data import wordnet as module
from recgauntlet.data.wordnet import ARCHIVE, COUNTS, FOLDER, WordNet, database_files, read_database, wordnet

LICENCE = "  1 This software and database is being provided to you, the LICENSEE, by  \n"
FILES = {
    "data.noun": LICENCE
    + "00000001 06 n 01 vehicle 0 000 | what carries people  \n"
    + '00000002 06 n 03 car 0 auto 0 motor_car 0 002 @ 00000001 n 0000 + 00000100 v 0101 | "the car" | of four wheels\n'
    + "00000003 06 n 03 car 1 carriage 0 vehicle 1 000 | of a train  \n"
    + "00000004 06 n 02 boat 0 Titanic 0 001 @i 00000001 n 0000 | a ship  \n",
    "data.verb": LICENCE + "00000100 38 v 02 drive 0 motor 0 000 01 + 02 00 | go by car  \n",
    "data.adj": LICENCE
    + "00000200 00 a 02 warm 0 hot(p) 0 001 ! 00000201 a 0202 | of high heat  \n"
    + "00000201 00 a 02 cool 0 cold 0 001 ! 00000200 a 0202 | of low heat  \n"
    + "00000202 00 s 03 hot 1 cool 1 stylish 0 001 & 00000200 a 0000 | in fashion  \n",
    "data.adv": LICENCE,
    COUNTS: "car%1:06:00:: 1 7\ncar%1:06:01:: 2 1\nhot%5:00:01:warm:00 2 3\nhot%3:00:00:: 1 4\n"
    + "motor_car%1:06:00:: 1 9\n",
}


def raw(**changes: str) -> dict[str, bytes]:
    return {name: content.encode() for name, content in (FILES | changes).items()}


@pytest.fixture
def net() -> WordNet:
    return read_database(raw(), ARCHIVE)


def write_archive(path: Path, files: dict[str, bytes]) -> None:
    with tarfile.open(path, "w:gz") as archive:
        for name, content in {"another": b"file", **files}.items():
            member = tarfile.TarInfo(f"{FOLDER}/{name}")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def test_synonyms_share_a_synset_of_the_same_part_of_speech(net: WordNet) -> None:
    assert net.synonyms("drive", "verb") == ("motor",)
    assert net.synonyms("drive", "noun") == ()
    assert net.synonyms("warm", "adj") == ("hot",), "a satellite is an adjective, and its mark no part of it"
    assert net.synonyms("nothing", "noun") == ()


def test_hypernyms_hyponyms_and_antonyms_are_no_synonyms_in_any_sense(net: WordNet) -> None:
    assert net.synonyms("car", "noun") == ("auto", "carriage"), "a vehicle is what a car is a kind of"
    assert net.synonyms("vehicle", "noun") == ("carriage",)
    assert net.synonyms("hot", "adj") == ("stylish", "warm"), "cool is the opposite of hot in another sense"
    assert net.synonyms("cool", "adj") == ("cold", "stylish")


def test_names_and_lemmas_of_several_words_are_left_out(net: WordNet) -> None:
    assert not {"Titanic", "titanic", "motor_car", "motor"} & set(
        net.synonyms("boat", "noun") + net.synonyms("car", "noun")
    )
    assert "boat" in net.words


def test_uses_add_up_over_the_senses_of_a_part_of_speech(net: WordNet) -> None:
    assert net.uses("car", "noun") == 8
    assert net.uses("hot", "adj") == 7
    assert net.uses("car", "verb") == net.uses("motor_car", "noun") == 0


def test_the_archive_is_read_once_and_kept_as_plain_arrays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    downloads = tmp_path / "downloads"
    downloads.mkdir()
    write_archive(downloads / ARCHIVE, raw())
    with pytest.raises(DataError, match="SHA-256"):
        wordnet(tmp_path, offline=True)
    monkeypatch.setattr("recgauntlet.data.download.checked", lambda path, file: path)
    first = wordnet(tmp_path, offline=True)
    (downloads / ARCHIVE).unlink()
    module._load.cache_clear()
    again = wordnet(tmp_path, offline=True)
    assert again is not first
    assert again.words == first.words
    assert again.synonyms("car", "noun") == ("auto", "carriage")
    assert np.array_equal(again.counts, first.counts)
    (kept,) = word_nets(tmp_path).iterdir()
    kept.write_bytes(kept.read_bytes()[:200])
    module._load.cache_clear()
    with pytest.raises(DataError, match="damaged"):
        wordnet(tmp_path, offline=True)


def test_without_a_connection_the_archive_is_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="--offline") as caught:
        wordnet(tmp_path, offline=True)
    assert ARCHIVE in caught.value.remedy


def test_an_archive_is_opened_within_limits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ARCHIVE
    write_archive(path, raw())
    assert database_files(path) == raw()
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(DataError, match="truncated or no archive"):
        database_files(path)
    write_archive(path, {name: content for name, content in raw().items() if name != "data.adv"})
    with pytest.raises(DataError, match=r"has no .*data\.adv"):
        database_files(path)
    path.write_bytes(whole)
    for limit, most in (("LARGEST", 200), ("LARGEST_ARCHIVE", 600)):
        with monkeypatch.context() as patch:
            patch.setattr(module, limit, most)
            with pytest.raises(DataError, match="larger unpacked than it may be"):
                database_files(path)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("data.verb", "00000100 38 v 02 drive 0\n"),
        ("data.noun", "00000001 06 n xx vehicle 0 000 | glass  \n"),
        ("data.adj", "00000200 00 a 01 warm 0 001 ! 00000201 q 0000 | of heat\n"),
        (COUNTS, "car%9:06:00:: 1 7\n"),
        (COUNTS, "car%1:06:00:: 1\n"),
    ],
)
def test_a_line_of_another_form_is_named(name: str, line: str) -> None:
    with pytest.raises(DataError, match="WordNet's format") as caught:
        read_database(raw(**{name: LICENCE + line}), ARCHIVE)
    assert caught.value.where == f"{ARCHIVE}!{name}"
    assert caught.value.field == "line 2"


def test_wordnet_itself_has_the_published_size() -> None:
    """117,659 synsets (WordNet's own statistics, wnstats(7WN)), where the cache has it."""
    if not any(word_nets(cache_root()).glob("wordnet-3.0-*.npz")):
        pytest.skip('WordNet is not in the cache; data fetch of a card with synonyms = "wordnet" puts it there')
    real = wordnet(offline=True)
    assert np.bincount(real.parts).tolist() == [82115, 13767, 18156, 3621]
    assert {"auto", "automobile"} <= set(real.synonyms("car", "noun"))
