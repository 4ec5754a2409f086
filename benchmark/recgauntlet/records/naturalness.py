"""How natural the edits are by which attacks on texts broke examples: facts of a record, and the limits that refuse."""

from __future__ import annotations

from pydantic import Field

from recgauntlet.core.types import BoolArray
from recgauntlet.records.columns import FloatColumn, IntColumn
from recgauntlet.records.references import Part

LARGEST_RATIO = 5.0
"""The perplexity ratio above which an edit is refused."""
LEAST_COSINE = 0.8
"""The cosine below which an edit is refused."""


class Naturalness(Part):
    """How an attack's edits change their texts: a value for each example that it broke, in the order of the examples.

    `words` and `characters` count what changed: words replaced or added, and the Levenshtein distance of these words
    (an added word counts with its blank). `perplexity_ratio` is that of the edited to the clean text, `cosine` that
    between their sentence vectors; both are missing where no language model was asked for.
    """

    words: IntColumn
    characters: IntColumn
    perplexity_ratio: FloatColumn | None = Field(default=None, exclude_if=lambda found: found is None)
    cosine: FloatColumn | None = Field(default=None, exclude_if=lambda found: found is None)

    def natural(self) -> BoolArray | None:
        """Which edits both limits let pass; None where this was not measured."""
        if self.perplexity_ratio is None or self.cosine is None:
            return None
        natural: BoolArray = (self.perplexity_ratio.to_float() <= LARGEST_RATIO) & (
            self.cosine.to_float() >= LEAST_COSINE
        )
        return natural


class NaturalnessModels(Part):
    """By which models perplexity ratios and cosines of a record were computed, or else the `reason` why not."""

    language_model: str = ""
    encoder: str = ""
    reason: str = ""
