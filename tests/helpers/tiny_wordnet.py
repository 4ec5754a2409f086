"""A WordNet of a few synsets, some of them invented, and a fixture that finds synonyms in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from recgauntlet.data import synonyms
from recgauntlet.data.wordnet import COUNTS, WordNet, read_database
from recgauntlet.threats import lexicon

_FILES = {
    "data.noun": """\
00000001 06 n 03 boat 0 ship 0 vessel 0 000 | a thing that swims
00000002 06 n 02 car 0 auto 0 000 | a thing that drives
00000003 06 n 02 plant 0 factory 0 000 | where things are made
00000004 06 n 02 board 0 plank 0 000 | of wood
00000005 13 n 02 dinner 0 lunch 0 000 | a meal
00000006 18 n 02 queen 0 king 0 001 ! 00000007 n 0101 | a ruler
00000007 18 n 01 king 1 000 | the opposite of a queen
""",
    "data.verb": """\
00000100 40 v 02 buy 0 purchase 0 000 | for money
00000101 35 v 02 plant 0 implant 0 000 | into the ground
00000102 38 v 02 board 0 enter 0 000 | a ship
00000104 35 v 02 put 0 place 0 000 | somewhere
00000103 33 v 02 win 0 triumph 0 000 | in the end
""",
    "data.adj": "00000200 00 a 02 large 0 big 0 000 | of size\n",
    "data.adv": "",
    COUNTS: "plant%1:06:00:: 1 9\nplant%2:35:00:: 1 2\nboat%1:06:00:: 1 5\n",
}


def tiny_wordnet() -> WordNet:
    return read_database({name: content.encode() for name, content in _FILES.items()}, "tiny")


@pytest.fixture
def tiny_synonyms(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Synonyms come from the small net, inflected by LemmInflect, which is optional."""
    pytest.importorskip("lemminflect")
    net = tiny_wordnet()
    monkeypatch.setattr(synonyms, "wordnet", lambda *_, **__: net)
    caches = (synonyms.synonyms, lexicon._synonyms)
    for cached in caches:
        cached.cache_clear()
    yield
    for cached in caches:
        cached.cache_clear()
