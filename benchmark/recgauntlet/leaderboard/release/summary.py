"""The summary of a release: one line of numbers a row, taken from the tables that the page is made of."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import TypeVar

from recgauntlet.core.errors import RecordError
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.manifest import RANKS, Counts, FrozenTask, SummaryRow
from recgauntlet.records.release import Release
from recgauntlet.records.schema import RunRecord

Thing = TypeVar("Thing")
INTERVAL_TOLERANCE = 5e-3
"""How far a bound of an interval may lie from that of the same row elsewhere. Bounds are quantiles of 2,000 draws, and
NumPy does not promise the same draws for ever; means are not drawn, and must be the same."""
_SAME = 1e-9


def summary_rows(tables: Sequence[TaskTable]) -> tuple[SummaryRow, ...]:
    """The rows of the tables, in their order. Every number is a table's."""
    return tuple(
        SummaryRow(
            task=table.task,
            track=table.track,
            model=row.model.key,
            defense=row.defense.key,
            rank=row.rank,
            clean=row.clean,
            worst=row.worst,
            robust=None if row.worst_cell is None else row.worst_cell.robust,
            seeds=row.seeds,
            flags=tuple(flag.title for flag in row.flags),
            pairs=row.first_pairs and row.first_pairs.pairs,
        )
        for table in tables
        for row in table.rows
    )


def summary_of(release: Release) -> tuple[tuple[SummaryRow, ...], tuple[EvaluationSetting, ...]]:
    """The rows of a release and the settings of its tasks: the manifest's, or computed from the records of a directory
    that is not frozen, or was frozen with another rule of ranks.

    Raises RecordError where such a directory mixes settings of one task, so that there is no single ranking.
    """
    if release.manifest is not None and release.manifest.ranks == RANKS:
        return release.manifest.summary, tuple(task.setting for task in release.manifest.tasks)
    records = [record for _, record in release.results.records]
    mixed = mixed_settings(records)
    if mixed:
        raise RecordError(
            "holds records that may not stand in one ranking: " + "; ".join(mixed.values()),
            where=release.directory,
            remedy="give a directory with records of one version of each task, its data and the suite",
        )
    return summary_rows(build_table(records)), tuple(task.setting for task in frozen_tasks(records))


def count(records: Sequence[RunRecord], best_known: int, explanations: int, rows: Sequence[SummaryRow]) -> Counts:
    """The counts of a manifest."""
    failed = sum(record.status == "failed" for record in records)
    return Counts(records=len(records), failed=failed, best_known=best_known, explanations=explanations, rows=len(rows))


def mixed_settings(records: Sequence[RunRecord]) -> dict[int, str]:
    """The records (by their index) that were measured in another setting than most records of their task, or with
    another suite than most of all records, and how they differ."""
    settings = [EvaluationSetting.of(record) for record in records]
    tasks: dict[tuple[str, str], list[EvaluationSetting]] = defaultdict(list)
    for setting in settings:
        tasks[setting.task, setting.track].append(setting)
    suite = _most([setting.suite for setting in settings]) if settings else None
    usual = {key: _usual(found, suite) for key, found in tasks.items()}
    found = {}
    for place, setting in enumerate(settings):
        home = usual[setting.task, setting.track]
        if unlike := setting.unlike(home):
            found[place] = "; ".join(unlike)
        elif setting.suite != suite and suite is not None:
            found[place] = (
                f"another attack suite than most ({setting.suite.id} {setting.suite.version}, not {suite.id} "
                f"{suite.version}, fingerprint {suite.fingerprint[:12]})"
            )
    return found


def frozen_tasks(records: Iterable[RunRecord]) -> tuple[FrozenTask, ...]:
    """The setting of each task and how many records stand on it, in order; `mixed_settings` must be empty."""
    tasks: dict[tuple[str, str], list[EvaluationSetting]] = defaultdict(list)
    for record in records:
        setting = EvaluationSetting.of(record)
        tasks[setting.task, setting.track].append(setting)
    return tuple(FrozenTask.of(_usual(found, None), len(found)) for _, found in sorted(tasks.items()))


def key_of(row: SummaryRow) -> tuple[str, ...]:
    """What makes a row the same row in another release: the task, the plugins with their options, and the number of
    test pairs. Versions and sources of the plugins may differ."""
    plugins = [plugin.model_dump(exclude={"version", "source"}) for plugin in (row.model, row.defense)]
    return (row.task, row.track, *(json.dumps(plugin, sort_keys=True) for plugin in plugins), str(row.pairs or ""))


def row_name(row: SummaryRow) -> str:
    """ "news-click: nrms + pgd"."""
    track = "" if row.track == "standard" else f" ({row.track})"
    return f"{row.task}{track}: {plugins_of(row)}"


def plugins_of(row: SummaryRow) -> str:
    """ "nrms + pgd"."""
    return f"{row.model.name} + {row.defense.name}"


def differing(was: SummaryRow, now: SummaryRow) -> tuple[str, ...]:
    """The fields in which two rows differ; means by more than rounding, bounds by more than INTERVAL_TOLERANCE."""
    return tuple(name for name in SummaryRow.model_fields if not _alike(getattr(was, name), getattr(now, name)))


def _alike(was: object, now: object) -> bool:
    if isinstance(was, Estimate) and isinstance(now, Estimate):
        bounds = max(abs(was.low - now.low), abs(was.high - now.high))
        return abs(was.value - now.value) <= _SAME and bounds <= INTERVAL_TOLERANCE
    return was == now


def _usual(settings: Sequence[EvaluationSetting], suite: object) -> EvaluationSetting:
    """The setting of most; those that know their examples, and have the suite, come first."""
    known = [setting for setting in settings if setting.examples_fingerprint] or list(settings)
    return _most([setting for setting in known if suite is None or setting.suite == suite] or known)


def _most(things: Sequence[Thing]) -> Thing:
    return max(dict.fromkeys(things), key=lambda thing: (things.count(thing), repr(thing)))
