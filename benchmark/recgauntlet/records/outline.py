"""What a plan reads of a record, in a fiftieth of the time that the whole takes: columns are left alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, ValidationError

from recgauntlet.core.card import TIERS, TaskCard, Tier
from recgauntlet.core.types import Surface
from recgauntlet.records.digest import COMPRESSED, decompress, parse_json
from recgauntlet.records.naturalness import NaturalnessModels
from recgauntlet.records.references import Environment, PluginRef, SuiteRef, TaskRef
from recgauntlet.records.schema import REMEDY, FirstPairs, RunRecord, TrainingCost
from recgauntlet.records.validate import parse_record


class _Some(BaseModel):
    """Some fields of a part of a record, which may have more."""

    model_config = ConfigDict(extra="ignore", frozen=True)


class TierOutline(_Some):
    """Of `TierOutcome`."""

    tier: Tier


class CurveOutline(_Some):
    """Of `CurvePoint`: that there was one."""


class ThreatOutline(_Some):
    """Of `ThreatOutcome`."""

    id: str
    surface: Surface
    applicable: bool
    tiers: tuple[TierOutline, ...]
    curve: tuple[CurveOutline, ...] = ()


class TrainingOutline(_Some):
    """Of `PoisonedTraining`: that there was one."""


class PoisoningOutline(_Some):
    """Of `TrainingDataOutcome`."""

    threat: str
    chosen: tuple[str, ...] | None
    trainings: tuple[TrainingOutline, ...] = ()
    seconds: float = 0.0


class RecordOutline(_Some):
    """What a `RunRecord` says of its cell and of what that took. The digest was not checked: of use where a wrong value
    costs no more than a cell that is run or not run."""

    schema_version: Literal[1, 2]
    status: Literal["ok", "failed"]
    task: TaskRef
    model: PluginRef
    defense: PluginRef
    suite: SuiteRef
    environment: Environment
    started: str
    finished: str
    threats: tuple[ThreatOutline, ...] = ()
    poisoning: tuple[PoisoningOutline, ...] = ()
    first_pairs: FirstPairs | None = None
    naturalness: NaturalnessModels | None = None
    cost: TrainingCost | None = None


def parse_outline(content: bytes, path: Path) -> RecordOutline | RunRecord:
    """The outline of the record in `content`, the bytes of the file `path`; the record itself where only reading all of
    it helps.

    Raises RecordError where the file is no record, is cut off, has another schema version, or is wrong in these fields.
    """
    text = decompress(content, path) if path.suffix == COMPRESSED else content
    try:
        return RecordOutline.model_validate_json(text)
    except ValidationError:
        return parse_record(parse_json(content, path, "a record", REMEDY), path)  # which says what is wrong


def lacks_high_tier(record: RecordOutline | RunRecord) -> bool:
    """Whether inputs were attacked at lower tiers alone."""
    return any(threat.applicable and TIERS[-1] not in {one.tier for one in threat.tiers} for threat in record.threats)


def lacks_curves(record: RecordOutline | RunRecord) -> bool:
    """Whether a threat to inputs has no security curve."""
    return any(threat.applicable and not threat.curve for threat in record.threats)


def lacks_threats(record: RecordOutline | RunRecord, card: TaskCard) -> tuple[str, ...]:
    """The threats to inputs of the record's `card` that were not run."""
    run = {threat.id for threat in record.threats}
    return tuple(threat.id for threat in card.threats if threat.id not in run)


def lacks_perplexities(record: RecordOutline | RunRecord) -> bool:
    """Whether texts were edited and nothing measured how natural they are."""
    edited = any(threat.applicable and threat.surface == "candidate-text" for threat in record.threats)
    return edited and (record.naturalness is None or bool(record.naturalness.reason))
