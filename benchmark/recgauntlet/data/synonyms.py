"""Synonyms of English words: WordNet's, inflected by LemmInflect's dictionary (Jascob 2022, an optional dependency)."""

from __future__ import annotations

import importlib
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from recgauntlet.core.errors import DataError
from recgauntlet.data.wordnet import PartOfSpeech, wordnet

_UNIVERSAL: dict[PartOfSpeech, str] = {"noun": "NOUN", "verb": "VERB", "adj": "ADJ", "adv": "ADV"}
_BASE = {"NN", "VB", "JJ", "RB"}


class Reading(NamedTuple):
    """What a word may be a form of: a lemma, its part of speech, and the tag of the form (Penn Treebank)."""

    lemma: str
    part: PartOfSpeech
    tag: str


def make_ready(cache: Path | None = None, *, offline: bool = False) -> None:
    """Put what synonyms are found with into the cache.

    Raises
    ------
    DataError
        Where WordNet cannot be fetched, or LemmInflect is not installed.
    OutputError
        Where the cache cannot be written.
    """
    _inflector()
    wordnet(cache, offline=offline)


@lru_cache(maxsize=2**15)
def synonyms(word: str) -> tuple[str, ...]:
    """The words that WordNet has as synonyms of `word`, a core in lower case, in the same form; sorted.

    A word may be a form of several lemmas and parts of speech ("plants"). Those count that WordNet's tagged texts use
    most, and all of them where it uses none. Empty for a word that the dictionary of inflections does not have.
    """
    net, found = wordnet(), readings(word)
    most = max((net.uses(lemma, part) for lemma, part, _ in found), default=0)
    forms = {
        form
        for lemma, part, tag in found
        if net.uses(lemma, part) == most
        for other in net.synonyms(lemma, part)
        for form in _inflector().getAllInflections(other, _UNIVERSAL[part]).get(tag, ())[:1]  # the usual spelling
        if form.isascii() and form.isalpha()
    }
    return tuple(sorted(forms - {word}))


def readings(word: str) -> tuple[Reading, ...]:
    """All readings of `word`, in lower case; a word that is its own lemma counts as the base form alone (`put` as the
    present tense, `sheep` as the singular). Words that are not in the dictionary have none: LemmInflect would guess
    their forms with a neural network, which it keeps as a pickle."""
    inflector = _inflector()
    return tuple(
        Reading(lemma, part, tag)
        for part, universal in _UNIVERSAL.items()
        for lemma in inflector.getAllLemmas(word, universal).get(universal, ())
        for tag, forms in inflector.getAllInflections(lemma, universal).items()
        if word in forms and (tag in _BASE or word != lemma)
    )


def _inflector() -> Any:
    try:
        return importlib.import_module("lemminflect")
    except ModuleNotFoundError as error:
        raise DataError(
            'a threat with synonyms = "wordnet" inflects words with LemmInflect, which is not installed',
            where="lemminflect",
            remedy="install it: python -m pip install 'recgauntlet[synonyms]'",
        ) from error
