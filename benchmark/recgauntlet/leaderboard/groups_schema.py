"""What a row has of groups of users and items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.metrics.groups import Gap, GapChange
from recgauntlet.metrics.significance import LEVEL
from recgauntlet.records.groups import GroupingName

Measure = Literal["clean", "robust", "exposure"]
MEASURES: tuple[Measure, ...] = ("clean", "robust", "exposure")


@dataclass(frozen=True)
class GroupLine:
    """A group by its bounds: its test pairs, and its clean and robust accuracy, None where it has too few pairs.
    `exposure` is the share of the first ten places of lists of all items that go to its items."""

    least: int
    most: int
    pairs: int
    clean: Estimate | None
    robust: Estimate | None
    exposure: Annotated[Estimate | None, Field(exclude_if=lambda found: found is None)] = None


@dataclass(frozen=True)
class TwinGap:
    """The gap between two groups, numbers of lines, in the row and in its undefended twin (`other`), on their common
    `seeds` and pairs; `holm` is the p of `change`, corrected for all gaps of the row that are compared."""

    seeds: tuple[int, ...]
    change: GapChange
    holm: float

    @property
    def told_apart(self) -> bool:
        """Whether the gap is wider or narrower than the twin's, by the corrected p."""
        return self.holm <= LEVEL


@dataclass(frozen=True)
class GroupGap:
    """The largest gap between groups of one measure, and beside the twin; None there with fewer than three common
    seeds, for twins, and where the twin has no such groups. `gap.best` and `gap.worst` are numbers of lines."""

    measure: Measure
    gap: Gap
    beside_twin: TwinGap | None = None


@dataclass(frozen=True)
class Groups:
    """A grouping of the test pairs of a row. `threat` is the row's worst ranked threat, under which `robust` is at the
    medium tier; None where it has none."""

    name: GroupingName
    threat: str | None
    lines: tuple[GroupLine, ...]
    gaps: tuple[GroupGap, ...]

    def gap(self, measure: Measure) -> GroupGap | None:
        """The gap of a measure; None where fewer than two groups have it."""
        return next((one for one in self.gaps if one.measure == measure), None)
