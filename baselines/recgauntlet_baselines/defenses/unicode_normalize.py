"""Unicode normalization at inference: look-alike characters are replaced by plain ones."""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.training.defense import Defense
from recgauntlet_baselines.defenses._wrapper import RepairedWords


class UnicodeNormalize(Defense):
    """The model reads `squeeze(ascii(strip(NFKC(word))))` in place of each word that the catalog does not show.

    NFKC reads full-width, mathematical and other styled letters as plain ones. Stripped are format characters
    (zero-width spaces and joiners, soft hyphens, marks of direction) and marks that stay combining after NFKC. Letters
    of Cyrillic, Greek, Armenian and phonetic alphabets that look like ASCII letters become those. Runs of one
    punctuation mark become one. Words of the catalog stay as they are, so no clean input changes; a text model that
    ignores case ignores it already.

    Training is unchanged. It does not use words: a misspelling in plain letters passes (see spell-repair).

    Source: the mappings of Unicode Technical Standard 39 (`confusables.txt`), cut to single letters that look like
    ASCII letters; Boucher et al. 2022 on the attack and on this remedy.
    """

    citation = bibtex("boucher2022bad")

    def wrap(self, model: Recommender) -> Recommender:
        if "candidate-text" not in model.surfaces:
            return model
        return RepairedWords(model, normalized_word)


def normalized_word(word: str) -> str:
    """The word in plain letters, without invisible characters, repeated punctuation marks merged."""
    plain = unicodedata.normalize("NFKC", word.translate(_lookalikes()))  # which may bring forth new lookalikes
    seen = (c for c in plain if unicodedata.category(c) not in ("Cf", "Mn", "Me", "Cc"))
    return _runs().sub(r"\1", "".join(seen).translate(_lookalikes()))


@lru_cache(maxsize=1)
def _runs() -> re.Pattern[str]:
    return re.compile(r"([^\w\s])\1+")


@lru_cache(maxsize=1)
def _lookalikes() -> dict[int, str]:
    """Letters that look like ASCII letters, by alphabet: lookalikes first, what they look like second."""
    pairs = (
        ("АВЕЅІЈКМНОРСТУХҮԌԚԜѴҺаеѕіјорсухԁԛԝѵүһӏԍ", "ABESIJKMHOPCTYXYGQWVHaesijopcyxdqwvyhlg"),  # Cyrillic
        ("ΑΒΕΖΗΙΚΜΝΟΡΤΥΧΥϹϳαγικνορτυχωϲ", "ABEZHIKMNOPTYXYCjayikvoptuxwc"),  # Greek
        ("ՍՏՕԼոսօցքհ", "USOLnuogph"),  # Armenian
        ("ıȷɑɡɩɪʏʙʜɴʀᴀᴄᴅᴇᴊᴋᴍᴏᴘᴛᴜᴠᴡᴢꜱɢʟ", "ijagiiybhnracdejkmoptuvwzsgl"),  # phonetic and small capitals
        ("‘’‚‛′`´“”„″‐‑‒–—−․", "'''''''\"\"\"\"------."),  # marks
    )
    return {ord(look): plain for looks, plains in pairs for look, plain in zip(looks, plains, strict=True)}
