"""What an evaluation found, as arrays, and its one way into the record.

Inside the evaluation outcomes are arrays; `to_record` packs them into the columns of a record. The journal of an
unfinished evaluation keeps the same classes as JSON, without loss.
"""

from __future__ import annotations

from typing import Annotated, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, PlainSerializer, PlainValidator

from recgauntlet.core.card import Threat, Tier
from recgauntlet.core.types import BoolArray, Edit, FloatArray, Scalar
from recgauntlet.records.ads import AdAttackOutcome, AdOutcome, AdTierOutcome
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.naturalness import Naturalness
from recgauntlet.records.schema import (
    AttackEffort,
    AttackOutcome,
    CatalogRanks,
    CertifiedOutcome,
    Clean,
    CurvePoint,
    Evidence,
    Gate,
    LoneAttack,
    PopularImpressions,
    PromotionOutcome,
    RankingOutcome,
    ThreatOutcome,
    TierOutcome,
)

Bits = Annotated[
    BoolArray,
    PlainValidator(lambda values: np.asarray(values, dtype=np.bool_)),
    PlainSerializer(lambda values: values.astype(int).tolist(), when_used="json"),
]
Floats = Annotated[
    FloatArray,
    PlainValidator(lambda values: np.asarray(values, dtype=np.float32)),
    PlainSerializer(lambda values: values.tolist(), when_used="json"),
]


Record = TypeVar("Record", bound=BaseModel)


