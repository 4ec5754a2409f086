"""Constants of the evaluation protocol outside the attacks; they are hashed into the suite's fingerprint."""

from __future__ import annotations

from recgauntlet.core.types import Scalar

EVALUATOR_VERSION = "4"
"""Rises with any change of the evaluator's code that can move a number or a flag."""

SUBSET = 100
"""Examples that every attack is run on by itself, for the gates, the ablation and the security curve."""
SLACK = 0.03
"""Share of the subset by which a search may miss by chance."""
DISCRETE_SLACK = 0.10
"""The same for searches over words and items, whose first-order estimates are honest guesses at best."""
STANDARD_ERRORS = 2.33
"""How many standard errors (McNemar) one attack may fall behind another before the gap is no chance: 1 %, one-sided."""
LARGEST_SHARE = 0.8
"""A model that gives one answer to more than this share of balanced examples is near a constant."""
SAME = 1e-3
"""Largest change of a score, relative to the spread of all scores, that counts as none."""
SAMPLES = 8
"""Passes of a random model per score and gradient."""
REFERENCES = 32
"""Validation pairs on which an attacker learns what words do to a model."""
AMONG_CLEAN, REPEATED = 0.125, 0.125
"""Clean and repeated inputs among the perturbed ones that the evaluator scores, as shares of them."""
UNSUCCESSFUL = 32
"""Inputs of each attack that broke nothing and are scored by a fresh copy of the model too."""
FEW = 64
"""Examples that are enough to see whether a model behaves."""
STEP = 0.1
"""The length of the step that a gradient is judged by, in mean norms of an embedding."""
SMALL_STEP = 0.01
"""The length of the step that tests whether a gradient predicts the change of the score, in the same unit."""
FLAT = 1e-6
"""A gradient is flat if a step of `STEP` along it would move the logit by less than this share of all
scores' spread."""
LARGEST_FLAT_SHARE = 0.1
"""Share of the examples that may have flat gradients."""
LARGEST_LOGIT = 100.0
"""The cross-entropy's gradient is gone in single precision soon beyond it."""
LARGEST_INFLATION = 4.0
"""How far the size of the embeddings may be from the undefended twin's, either way."""
LEAST_SLOPE, LARGEST_SLOPE = 0.5, 2.0
"""Between what a gradient promises and what a small step along it brings: 1 for a smooth score."""
LEAST_FELT = 0.5
"""Share of random legal changes that must move the score."""
FAR = 16.0
"""How many times more or less than usual, beside the twin's, an example moves that moves far more or far less."""
DRAWS, DRAWN_QUERIES = 4, 4
"""Further random changes of each example that are compared with what they do to the twin, and what each may ask."""
LEAST_P = 0.001
"""Two-sided p of the sign test of both, under which it is no chance."""
LARGEST_UNATTACKABLE = 0.1
"""Share of the attacked examples that may have no legal input: beyond it the threat says nothing of the model."""
LEAST_LIKE_ELSEWHERE, MOST_LIKE_ELSEWHERE = 0.25, 10.0
"""What random changes do to scores of test inputs over what they do to scores of drawn inputs."""
LEAST_OF_TWIN = 0.1
"""What random changes do to scores over what they do to those of the undefended twin, each relative to its spread."""
LEAST_HANDED = 0.5
"""What embeddings that are handed in do to a score, over what the candidate does that they are of."""
LARGEST_REFUSED = 0.25
"""Share of clicked candidates that the kindest of a few random edits may lose."""
LEAST_EVENNESS = 0.5
"""The median over the mean norm of an embedding."""
LARGEST_LOST_SHARE = 0.05
"""Share of the texts with one misspelt word that may lose a word's last token."""
LARGEST_OFFSET = 0.1
"""By how much accuracy may rise where another decision boundary than 0 is chosen."""
UNLIMITED = 20.0
"""The radius, in mean norms of an embedding, at which nothing should be left standing."""
LEFT_UNLIMITED = 0.25
"""Share of the subset that may stand there: half of what a constant answer gets."""
TEST_ADVANTAGE = 0.05
"""How much more accurate than on validation examples a model may be on test examples, beside chance."""
DEEP = 1e-3
"""How wrong the twin must be for the next attack to leave an example alone."""

LONGEST_WORD = 64
"""Characters of the longest word that is misspelt: a word of `n` has at least `5 n` slips, each as long as the word,
so time and memory grow with the square. Longer are web addresses and texts without spaces."""
CURVE_POINTS = 8
CURVE_REACH = 2
"""The last budget of a security curve, as a multiple of the high tier's."""
RANKED_IMPRESSIONS = 100
"""Test impressions whose ranking is attacked, the first ones."""
PROMOTED_ITEMS = 10
PROMOTION_USERS = 50
OPTIMIZED_SHARE = 0.4
"""Share of these users that the search for a promoting text sees."""
COMPETITORS = 300
PLACE_TO_REACH = 10
"""The search wants the item to stand before the competitor at this rank of each user."""


def evaluator() -> dict[str, Scalar]:
    """Every limit by name, and the version."""
    return {name: value for name, value in globals().items() if name.isupper()}
