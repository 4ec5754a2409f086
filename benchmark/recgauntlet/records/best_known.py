"""The file of a best known attack: what a named attack breaks of a record's model, each broken input as evidence.

It stands beside the records and never in them: ranks come from the fixed suite alone. From the file, the weights and
the data, anyone rebuilds every input, checks it against the budget and scores it again
(`recgauntlet.runner.challenge`).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import numpy.typing as npt
from pydantic import Field

from recgauntlet.core.card import Goal, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.types import BoolArray, Surface
from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.digest import digest_of, load_json, to_bytes, validated
from recgauntlet.records.references import Environment, Part, PluginRef, SuiteRef, TaskRef
from recgauntlet.records.schema import AttackEffort, Evidence, RunRecord

SCHEMA_VERSION: Literal[1] = 1
KIND: Literal["best-known"] = "best-known"
REMEDY = "restore it from where it was published, or make it again with recgauntlet challenge"


class Challenged(Part):
    """The cell under attack. `digest` names the record whose outcomes were the start; the rest says what the evidence
    holds for: these weights, served by this defense, on this data."""

    digest: str
    task: TaskRef
    model: PluginRef
    defense: PluginRef
    seed: int
    weights_sha256: str
    suite: SuiteRef

    @classmethod
    def of(cls, record: RunRecord) -> Self:
        """The cell of `record`."""
        return cls(
            digest=record.digest,
            task=record.task,
            model=record.model,
            defense=record.defense,
            seed=record.seed,
            weights_sha256=record.weights_sha256,
            suite=record.suite,
        )

    def is_cell_of(self, record: RunRecord) -> bool:
        """Whether `record` is of this model and data. Its suite may be another one, and so may its digest:
        an input that fools the model does so whatever else was tried."""

        def cell(one: Challenged | RunRecord) -> tuple[object, ...]:
            return one.task, one.model.key, one.defense.key, one.seed, one.weights_sha256

        return bool(record.weights_sha256) and cell(self) == cell(record)


class Deltas(Part):
    """Changes of embeddings `[E, L, D]` (`shape`), example by example in the order of the evidence: `unit` times half
    floats. `unit` is a power of two, so that nothing is rounded when they are unfolded."""

    shape: tuple[int, int, int]
    unit: float = Field(gt=0)
    values: FloatColumn

    def unfold(self) -> npt.NDArray[np.float32]:
        """The changes `[E, L, D]`; RecordError where the column is broken."""
        return (self.values.to_float() * np.float32(self.unit)).reshape(self.shape)


class Challenge(Part):
    """The attack at one tier of one threat. `attacked` and `broken` are bits over the test examples; `robust` are the
    examples that the record's suite had left standing there. `violations` counts inputs that the verifier refused.
    `deltas` holds the evidence where embeddings move."""

    threat: str
    surface: Surface
    goal: Goal
    tier: Tier
    amount: float
    characters: int
    queries: int
    robust: BitColumn
    attacked: BitColumn
    broken: BitColumn
    violations: int = Field(ge=0)
    effort: AttackEffort
    error: str = ""
    deltas: Deltas | None = None


class BestKnown(Part):
    """What one attack found against one record. `evidence` has an entry for every broken example, in order of the
    outcomes and of the examples."""

    kind: Literal["best-known"] = KIND
    schema_version: Literal[1] = SCHEMA_VERSION
    challenged: Challenged
    attack: PluginRef
    examples: Literal["standing", "right"]
    """Which were attacked: those that still stood after the suite, or all that are right on the clean input."""
    environment: Environment
    started: str
    finished: str
    outcomes: tuple[Challenge, ...]
    evidence: tuple[Evidence, ...]
    digest: str = ""

    def sealed(self) -> BestKnown:
        """The same with its digest."""
        return self.model_copy(update={"digest": digest_of(self.model_dump(mode="json"))})

    def evidence_of(self, outcome: Challenge) -> tuple[Evidence, ...]:
        """The entries of one outcome."""
        return tuple(e for e in self.evidence if (e.threat, e.tier) == (outcome.threat, outcome.tier))


def write_best_known(found: BestKnown, path: Path) -> None:
    """Write `found` to `path` atomically; OutputError where the place cannot be written."""
    write_atomically(path, to_bytes(found.sealed()))


def read_best_known(path: Path) -> BestKnown:
    """Read and check a file.

    Raises RecordError where it is truncated, edited, of another schema version, or contradicts itself.
    """
    return parse_best_known(load_json(path, "a best known attack", REMEDY), path)


def parse_best_known(content: dict[str, Any], path: Path) -> BestKnown:
    """The content of the file `path`, checked; RecordError as `read_best_known`."""
    if not is_best_known(content):
        raise RecordError(
            "is no best known attack",
            where=path,
            field="kind",
            remedy="give a file that recgauntlet challenge wrote (recgauntlet show prints a record)",
        )
    found = validated(content, BestKnown, (SCHEMA_VERSION,), path, "run recgauntlet challenge again", REMEDY)
    _check(found, path)
    return found


def is_best_known(content: dict[str, Any]) -> bool:
    """Whether a JSON object says that it is one of these files."""
    return content.get("kind") == KIND


def _check(found: BestKnown, where: Path) -> None:
    """What the schema cannot say: no column contradicts another, and every broken example has its evidence."""

    def fault(field: str, problem: str) -> RecordError:
        return RecordError(problem, where=where, field=field, remedy=REMEDY)

    places = [(outcome.threat, outcome.tier) for outcome in found.outcomes]
    if len(set(places)) != len(places):
        raise fault("outcomes", "has one tier of a threat twice")
    strange = [entry for entry in found.evidence if (entry.threat, entry.tier) not in places]
    if strange:
        raise fault("evidence", f"names {strange[0].threat} ({strange[0].tier}), which was not attacked")
    sizes = {column.n for outcome in found.outcomes for column in (outcome.robust, outcome.attacked, outcome.broken)}
    if len(sizes) > 1:
        raise fault("outcomes", "has columns of different length")
    for outcome in found.outcomes:
        place = f"outcomes.{outcome.threat}.{outcome.tier}"
        entries = found.evidence_of(outcome)
        try:
            outcome.robust.to_bool()
            attacked, broken = outcome.attacked.to_bool(), outcome.broken.to_bool()
        except RecordError as error:
            raise fault(place, error.problem) from error
        if (broken & ~attacked).any():
            raise fault(f"{place}.broken", "has examples that were not attacked")
        if [entry.example for entry in entries] != np.flatnonzero(broken).tolist():
            raise fault(f"{place}.broken", "does not go with the evidence: each broken example has one entry, in order")
        if any(entry.attack != found.attack.name for entry in entries):
            raise fault("evidence", "names another attack")
        _check_deltas(outcome, len(entries), place, fault)


def _check_deltas(outcome: Challenge, count: int, place: str, fault: Any) -> None:
    if (outcome.deltas is not None) != (outcome.surface == "embedding" and count > 0):
        raise fault(f"{place}.deltas", "must be there exactly where embeddings were moved and examples broken")
    if outcome.deltas is None:
        return
    shape = outcome.deltas.shape
    if shape[0] != count or min(shape) < 0 or int(np.prod(shape)) != outcome.deltas.values.n:
        raise fault(f"{place}.deltas", f"is of shape {shape} for {count} broken examples")
    try:
        outcome.deltas.unfold()
    except RecordError as error:
        raise fault(f"{place}.deltas", error.problem) from error


def broken_up_to(found: BestKnown, threat: str, tier: Tier, tiers: tuple[Tier, ...]) -> BoolArray | None:
    """Bits over the test examples: broken under `threat` at `tier` or below, where budgets are smaller; None where the
    file has nothing on them."""
    below = tiers[: tiers.index(tier) + 1]
    bits = [o.broken.to_bool() for o in found.outcomes if o.threat == threat and o.tier in below]
    return np.logical_or.reduce(bits) if bits else None
