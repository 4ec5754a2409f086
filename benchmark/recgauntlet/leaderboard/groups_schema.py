"""What a row has of groups of users and items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field

from recgauntlet.core.dataset import AttributeName
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.metrics.groups import Gap, GapChange
from recgauntlet.metrics.significance import LEVEL
from recgauntlet.records.groups import GroupingName, group_name

Measure = Literal["clean", "robust", "exposure"]
MEASURES: tuple[Measure, ...] = ("clean", "robust", "exposure")


@dataclass(frozen=True)
class GroupLine:
    """A group by its bounds, or by an attribute of users, then with its `label` and number of `users`: its test pairs,
    and its clean and robust accuracy, None where it has too few pairs. `exposure` is the share of the first ten places
    of lists of all items that go to its items."""

    least: Annotated[int | None, Field(exclude_if=lambda found: found is None)]
    most: Annotated[int | None, Field(exclude_if=lambda found: found is None)]
    pairs: int
    clean: Estimate | None
    robust: Estimate | None
    exposure: Annotated[Estimate | None, Field(exclude_if=lambda found: found is None)] = None
    label: Annotated[str, Field(exclude_if=lambda found: not found)] = ""
    users: Annotated[int | None, Field(exclude_if=lambda found: found is None)] = None


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

    name: GroupingName | AttributeName
    threat: str | None
    lines: tuple[GroupLine, ...]
    gaps: tuple[GroupGap, ...]

    def gap(self, measure: Measure) -> GroupGap | None:
        """The gap of a measure; None where fewer than two groups have it."""
        return next((one for one in self.gaps if one.measure == measure), None)

    @property
    def names(self) -> list[str]:
        """The groups in words."""
        if self.name == "age" or self.name == "gender":
            return [line.label for line in self.lines]
        return [group_name(self.name, line.least or 0, line.most or 0) for line in self.lines]
