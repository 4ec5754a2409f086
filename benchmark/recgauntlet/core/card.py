"""The task card: one TOML file that fixes everything about a task that can move a number."""

from __future__ import annotations

import hashlib
import json
import tomllib
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, ValidationError, model_validator

from recgauntlet.core.ad_card import AdThreat as AdThreat
from recgauntlet.core.card_parts import CardPart
from recgauntlet.core.card_parts import Negatives as Negatives
from recgauntlet.core.card_parts import Tier as Tier
from recgauntlet.core.card_parts import TierValues as TierValues
from recgauntlet.core.card_parts import Track as Track
from recgauntlet.core.errors import CardError
from recgauntlet.core.poison_card import TrainingDataThreat as TrainingDataThreat

Goal = Literal["flip", "promote"]
TIERS: tuple[Tier, ...] = ("low", "standard", "high")
RANKING_TIER: Tier = "standard"
"""The tier whose robust accuracy ranks the rows of a task."""


class Source(CardPart):
    """Where a track's data comes from and what its licence allows."""

    name: str
    url: str
    licence: str
    redistributable: bool
    simulated: bool = False
    note: str = ""
    citation: str
    """BibTeX."""


class Split(CardPart):
    """What trains, validates and tests: all before `valid_from`, all from there to `test_from`, all from `test_from`.

    With the rule `time`, the boundaries are the same for all users: ISO dates (UTC), or shares of the interactions in
    order of time, as strings ("0.8"). With the rule `per-user`, each user has boundaries of their own: shares of that
    user's interactions in their order. It needs no clock, only an order within each user; training then holds what
    others did later than a test example.
    """

    rule: Literal["time", "per-user"] = Field(default="time", exclude_if=lambda rule: bool(rule == "time"))
    """Left out of a card's hash where it is `time`, which was once the only rule."""
    valid_from: str
    test_from: str
    train_from: str = Field(default="", exclude_if=lambda text: not text)
    """Where the training period begins, and where the test period ends (dates or shares, as above); empty for the first
    and behind the last interaction, and then left out of a card's hash."""
    test_until: str = Field(default="", exclude_if=lambda text: not text)

    @model_validator(mode="after")
    def _shares_of_each_user(self) -> Self:
        if self.rule == "per-user" and (self.train_from or self.test_until):
            raise ValueError('with rule = "per-user", there is no train_from and no test_until: leave them out')
        if self.rule == "per-user" and not 0 < _number(self.valid_from) < _number(self.test_from) < 1:
            raise ValueError(
                'with rule = "per-user", valid_from and test_from are shares of each user\'s interactions as text, and '
                'rise: like valid_from = "0.7", test_from = "0.8"'
            )
        return self


def _number(text: str) -> float:
    """The number that `text` is, or NaN, which no comparison holds for."""
    try:
        return float(text)
    except ValueError:
        return float("nan")


class TableCard(CardPart):
    """One normalized table of a track: its rows and their SHA-256, so that an error can say which table differs."""

    rows: int = Field(ge=1)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class TrackCard(CardPart):
    """One track of a task: its data, its sizes and how it is split.

    `token_length` counts a model's tokens a text; sizes are numbers of pairs (one clicked, one unclicked) and of
    impressions. `sampling_seed` fixes which pairs and negatives are drawn. `cleaning` holds the loader's own rules.
    """

    source: Source
    fingerprint: str = Field(pattern=r"^([0-9a-f]{64})?$")
    """SHA-256 of the normalized tables; empty only on a user's own card, where it is filled in on first use."""
    tables: dict[Literal["items", "interactions", "impressions"], TableCard] = Field(default_factory=dict)
    split: Split
    negatives: Negatives
    history_length: int = Field(ge=1, le=200)
    token_length: int = Field(ge=4, le=128)
    train_pairs: int = Field(ge=1)
    valid_pairs: int = Field(ge=1)
    test_pairs: int = Field(ge=1)
    test_impressions: int = Field(ge=1)
    sampling_seed: int = 0
    cleaning: dict[str, str | int | float | bool | list[str]] = Field(default_factory=dict)


class _Threat(CardPart):
    id: str = Field(pattern=r"^[a-z0-9-]+$")
    goal: Goal
    ranked: bool
    """Whether ranks may use it; diagnostics are shown and never ranked."""
    queries: TierValues
    """Scored inputs an attack may ask for per example (a gradient counts as one)."""
    source: str
    """Where the budget comes from; "ours" for design decisions of this project."""

    @property
    def character_caps(self) -> TierValues | None:
        """The caps on character edits, where a text may also be changed by characters."""
        return None

    @property
    def compares_items(self) -> bool:
        """Whether the threat needs the items' similarity."""
        return False


