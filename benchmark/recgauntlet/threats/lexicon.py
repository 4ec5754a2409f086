"""Words of a catalog: frequencies, neighbours, names and numbers.

A word is what stands between white space. Its core is the word without the punctuation around it, in lower
case; "Queen," and "QUEEN" share the core "queen". What a word may become is a neighbour, by the cosine of two words'
input vectors in the frozen encoder (MiniLM), or a synonym of WordNet; the threat's card chooses.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import cached_property, lru_cache
from itertools import islice
from typing import NamedTuple

import numpy as np

from recgauntlet.core.card import TextThreat, Tier
from recgauntlet.core.protocol import LONGEST_WORD
from recgauntlet.core.types import FloatArray
from recgauntlet.data.encoder import sentence_vectors, word_table
from recgauntlet.threats.nearest_texts import NearestTexts

NEAR = 0.6
"""The least cosine of two neighbours."""
_MOST_NEIGHBOURS = 15
_MOST_POPULAR = 300
_MOST_WORDS = 2000
_LEAST_LETTERS = 3
"""A slip changes at most a third of a word, or it is no longer that word for a reader."""
_BLOCK = 512


def words_of(text: str) -> list[str]:
    """The words of a text: what stands between white space."""
    return text.split()


@lru_cache(maxsize=2**16)
def parts_of(word: str) -> tuple[str, str, str]:
    """A word cut into the punctuation before, the middle, and the punctuation after; a word without a letter
    or a digit is all middle."""
    first = next((i for i, c in enumerate(word) if c.isalnum()), None)
    if first is None:
        return "", word, ""
    last = len(word) - next(i for i, c in enumerate(reversed(word)) if c.isalnum())
    return word[:first], word[first:last], word[last:]


@lru_cache(maxsize=2**16)
def core_of(word: str) -> str:
    """The word without the punctuation around it, in lower case."""
    return parts_of(word)[1].lower()


def cores_of(text: str) -> frozenset[str]:
    """The cores of the words of a text."""
    return frozenset(map(core_of, words_of(text)))


@lru_cache(maxsize=2**16)
def is_number(word: str) -> bool:
    """Whether a digit stands in the word ("12", "2nd", "500ML")."""
    return any(c.isdigit() for c in word)


def is_capitalised(word: str) -> bool:
    """Whether an upper-case letter stands in the word ("Paris", "iPhone", "U.S.")."""
    return any(c.isupper() for c in word)


class _WordSpace(NamedTuple):
    """The encoder's whole words (not pieces inside a word, letters only) and their unit vectors `[V, 384]`."""

    words: tuple[str, ...]
    numbers: dict[str, int]
    vectors: FloatArray


@lru_cache(maxsize=1)
def _word_space() -> _WordSpace:
    pieces, table = word_table()
    rows = [i for i, piece in enumerate(pieces) if len(piece) > 1 and piece.isascii() and piece.isalpha()]
    words = tuple(pieces[i] for i in rows)
    vectors = table[rows]
    vectors = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    return _WordSpace(words, {word: i for i, word in enumerate(words)}, vectors)


