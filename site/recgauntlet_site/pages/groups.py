"""Fairness on the page of a row: one table a grouping, and its gaps in words."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from recgauntlet.leaderboard.groups_schema import GroupGap, GroupLine, Groups, TwinGap
from recgauntlet.leaderboard.schema import Row
from recgauntlet.metrics.significance import LEVEL, p_text
from recgauntlet.records.groups import TITLES
from recgauntlet.records.user_groups import TITLES as USER_TITLES
from recgauntlet_site.format import percent

_UNIT = {"activity": "items of the user in training", "history": "items", "popularity": "users of the item in training"}
_TITLES = {str(name): title for name, title in (*TITLES.items(), *USER_TITLES.items())}
_RECORDED = "as the data set records it"


class GroupTable(NamedTuple):
    """A grouping of a row: its heading, its groups by name, and sentences on its gaps."""

    title: str
    groups: Groups
    lines: tuple[tuple[str, GroupLine], ...]
    sentences: tuple[str, ...]

    @property
    def exposure(self) -> bool:
        """Whether the grouping has exposure."""
        return any(line.exposure is not None for _, line in self.lines)

    @property
    def by_user(self) -> bool:
        """Whether the groups are of users, by an attribute."""
        return any(line.users is not None for _, line in self.lines)


def group_tables(row: Row) -> list[GroupTable]:
    """The groupings of a row, in the order of its records."""
    return [_table(groups) for groups in row.groups]


def _table(groups: Groups) -> GroupTable:
    names = groups.names
    return GroupTable(
        f"By {_TITLES[groups.name]} ({_UNIT.get(groups.name, _RECORDED)})",
        groups,
        tuple(zip(names, groups.lines, strict=True)),
        tuple(_sentences(groups, names)),
    )


def _sentences(groups: Groups, names: list[str]) -> Iterator[str]:
    for gap in groups.gaps:
        text = _gap(groups, gap, names)
        yield text if gap.beside_twin is None else f"{text} {_beside(gap.beside_twin, names)}"


def _gap(groups: Groups, found: GroupGap, names: list[str]) -> str:
    what = {"clean": "Clean accuracy", "robust": f"Robust accuracy under {groups.threat}", "exposure": "Exposure"}
    gap = found.gap
    best, worst = (percent(getattr(groups.lines[number], found.measure).value) for number in (gap.best, gap.worst))
    sure = "" if gap.p <= LEVEL else ": equal groups may differ so by chance"
    return (
        f"{what[found.measure]}: largest gap {percent(gap.gap.value)} points ({percent(gap.gap.low)} to "
        f"{percent(gap.gap.high)}), {best} % with {names[gap.best]} against {worst} % with {names[gap.worst]}{sure}."
    )


def _beside(found: TwinGap, names: list[str]) -> str:
    change = found.change
    wider, low, high = change.wider.value, change.wider.low, change.wider.high
    word = "wider"
    if wider < 0:
        wider, low, high, word = -wider, -high, -low, "narrower"
    sure = "" if found.told_apart else "; this may be chance"
    return (
        f"Between {names[change.best]} and {names[change.worst]} the gap is {_points(change.own)} points, and "
        f"{_points(change.other)} in the undefended twin: {_points(wider)} points {word} ({_points(low)} to "
        f"{_points(high)}; {p_text(found.holm)} corrected for all gaps of the row{sure})."
    )


def _points(difference: float) -> str:
    """A difference of two shares in points, with a sign where it is negative: a true minus."""
    return f"{100 * difference:.1f}".replace("-", "−")