class EmbeddingThreat(_Threat):
    """The candidate's embeddings move inside a ball whose radius is relative to the model's own mean norm."""

    surface: Literal["embedding"]
    norm: Literal["l2", "linf"]
    radius: TierValues

    @property
    def amounts(self) -> TierValues:
        """What the budget counts: the radius."""
        return self.radius


class TextThreat(_Threat):
    """The candidate's text is edited by words, or by characters where `characters` is given."""

    surface: Literal["candidate-text"]
    operations: tuple[Literal["insert-word", "replace-word", "replace-character"], ...]
    words: TierValues
    characters: TierValues | None = None
    """A perturbed text keeps to the cap on words, or to the cap on characters."""
    max_length: int = 200
    max_repeats: int | None = None
    """No word may stand more often than this (or than it already did)."""
    banned_characters: str = ""
    max_changed_share: float | None = Field(default=None, gt=0, le=1)
    """Largest share of the words that may change; at least one may."""
    keep_numbers: bool = True
    keep_names: bool = False
    nearest_items: TierValues | None = Field(default=None, exclude_if=lambda counts: counts is None)
    """Where words are added: they must stand in one of so many catalog texts that are nearest to the candidate's; with
    at least as many as there are texts, in any. Left out of a card's hash where it is None (any, in all tiers)."""
    synonyms: Literal["neighbours", "wordnet"] = Field(
        default="neighbours", exclude_if=lambda rule: bool(rule == "neighbours")
    )
    """What a word may become where no word is added: a word with a near input vector in the frozen encoder, or a
    synonym of WordNet in the same form. Left out of a card's hash where it is `neighbours`, once the only rule."""
    synonym_cosine: float = Field(default=0.6, ge=0, le=1)
    """The least cosine of a word and its replacement: of their input vectors (neighbours), or of the encoder's vectors
    of the two words as texts (WordNet)."""

    @model_validator(mode="after")
    def _synonyms_replace_words(self) -> Self:
        if self.synonyms == "wordnet" and ("replace-word" not in self.operations or "insert-word" in self.operations):
            raise ValueError(
                '"synonyms" is for threats that replace words and add none: with "insert-word", a word becomes any '
                "word of the catalog's vocabulary"
            )
        return self

    @model_validator(mode="after")
    def _nearest_items_give_words(self) -> Self:
        if self.nearest_items is not None and "insert-word" not in self.operations:
            raise ValueError('"nearest_items" is for threats that add words: it needs "insert-word"')
        return self

    @model_validator(mode="after")
    def _characters_have_an_operation(self) -> Self:
        if ("replace-character" in self.operations) != (self.characters is not None):
            raise ValueError('"characters" must be given exactly when "replace-character" is among the operations')
        return self

    @property
    def amounts(self) -> TierValues:
        """What the budget counts: words."""
        return self.words

    @property
    def character_caps(self) -> TierValues | None:
        return self.characters

    @property
    def compares_items(self) -> bool:
        """True where texts are stuffed with words."""
        return "insert-word" in self.operations


class HistoryThreat(_Threat):
    """Items of the user's history are replaced, inserted or deleted."""

    surface: Literal["history"]
    operations: tuple[Literal["replace", "insert", "delete"], ...]
    edits: TierValues
    window: int = Field(ge=1)
    """Only the last `window` items may change."""
    min_cosine: float = Field(ge=-1, le=1)
    """Between a replacement and what it replaces, in the frozen text encoder."""

    @property
    def amounts(self) -> TierValues:
        """What the budget counts: edits."""
        return self.edits

    @property
    def compares_items(self) -> bool:
        return True


Threat = Annotated[EmbeddingThreat | TextThreat | HistoryThreat, Field(discriminator="surface")]
"""A threat to inputs, at test time."""


