"""Synonyms in the form of the word that they replace, on a WordNet of a few invented synsets."""

from __future__ import annotations

import importlib
from pathlib import Path

import pytest
from tiny_wordnet import tiny_wordnet

from recgauntlet.core.errors import DataError
from recgauntlet.data import synonyms as module
from recgauntlet.data.synonyms import Reading, make_ready, readings, synonyms


@pytest.fixture(autouse=True)
def _tiny(tiny_synonyms: None) -> None:
    """Synonyms of `tiny_wordnet`."""


def test_synonyms_have_the_form_of_the_word() -> None:
    assert synonyms("boat") == ("ship", "vessel")
    assert synonyms("boats") == ("ships", "vessels")
    assert synonyms("bought") == ("purchased",)
    assert synonyms("buying") == ("purchasing",)
    assert synonyms("larger") == ("bigger",)
    assert synonyms("buy") == ("purchase",)
    assert synonyms("put") == ("place",), "not placed: the base form"
    assert synonyms("zorblat") == synonyms("") == ()


def test_a_word_counts_as_what_the_tagged_texts_use_it_as_most() -> None:
    """`plant` stands 9 times as a noun and 2 times as a verb; `board` nowhere, so that both count."""
    assert Reading("plant", "verb", "VBZ") in readings("plants")
    assert synonyms("plants") == ("factories",)
    assert synonyms("planted") == ("implanted",)
    assert synonyms("board") == ("enter", "plank")


def test_without_lemminflect_the_remedy_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(importlib, "import_module", missing)
    with pytest.raises(DataError, match="LemmInflect") as caught:
        make_ready(tmp_path, offline=True)
    assert "recgauntlet[synonyms]" in caught.value.remedy


def test_what_is_made_ready_is_wordnet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[Path | None, bool]] = []
    monkeypatch.setattr(module, "wordnet", lambda cache, offline: asked.append((cache, offline)) or tiny_wordnet())
    make_ready(tmp_path, offline=True)
    assert asked == [(tmp_path, True)]