class Lexicon:
    """The words of `texts`, in memory; neighbours are computed when first asked for and kept.

    Attributes
    ----------
    counts
        For each core, the number of texts it stands in.
    """

    def __init__(self, texts: Sequence[str]) -> None:
        self.counts: Counter[str] = Counter()
        self._forms: Counter[str] = Counter()
        lower: set[str] = set()
        tokens: set[str] = set()
        for text in texts:
            words = words_of(text)
            tokens.update(words)
            self.counts.update(dict.fromkeys((core_of(word) for word in words), 1))
            for word in dict.fromkeys(words):
                form = parts_of(word)[1]
                self._forms[form] += 1
                if not is_capitalised(form):
                    lower.add(form)
        self._ordinary = frozenset(lower)
        self._tokens = frozenset(tokens)
        self._texts = tuple(texts)
        self._vocabularies: dict[str, tuple[str, ...]] = {}
        self._vectors: dict[tuple[str, ...], FloatArray] = {}
        self._stuffing: dict[tuple[str, str, int], tuple[str, ...]] = {}
        self._near: dict[str, tuple[tuple[str, float], ...]] = {}

    @cached_property
    def ranked(self) -> tuple[str, ...]:
        """The words of at least two letters and nothing else, those that stand in most texts first, each in
        the form that the catalog shows most often."""
        best: dict[str, str] = {}
        for form in sorted(self._forms, key=lambda form: (-self._forms[form], form)):
            if len(form) > 1 and form.isascii() and form.isalpha():
                best.setdefault(form.lower(), form)
        return tuple(best[core] for core in sorted(best, key=lambda core: (-self.counts[core], core)))

    @cached_property
    def popular(self) -> tuple[str, ...]:
        """The 300 first of the ranked words."""
        return self.ranked[:_MOST_POPULAR]

    def vectors_of(self, words: tuple[str, ...]) -> FloatArray:
        """Unit vectors `[V, 384]` of `words`, each as a text of its own, in the frozen encoder; kept."""
        if words not in self._vectors:
            self._vectors[words] = sentence_vectors(words)
        return self._vectors[words]

    def vocabulary(self, banned: str = "") -> tuple[str, ...]:
        """What a text may be stuffed with: the 2,000 first of the ranked words without a character of `banned`."""
        if banned not in self._vocabularies:
            free = (word for word in self.ranked if not set(banned) & set(word))
            self._vocabularies[banned] = tuple(islice(free, _MOST_WORDS))
        return self._vocabularies[banned]

    @cached_property
    def _nearest_texts(self) -> NearestTexts:
        return NearestTexts(self._texts, cores_of)

    def is_narrow(self, threat: TextThreat, tier: Tier) -> bool:
        """Whether texts may be stuffed with words of near items alone: with fewer of these than there are texts."""
        return threat.nearest_items is not None and threat.nearest_items.at(tier) < len(self._texts)

    def stuffing(self, threat: TextThreat, tier: Tier, clean: str) -> tuple[str, ...]:
        """What the text `clean` may be stuffed with in a tier: the vocabulary, or where the card has `nearest_items`,
        those of its words that stand in one of the nearest texts, in the vocabulary's order."""
        words = self.vocabulary(threat.banned_characters)
        if threat.nearest_items is None or not self.is_narrow(threat, tier):
            return words
        count = int(threat.nearest_items.at(tier))
        key = (threat.banned_characters, clean, count)
        if key not in self._stuffing:
            near = frozenset().union(*map(cores_of, self._nearest_texts.nearest(clean, count)))
            self._stuffing[key] = tuple(word for word in words if word.lower() in near)
        return self._stuffing[key]

    def misspellings(self, word: str) -> tuple[str, ...]:
        """What a typing mistake or a trick makes of `word`: one slip, in a word of at least three letters and at most
        64 characters, which makes no other word of the language (a whole word of the encoder, or one of the
        catalog)."""
        if sum(letter.isalpha() for letter in word) < _LEAST_LETTERS:
            return ()
        known = _word_space().numbers
        cores = ((slip, core_of(slip)) for slip in misspellings(word))
        return tuple(slip for slip, core in cores if core not in known and core not in self.counts)

    def is_name(self, word: str) -> bool:
        """Whether the word is to be taken for a name: it has an upper-case letter, and nowhere in the catalog
        does it stand in lower case. Where a headline capitalises every word, this keeps ordinary words apart;
        a name that is also a word ("Apple") counts as a word."""
        middle = parts_of(word)[1]
        return is_capitalised(middle) and middle.lower() not in self._ordinary

    def prepare(self, words: Iterable[str]) -> None:
        """Find the neighbours of many words at once: much faster than one by one."""
        space = _word_space()
        cores = dict.fromkeys(core_of(word) for word in words)
        missing = [core for core in cores if core not in self._near]
        known = [core for core in missing if core in space.numbers]
        self._near.update((core, ()) for core in missing if core not in space.numbers)
        for start in range(0, len(known), _BLOCK):
            block = known[start : start + _BLOCK]
            rows = [space.numbers[core] for core in block]
            cosines = space.vectors[rows] @ space.vectors.T
            cosines[np.arange(len(rows)), rows] = -1.0
            top = np.argpartition(-cosines, _MOST_NEIGHBOURS, axis=1)[:, :_MOST_NEIGHBOURS]
            for b, core in enumerate(block):
                pairs = ((space.words[i], float(cosines[b, i])) for i in top[b])
                self._near[core] = tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))

    def neighbours(self, word: str, minimum: float = NEAR) -> tuple[str, ...]:
        """At most 15 words whose vector has a cosine of at least `minimum` to the word's, nearest first, in
        its case and with its punctuation. Empty for a word that the encoder splits into pieces."""
        before, middle, after = parts_of(word)
        core = middle.lower()
        if core not in self._near:
            self.prepare([core])
        near = (other for other, cosine in self._near[core] if cosine >= minimum)
        return tuple(f"{before}{_in_case_of(middle, other)}{after}" for other in near)

    def synonyms(self, word: str, minimum: float = NEAR) -> tuple[str, ...]:
        """The synonyms of a word in WordNet whose vector, as a text of its own in the frozen encoder, has a cosine of
        at least `minimum` to the word's; nearest first, in its case and with its punctuation.

        Raises
        ------
        DataError
            Where WordNet is not in the cache and cannot be fetched.
        """
        before, middle, after = parts_of(word)
        near = (other for other, cosine in _synonyms(middle.lower()) if cosine >= minimum)
        return tuple(f"{before}{_in_case_of(middle, other)}{after}" for other in near)

    def replacements(self, word: str, threat: TextThreat) -> tuple[str, ...]:
        """What `word` may become as a word under a threat that adds none, by the rule that its card names."""
        rule = self.synonyms if threat.synonyms == "wordnet" else self.neighbours
        return rule(word, threat.synonym_cosine)

    def cosine(self, first: str, second: str) -> float:
        """The cosine of two words' vectors, case and outer punctuation aside; -1 where the encoder splits one
        of them into pieces (1 for a word and itself all the same)."""
        a, b = core_of(first), core_of(second)
        if a == b:
            return 1.0
        space = _word_space()
        if a not in space.numbers or b not in space.numbers:
            return -1.0
        return float(space.vectors[space.numbers[a]] @ space.vectors[space.numbers[b]])


