"""What is new, gone or changed from one release to another, row by row."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

from recgauntlet.leaderboard.release.summary import differing, key_of, summary_of
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.manifest import SummaryRow
from recgauntlet.records.release import Release

Pair = tuple[SummaryRow | None, SummaryRow | None]
FORMAT = "recgauntlet-release-diff-1"


@dataclass(frozen=True)
class RowChange:
    """A row that is only in the second release (new), only in the first (gone), or differs in `fields`."""

    kind: Literal["new", "gone", "changed"]
    was: SummaryRow | None
    now: SummaryRow | None
    fields: tuple[str, ...] = ()

    @property
    def row(self) -> SummaryRow:
        """The row, as it is now where it is still there."""
        row = self.now or self.was
        assert row is not None  # one of them is
        return row


@dataclass(frozen=True)
class SettingChange:
    """A task whose numbers in the two releases may not be compared, and why."""

    task: str
    track: str
    why: str


@dataclass(frozen=True)
class ReleaseDiff:
    """From the release `first` to `second`: the rows that differ, how many are the same, and the tasks that were
    measured in another setting, so that their numbers cannot be compared."""

    first: str
    second: str
    settings: tuple[SettingChange, ...]
    changes: tuple[RowChange, ...]
    same: int

    def to_json(self) -> dict[str, Any]:
        """For other programs."""
        return {
            "format": FORMAT,
            "first": self.first,
            "second": self.second,
            "not_comparable": [asdict(setting) for setting in self.settings],
            "same": self.same,
            "changes": [
                {
                    "kind": change.kind,
                    "fields": list(change.fields),
                    "was": None if change.was is None else change.was.model_dump(mode="json"),
                    "now": None if change.now is None else change.now.model_dump(mode="json"),
                }
                for change in self.changes
            ],
        }


def diff_releases(first: Release, second: Release) -> ReleaseDiff:
    """The differences; RecordError if an unfrozen directory mixes records that are not comparable."""
    was, old = summary_of(first)
    now, new = summary_of(second)
    pairs = _pairs(was, now)
    changes = []
    for before, after in pairs:
        if before is None or after is None:
            changes.append(RowChange("new" if before is None else "gone", before, after))
        elif fields := differing(before, after):
            changes.append(RowChange("changed", before, after, fields))
    return ReleaseDiff(first.name, second.name, _settings(old, new), tuple(changes), len(pairs) - len(changes))


def _pairs(was: Sequence[SummaryRow], now: Sequence[SummaryRow]) -> list[Pair]:
    """The rows of both in order of the second, those that are gone last. Rows that only another version of a plugin
    tells apart are paired in the order of the versions."""
    before = defaultdict(list)
    for row in sorted(was, key=_versions):
        before[key_of(row)].append(row)
    partner: dict[int, SummaryRow] = {}
    for row in sorted(now, key=_versions):
        if before[key_of(row)]:
            partner[id(row)] = before[key_of(row)].pop(0)
    left = {id(row) for rows in before.values() for row in rows}
    pairs: list[Pair] = [(partner.get(id(row)), row) for row in now]
    pairs += [(row, None) for row in was if id(row) in left]
    return pairs


def _versions(row: SummaryRow) -> tuple[str, str]:
    return (row.model.version, row.defense.version)


def _settings(old: Sequence[EvaluationSetting], new: Sequence[EvaluationSetting]) -> tuple[SettingChange, ...]:
    known = {(setting.task, setting.track): setting for setting in old}
    return tuple(
        SettingChange(setting.task, setting.track, "; ".join(unlike))
        for setting in new
        if (other := known.get((setting.task, setting.track))) and (unlike := setting.unlike(other))
    )
