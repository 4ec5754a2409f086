"""Requests and answers of the service, as its OpenAPI describes them."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, FiniteFloat, StrictBool

from recgauntlet.serving.limits import LONGEST_HISTORY, LONGEST_ID

ItemId = Annotated[str, Field(min_length=1, max_length=LONGEST_ID, description="The id of a catalog item.")]


def _encodable(text: str) -> str:
    """A ValueError for half of a surrogate pair, which JSON can spell and tokenizers cannot read."""
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("no Unicode text: it has a lone surrogate")
    return text


Text = Annotated[
    str,
    Field(min_length=1, description="A title as a user would see it; its length is limited."),
    AfterValidator(_encodable),
]


def _a_number(value: object) -> object:
    """A ValueError for what pydantic would read as a number though JSON Schema does not: true, "5"."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise ValueError("it should be a whole number")
    return value


FromZero = Annotated[int, Field(ge=0, le=2**53), BeforeValidator(_a_number)]
FromOne = Annotated[int, Field(ge=1, le=2**53), BeforeValidator(_a_number)]


class _Message(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Candidate(_Message):
    """An item to rank: an item of the catalog, with another text where `text` is given; or a new listing, which has a
    text alone."""

    model_config = ConfigDict(
        json_schema_extra={
            "anyOf": [{"required": [name], "properties": {name: {"type": "string"}}} for name in ("item", "text")]
        }
    )

    item: ItemId | None = None
    text: Text | None = None


class RankRequest(_Message):
    """Candidates to rank for a user with a history."""

    history: Annotated[list[ItemId], Field(description="What the user took, the newest last.")]
    candidates: Annotated[list[Candidate], Field(min_length=1)]
    user: Annotated[
        FromZero | None,
        Field(description="Index of a user of the training data; leave it out for any other user."),
    ] = None
    top: Annotated[FromOne | None, Field(description="Answer with the first ones alone.")] = None
    tripwire: Annotated[
        StrictBool,
        Field(description="Answer too how far the history and the given texts are from what the model has seen."),
    ] = False


class Ranked(_Message):
    """A candidate at its place."""

    place: Annotated[int, Field(ge=1, description="From 1, the likeliest; equal scores keep the order of the request.")]
    candidate: Annotated[int, Field(ge=0, description="The place in the request's candidates, from 0.")]
    item: str | None
    score: Annotated[FiniteFloat, Field(description="The model's logit; 0 is its decision boundary.")]


class ModelName(_Message):
    """Which model answered."""

    task: str
    track: str
    model: str
    defense: str
    seed: int
    weights_sha256: str


class Measured(_Message):
    """A value, and the share of what the model was trained on whose value is as low or lower."""

    value: FiniteFloat
    quantile: Annotated[float, Field(ge=0, le=1)]


class HistoryDistance(_Message):
    """How far a history is from the training histories."""

    items: int
    unknown: Annotated[int, Field(description="Items that are not in the catalog.")]
    unseen: Annotated[int, Field(description="Catalog items that no training history or click has.")]
    unfamiliar_share: Annotated[
        float, Field(ge=0, le=1, description="Unknown and unseen items over all; 0 for an empty history.")
    ]
    popularity: Annotated[
        Measured | None,
        Field(
            description="Mean over the catalog items of log10(1 + n), n the training users who took the item; its "
            "quantile is among training histories. None without catalog items."
        ),
    ]
    cooccurrence: Annotated[
        Measured | None,
        Field(
            description="Share of the pairs of catalog items that stand together in the history of a training user; "
            "its quantile is among training histories, the user's own left out. None without two items."
        ),
    ]


class TextDistance(_Message):
    """How far a text is from the texts of the catalog."""

    text: Annotated[int, Field(ge=0, description="The place in the request's texts or candidates, from 0.")]
    item: str | None
    words_changed: Annotated[
        int | None, Field(description="Words inserted, replaced or deleted in the item's text; None without an item.")
    ]
    characters_changed: Annotated[
        int | None, Field(description="Levenshtein distance of the changed words, word by word.")
    ]
    cosine: Annotated[
        float | None, Field(description="Of the sentence vectors (MiniLM) of the text and the item's text.")
    ]
    nearest: Annotated[
        Measured,
        Field(
            description="The largest cosine to a catalog text; its quantile is among catalog texts, each beside the "
            "others."
        ),
    ]
    unknown_words: Annotated[
        float, Field(ge=0, le=1, description="Share of the words that no catalog text has; case counts.")
    ]
    perplexity: Annotated[
        FiniteFloat | None, Field(description="By SmolLM2, where the service was started with --perplexity.")
    ]
    perplexity_ratio: Annotated[FiniteFloat | None, Field(description="To that of the item's text.")]


class Distances(_Message):
    """How far from what the model has seen; a text has its distance where it was given."""

    history: HistoryDistance | None
    texts: list[TextDistance]


class RankAnswer(_Message):
    """The ranking, best first."""

    model: ModelName
    ranking: list[Ranked]
    tripwire: Distances | None


class TextOf(_Message):
    """A text, and the catalog item that it is shown for; without one it is compared with all."""

    text: Text
    item: ItemId | None = None


class TripwireRequest(_Message):
    """A history and texts whose distances are asked for. Items of the history need not be in the catalog."""

    history: Annotated[list[ItemId] | None, Field(max_length=LONGEST_HISTORY)] = None
    texts: list[TextOf] = []


class Health(_Message):
    """Whether the service can answer."""

    status: Literal["ok"]
    waiting: int


class Problem(_Message):
    """What is wrong with a request, where, and what to do about it."""

    problem: str
    field: str | None = None
    remedy: str


class ErrorAnswer(_Message):
    """The body of every answer that is no success."""

    error: Problem