@lru_cache(maxsize=2**15)
def _text_vector(word: str) -> FloatArray:
    """One text a pass: in a batch the last bits of a vector depend on the other texts, and so might what is legal."""
    vector: FloatArray = sentence_vectors([word])[0]
    return vector


@lru_cache(maxsize=2**15)
def _synonyms(core: str) -> tuple[tuple[str, float], ...]:
    from recgauntlet.data.synonyms import synonyms

    pairs = ((other, float(_text_vector(core) @ _text_vector(other))) for other in synonyms(core))
    return tuple(sorted(pairs, key=lambda pair: (-pair[1], pair[0])))


def _in_case_of(pattern: str, word: str) -> str:
    if len(pattern) > 1 and pattern.isupper():
        return word.upper()
    return word.capitalize() if pattern[:1].isupper() else word


_KEYS = ("qwertyuiop", "asdfghjkl", "zxcvbnm")
_LOOKALIKES = dict(
    zip(
        "aceijopsvxyABCEHIJKMNOPSTXYZ",
        "\u0430\u0441\u0435\u0456\u0458\u043e\u0440\u0455\u03bd\u0445\u0443\u0410\u0412\u0421"
        "\u0415\u041d\u0406\u0408\u041a\u041c\u039d\u041e\u0420\u0405\u0422\u0425\u04ae\u0396",
        strict=True,
    )
)
"""Latin letters and the Cyrillic or Greek ones that look like them."""
_SEPARATORS = ("\u200b", "-", ".")


@lru_cache(maxsize=2**12)
def misspellings(word: str) -> tuple[str, ...]:
    """The word with one slip or trick in it, as DeepWordBug and TextBugger make them.

    Per letter: a deletion, a lookalike from Cyrillic or Greek, a slip to an adjacent key, a swap with the next letter,
    a separator behind it that a reader hardly sees (zero-width space, hyphen, dot). Only letters are touched; nothing
    is empty, equal to the word, or has a digit or white space that the word had not. A word of more than
    `LONGEST_WORD` characters has none.
    """
    if len(word) > LONGEST_WORD:
        return ()
    found: dict[str, None] = {}
    for i, letter in enumerate(word):
        if not letter.isalpha():
            continue
        head, tail = word[:i], word[i + 1 :]
        slips = [head + tail, head + _LOOKALIKES.get(letter, letter) + tail]
        slips += [head + key + tail for key in _adjacent_keys(letter)]
        if tail[:1].isalpha():
            slips += [head + letter + separator + tail for separator in _SEPARATORS]
            slips.append(head + tail[0] + letter + tail[1:])
        found.update(dict.fromkeys(slips))
    return tuple(slip for slip in found if slip and slip != word)


def _adjacent_keys(letter: str) -> tuple[str, ...]:
    plain = letter.lower()
    for row, keys in enumerate(_KEYS):
        place = keys.find(plain)
        if place >= 0:
            same = [keys[i] for i in (place - 1, place + 1) if 0 <= i < len(keys)]
            below = [_KEYS[row + 1][i] for i in (place - 1, place) if row < 2 and 0 <= i < len(_KEYS[row + 1])]
            near = same + below
            return tuple(key.upper() if letter.isupper() else key for key in near)
    return ()