class TaskCard(CardPart):
    """A task, frozen. Any change that can move a number needs a new `version`.

    tracks
        The cards of its data, by the track's name.
    threats
        What an attacker may change of inputs, with the budget of each tier.
    poisoning
        What an attacker may add to the training data.
    ads
        Simulated ads, and what users may do to see fewer of them; never ranked.
    """

    id: str = Field(pattern=r"^[a-z0-9-]+$")
    version: int = Field(ge=1)
    title: str
    question: str
    description: str
    clicked: str
    """The verb of a positive: "clicked", "bought", "watched"."""
    metrics: tuple[Literal["accuracy", "auc", "gauc", "mrr", "ndcg@5", "ndcg@10"], ...]
    tracks: dict[Track, TrackCard]
    threats: tuple[Threat, ...]
    poisoning: tuple[TrainingDataThreat, ...] = Field(default=(), exclude_if=lambda threats: not threats)
    ads: AdThreat | None = Field(default=None, exclude_if=lambda ads: ads is None)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if "standard" not in self.tracks:
            raise ValueError('"tracks.standard" is missing: every task has a standard track')
        ids = [threat.id for threat in (*self.threats, *self.poisoning)]
        if len(set(ids)) != len(ids):
            raise ValueError(f'"threats" has two threats of one id: {sorted({i for i in ids if ids.count(i) > 1})}')
        for name, track in self.tracks.items():
            if name == "standard" and track.source.simulated:
                raise ValueError('"tracks.standard.source.simulated" is true: simulated data is for the demo track')
            if self.poisoning and track.negatives.rule != "uniform-unseen":
                raise ValueError(f'"poisoning" needs interactions: "tracks.{name}.negatives.rule" has impressions')
            if track.split.rule != "per-user" and any(threat.insertions for threat in self.poisoning):
                raise ValueError(
                    f'"insertions" need data with an order alone: "tracks.{name}.split.rule" is not per-user'
                )
        if self.ads is not None:
            self._check_ads(self.ads)
        return self

    def _check_ads(self, ads: AdThreat) -> None:
        if ads.id in (threat.id for threat in (*self.threats, *self.poisoning)):
            raise ValueError(f'"ads.id" is the id of a threat: {ads.id}')
        if ads.relevant > ads.organic:
            raise ValueError('"ads.relevant" must not be more than "ads.organic"')
        for name, track in self.tracks.items():
            if ads.lists.get(name, 0) < 1:
                raise ValueError(f'"ads.lists.{name}" is missing: how many lists that track has, at least 1')
            if track.negatives.rule != "uniform-unseen":
                raise ValueError(f'"ads" needs interactions: "tracks.{name}.negatives.rule" has impressions')

    def track(self, name: Track) -> TrackCard:
        """The card of one track; CardError where the task has none of that name."""
        if name not in self.tracks:
            raise CardError(
                f"the task {self.id} has no {name} track",
                field="tracks",
                remedy=f"choose one of: {', '.join(self.tracks)}",
            )
        return self.tracks[name]

    def uses_synonyms(self) -> bool:
        """Whether a threat needs WordNet."""
        return any(isinstance(threat, TextThreat) and threat.synonyms == "wordnet" for threat in self.threats)

    def compares_items(self) -> bool:
        """Whether a threat needs the items' similarity: one that changes histories, or that stuffs texts with words."""
        return self.ads is not None or any(threat.compares_items for threat in self.threats)

    def fingerprint(self, name: Track) -> str:
        """A hash of everything on the card that can move a number of the track `name`: prose and links left out."""
        track = self.track(name).model_dump(mode="json", exclude={"source"})
        threats = [threat.model_dump(mode="json", exclude={"source"}) for threat in self.threats]
        content = {"id": self.id, "version": self.version, "track": name, "data": track, "threats": threats}
        active = [threat.model_dump(mode="json", exclude={"source"}) for threat in self.poisoning if threat.active]
        if active:
            content["poisoning"] = active
        if self.ads is not None:
            content["ads"] = self.ads.model_dump(mode="json", exclude={"source"})
        return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def load_card(path: Path) -> TaskCard:
    """Read and check a card.

    Raises
    ------
    CardError
        Naming the file, every field at fault, and what is expected there.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise CardError(
            f"cannot be read ({error.strerror})", where=path, remedy="give the path of a task card (TOML)"
        ) from error
    except UnicodeDecodeError as error:
        raise CardError(
            f"is not UTF-8 text (byte {error.start})", where=path, remedy="save the card as UTF-8"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise CardError(f"is not TOML: {error}", where=path, remedy="mend the line that is named") from error
    try:
        return TaskCard.model_validate(content)
    except ValidationError as error:
        faults = [f"{'.'.join(map(str, fault['loc'])) or 'card'}: {fault['msg']}" for fault in error.errors()]
        raise CardError(
            "; ".join(faults),
            where=path,
            field=".".join(map(str, error.errors()[0]["loc"])) or None,
            remedy="correct each field named; docs/extend/task.md explains the card",
        ) from error