class _Result(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")

    def __eq__(self, other: object) -> bool:  # pydantic's own compares arrays with ==
        return isinstance(other, type(self)) and self.model_dump_json() == other.model_dump_json()

    def _packed(self, record: type[Record], **others: object) -> Record:
        """This as the class `record` of the record's schema: the fields that both have, arrays packed as columns, and
        `others`."""
        fields = {name: _column(getattr(self, name)) for name in record.model_fields if name in type(self).model_fields}
        return record(**(fields | others))


def _column(value: object) -> object:
    if not isinstance(value, np.ndarray):
        return value
    return BitColumn.of(value) if value.dtype == np.bool_ else FloatColumn.of(value)


class PopularResult(_Result):
    """Scores of the test impressions with unclicked candidates drawn by popularity, candidate by candidate."""

    sizes: tuple[int, ...]
    labels: Bits
    scores: Floats

    def to_record(self) -> PopularImpressions:
        return self._packed(PopularImpressions)


class CatalogResult(_Result):
    """The place of the click of each of the first test impressions among all items that its user never took."""

    above: tuple[int, ...]
    tied: tuple[int, ...]
    others: tuple[int, ...]
    exposed: Floats = np.zeros(0, dtype=np.float32)
    """`[lists x groups]`: places among the first of each list that items of each group of popularity have."""

    def to_record(self) -> CatalogRanks:
        return self._packed(CatalogRanks)


class CleanResult(_Result):
    """Scores of the clean test examples `[B]` and of the test impressions, candidate by candidate."""

    labels: Bits
    scores: Floats
    impression_sizes: tuple[int, ...]
    impression_users: tuple[int, ...]
    impression_labels: Bits
    impression_scores: Floats
    popular: PopularResult | None = None
    catalog: CatalogResult | None = None

    def to_record(self) -> Clean:
        popular, catalog = (None if part is None else part.to_record() for part in (self.popular, self.catalog))
        return self._packed(Clean, popular=popular, catalog=catalog)


class AttackResult(_Result):
    """One attack at one tier, on the examples that no attack before it had broken."""

    name: str
    hyperparameters: dict[str, Scalar]
    attacked: Bits
    """`[B]`, over all test examples."""
    broken: Bits
    """`[B]`: legal and wrong."""
    scores: Floats
    """The evaluator's scores of the perturbed inputs, one for each attacked example."""
    radii: Floats = np.zeros(0, dtype=np.float32)
    """Where embeddings move, for each attacked example the smallest relative radius at which what was found still fools
    the model; infinite where nothing was found."""
    violations: int
    """Perturbed inputs that the verifier refused."""
    effort: AttackEffort
    unlike_fresh: float = 0.0
    """The largest difference to the scores of a fresh copy of the model, relative to the spread of the clean scores."""
    error: str = ""
    evidence: tuple[Evidence, ...] = ()
    edits: tuple[tuple[Edit, ...], ...]
    """Where texts are edited, the edits of each broken example; else empty."""
    naturalness: Naturalness | None = None
    """What these edits change; None where no text is edited."""

    @property
    def edits_of(self) -> dict[int, tuple[Edit, ...]]:
        """The edits by the example that they broke."""
        return dict(zip(np.flatnonzero(self.broken).tolist(), self.edits, strict=False))

    def to_record(self) -> AttackOutcome:
        return self._packed(AttackOutcome)


class TierResult(_Result):
    """A threat at one tier of its budget."""

    tier: Tier
    amount: float
    characters: int
    queries: int
    robust: Bits
    """`[B]`: right on the clean input and on everything found up to this tier."""
    attacks: tuple[AttackResult, ...]

    def to_record(self) -> TierOutcome:
        return self._packed(TierOutcome, attacks=tuple(attack.to_record() for attack in self.attacks))


class AblationResult(_Result):
    """One attack by itself on the threat's subset of `K` examples."""

    attack: str
    tier: Tier
    broken: Bits
    """`[K]`; examples that are wrong on the clean input are not counted."""
    edits: tuple[tuple[Edit, ...], ...]
    """As those of an attack."""
    naturalness: Naturalness | None = None

    def to_record(self) -> LoneAttack:
        return self._packed(LoneAttack)


class RadiiResult(_Result):
    """The smallest relative radius found for each of the `K` examples of the subset; infinite where none was."""

    radii: Floats


class CurveResult(_Result):
    """A budget of the security curve."""

    amount: float
    characters: int
    queries: int
    robust: Bits
    """`[K]`, over the threat's subset: right on everything found up to this budget."""

    def to_record(self) -> CurvePoint:
        return self._packed(CurvePoint)


class RankingResult(_Result):
    """Test impressions of which one candidate each was attacked."""

    threat: str
    impressions: tuple[int, ...]
    targets: tuple[int, ...]
    """The attacked candidate's place in each impression."""
    scores: Floats
    """All candidates' scores under attack, impression by impression."""

    def to_record(self) -> RankingOutcome:
        return self._packed(RankingOutcome)


class PromotionResult(_Result):
    """Items promoted by one text each."""

    threat: str
    items: tuple[int, ...]
    optimized_on: int
    """Users that the search saw."""
    users: int
    """Other users, on whom the ranks were measured."""
    competitors: int
    before: Floats
    """`[items x users]`: the item's rank, from 1."""
    after: Floats
    catalog_before: Floats = np.zeros(0, dtype=np.float32)
    """The same among all items that the user never took; empty where that is not known."""
    catalog_after: Floats = np.zeros(0, dtype=np.float32)

    def to_record(self) -> PromotionOutcome:
        if len(self.catalog_before):
            return self._packed(PromotionOutcome)
        return self._packed(PromotionOutcome, catalog_before=None, catalog_after=None)


class AdAttackResult(_Result):
    """One attack on lists with ads, by itself."""

    name: str
    hyperparameters: dict[str, Scalar]
    ads: Bits
    """`[lists x sponsored]`: the ads shown afterwards, with the clean history where the edit is not used."""
    violations: int
    effort: AttackEffort
    error: str = ""

    def to_record(self) -> AdAttackOutcome:
        return self._packed(AdAttackOutcome)


class AdTierResult(_Result):
    """All attacks on lists with ads at one tier."""

    tier: Tier
    edits: int
    queries: int
    attacks: tuple[AdAttackResult, ...]

    def to_record(self) -> AdTierOutcome:
        return self._packed(AdTierOutcome, attacks=tuple(attack.to_record() for attack in self.attacks))


class AdResult(_Result):
    """Ad dodging under one draw of sponsored items; no tiers where the model does not read histories."""

    threat: str
    draw: int
    lists: int = 0
    sponsored: int = 0
    offset: float = 0.0
    shown: Bits = np.zeros(0, dtype=np.bool_)
    """`[lists x sponsored]`: the ads of the clean lists."""
    tiers: tuple[AdTierResult, ...] = ()
    checks: tuple[Gate, ...] = ()

    def to_record(self) -> AdOutcome:
        return self._packed(
            AdOutcome, applicable=bool(self.tiers), tiers=tuple(tier.to_record() for tier in self.tiers)
        )


class CertifiedResult(_Result):
    """What is proved of a smoothed model under a threat at a tier."""

    threat: str
    tier: Tier
    votes: int
    reached: int
    """How many votes the edits of this tier can reach at most."""
    certified: Bits
    """`[B]`: right on the clean input and on every legal input."""

    def to_record(self) -> CertifiedOutcome:
        return self._packed(CertifiedOutcome)


class ThreatResult(_Result):
    """All that was measured under one threat; no tiers where the model does not read what the threat changes."""

    threat: Threat
    tiers: tuple[TierResult, ...] = ()
    subset: tuple[int, ...] = ()
    """The test examples of the ablation and of the security curve."""
    ablation: tuple[AblationResult, ...] = ()
    curve: tuple[CurveResult, ...] = ()
    gates: tuple[Gate, ...] = ()
    certified: tuple[CertifiedResult, ...] = ()
    ranking: RankingResult | None = None
    promotion: PromotionResult | None = None

    @property
    def applicable(self) -> bool:
        """Whether the model reads what the threat changes."""
        return bool(self.tiers)

    @property
    def evidence(self) -> tuple[Evidence, ...]:
        """The perturbed inputs that are kept, attack by attack."""
        return tuple(found for tier in self.tiers for attack in tier.attacks for found in attack.evidence)

    def to_record(self) -> ThreatOutcome:
        return self._packed(
            ThreatOutcome,
            **{name: getattr(self.threat, name) for name in ("id", "surface", "goal", "ranked")},
            applicable=self.applicable,
            tiers=tuple(tier.to_record() for tier in self.tiers),
            alone=tuple(one.to_record() for one in self.ablation),
            curve=tuple(point.to_record() for point in self.curve),
        )
