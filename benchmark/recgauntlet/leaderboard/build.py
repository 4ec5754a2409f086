"""The leaderboard's tables: run records in, rows of estimates out, for every renderer to draw from.

One table holds records that may be compared: the same task, version, track, card, data, attack suite and test
examples. Every number is computed from the records' per-example outcomes. See docs/results/leaderboard.md for how
rows are ranked, and why some are not.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np

from recgauntlet.core.card import RANKING_TIER, TIERS
from recgauntlet.leaderboard.ads import ads_of
from recgauntlet.leaderboard.aggregate import among_all_items, cost, outcomes, quality
from recgauntlet.leaderboard.decoded import DecodedRecord
from recgauntlet.leaderboard.flags import other_source, policy_threats, row_flags
from recgauntlet.leaderboard.groups import with_groups
from recgauntlet.leaderboard.paired import Quantity, joint_draws, standings
from recgauntlet.leaderboard.poisoning import poisoning_of, with_poisoning_ranks
from recgauntlet.leaderboard.schema import (
    FailedCell,
    Policy,
    Row,
    Source,
    TaskTable,
    ThreatCells,
    ThreatColumn,
    TierBudget,
)
from recgauntlet.records.comparability import EvaluationSetting
from recgauntlet.records.schema import RunRecord, ThreatOutcome


def build_table(records: Iterable[RunRecord]) -> tuple[TaskTable, ...]:
    """The tables of `records`, standard track first, whatever order they come in.

    The records must have passed `check_record`, as those of `recgauntlet.records.io.read_records` have. Records that
    may not be compared (`recgauntlet.records.comparability`) are never in one table, so never in one ranking: `apart`
    gives the reasons. Of two records of one cell, a finished one counts before a failed one, then the one that finished
    last; the row is flagged. A failed cell is in the table of its setting, even where it failed too early to know
    its data; where there is no such table it gets one without rows.
    """
    sealed = [record if record.digest else record.sealed() for record in records]
    finished: dict[EvaluationSetting, list[RunRecord]] = defaultdict(list)
    failed: dict[EvaluationSetting, list[RunRecord]] = defaultdict(list)
    in_order = sorted(sealed, key=lambda record: record.digest)
    for record in in_order:
        if record.clean is not None:
            finished[EvaluationSetting.of(record)].append(record)
    for record in in_order:
        if record.clean is None:
            setting = EvaluationSetting.of(record)
            homes = sorted((known for known in finished if not setting.unlike(known)), key=_setting_order)
            failed[homes[0] if homes else setting].append(record)
    settings = sorted({*finished, *failed}, key=_setting_order)
    return tuple(_table(setting, finished[setting], failed[setting]) for setting in settings)


def apart(table: TaskTable, tables: Sequence[TaskTable]) -> list[tuple[int, tuple[str, ...]]]:
    """The indices of the other `tables` of the same task and track, with the reasons why they are not one table."""
    return [
        (place, table.setting.unlike(other.setting))
        for place, other in enumerate(tables)
        if other is not table and (other.task, other.track) == (table.task, table.track)
    ]


def _setting_order(setting: EvaluationSetting) -> tuple[object, ...]:
    return (
        setting.track != "standard",
        setting.task,
        setting.version,
        setting.fingerprint,
        setting.data_fingerprint,
        setting.suite.fingerprint,
        setting.examples_fingerprint,
        repr(setting),
    )


def _table(setting: EvaluationSetting, finished: Sequence[RunRecord], failed: Sequence[RunRecord]) -> TaskTable:
    cells: dict[str, list[RunRecord]] = defaultdict(list)
    for record in [*finished, *failed]:
        cells[_plugins_of(record)].append(record)
    table = TaskTable(
        **vars(setting),
        examples=max(map(_examples_of, finished), default=0),
        impressions=max(map(_impressions_of, finished), default=0),
        threats=_columns(finished),
        rows=(),
        failed=(),
    )
    rows: list[Row] = []
    behind: list[list[RunRecord]] = []  # the records of each row
    lost: list[RunRecord] = []
    for key in sorted(cells):
        done, without, doubled = _one_a_seed(cells[key])
        lost += without
        if done:
            rows.append(_row(done, [record.seed for record in without], doubled, table))
            behind.append(done)
    rows = with_groups([_with_program(row, rows) for row in rows], table)
    if table.ranked:
        rows = with_poisoning_ranks(_with_ranks(rows, behind), behind)
    return replace(
        table, rows=tuple(sorted(rows, key=_row_order)), failed=tuple(_failed_cell(record) for record in lost)
    )


def _examples_of(record: RunRecord) -> int:
    """The test examples of the record's task, attacked or not."""
    if record.first_pairs is not None:
        return 2 * record.first_pairs.all_pairs
    return record.clean.labels.n if record.clean else 0


def _impressions_of(record: RunRecord) -> int:
    if record.first_pairs is not None:
        return record.first_pairs.all_impressions
    return len(record.clean.impression_sizes) if record.clean else 0


def _row(finished: Sequence[RunRecord], lost: Sequence[int], doubled: Sequence[int], table: TaskTable) -> Row:
    """The row of `finished` records, one a seed, still without a rank. `lost` are the seeds that failed, `doubled`
    those with several records."""
    decoded = [DecodedRecord(record) for record in finished]
    clean, clean_by_seed, threats = outcomes(decoded, table.threats)
    policy = _policy(finished, threats)
    if policy is not None:  # what is kept by refusing is no robustness
        refusing = policy_threats(finished[0])
        threats = tuple(replace(cells, cells=()) if cells.threat in refusing else cells for cells in threats)
    ranked = {column.id for column in table.threats if column.ranked}
    at_rank = [
        (cell.robust.value, cells.threat)
        for cells in threats
        if cells.threat in ranked and (cell := cells.at(RANKING_TIER)) is not None
    ]
    return Row(
        model=finished[0].model,
        defense=finished[0].defense,
        rank=None,
        clean=clean,
        threats=threats,
        worst=min(at_rank)[1] if at_rank else None,
        quality=quality(decoded),
        popular_quality=quality(decoded, popular=True) if all(one.clean.popular for one in decoded) else None,
        catalog_quality=among_all_items(decoded),
        cost=cost(finished),
        flags=row_flags(finished, lost, doubled, ranked=table.ranked),
        sources=tuple(
            Source(r.seed, r.digest, r.environment.device, r.environment.recgauntlet, r.environment.commit)
            for r in finished
        ),
        clean_by_seed=clean_by_seed,
        policy=policy,
        ads=ads_of(finished),
        poisoning=poisoning_of(finished),
        first_pairs=finished[0].first_pairs,
        records=tuple(finished),
    )


def _policy(records: Sequence[RunRecord], threats: Sequence[ThreatCells]) -> Policy | None:
    """What the policy of the records' defense does; None where it states none, or was not attacked by text."""
    refusing = [under for under in threats if under.threat in policy_threats(records[0])]
    cells = [(cell.robust, under.threat) for under in refusing if (cell := under.at(RANKING_TIER))]
    if not cells:
        return None
    kept, worst = min(cells, key=lambda found: (found[0].value, found[1]))
    lost = [
        gate.value for r in records for gate in r.gates if (gate.name, gate.threat) == ("edits-are-not-refused", worst)
    ]
    return Policy(records[0].defense.policy, worst, kept, 1.0 - float(np.mean(lost)) if lost else None)


def _with_program(row: Row, rows: Sequence[Row]) -> Row:
    """The row, flagged where another row differs from it by the source of its plugins alone."""
    own = _plugins_of(row, source=False)
    if sum(_plugins_of(other, source=False) == own for other in rows) == 1:
        return row
    return replace(row, flags=(*row.flags, other_source(row.model, row.defense)))


def _columns(records: Iterable[RunRecord]) -> tuple[ThreatColumn, ...]:
    """The threats of the records: ranked ones first, then by name. The budgets are those of a model that reads the
    surface."""
    found: dict[str, ThreatColumn] = {}
    for record in records:
        for threat in record.threats:
            known = found.get(threat.id)
            if known is None or len(known.budgets) < len(threat.tiers):
                found[threat.id] = _column(threat)
    return tuple(sorted(found.values(), key=lambda column: (not column.ranked, column.id)))


def _column(threat: ThreatOutcome) -> ThreatColumn:
    budgets = tuple(
        TierBudget(outcome.tier, outcome.amount, outcome.characters, outcome.queries)
        for outcome in sorted(threat.tiers, key=lambda outcome: TIERS.index(outcome.tier))
    )
    return ThreatColumn(threat.id, threat.surface, threat.goal, threat.ranked, budgets)


def _one_a_seed(
    records: Iterable[RunRecord],
) -> tuple[list[RunRecord], list[RunRecord], tuple[int, ...]]:
    """The finished records and the failed ones, one a seed, and the seeds of which there was more than one
    record."""
    by_seed: dict[int, dict[str, RunRecord]] = defaultdict(dict)
    for record in records:
        by_seed[record.seed][record.digest] = record
    chosen = [max(same.values(), key=lambda record: record.age) for _, same in sorted(by_seed.items())]
    doubled = tuple(seed for seed, same in sorted(by_seed.items()) if len(same) > 1)
    finished = [record for record in chosen if record.status == "ok"]
    return finished, [record for record in chosen if record.status == "failed"], doubled


def _with_ranks(rows: Sequence[Row], records: Sequence[Sequence[RunRecord]]) -> list[Row]:
    """The rows, those that may be ranked with their ranks; `records` are those behind each row."""
    able = {
        number: (row.worst_cell.robust.value, records[number], Quantity(row.worst))
        for number, row in enumerate(rows)
        if row.worst is not None and row.worst_cell is not None and not any(flag.blocks_rank for flag in row.flags)
    }
    if not able:
        return list(rows)
    values, behind, wanted = zip(*able.values(), strict=True)
    found = list(rows)
    for number, (rank, place) in zip(able, standings(values, behind, wanted, joint_draws), strict=True):
        found[number] = replace(rows[number], rank=rank, rank_range=place)
    return found


def _row_order(row: Row) -> tuple[object, ...]:
    """By rank and robust accuracy; unranked rows last, by name, the undefended twin before the defended."""
    place = (np.inf, 0.0)
    if row.rank is not None and row.worst_cell is not None:
        place = (row.rank, -row.worst_cell.robust.value)
    return (*place, row.model.name, row.defense.name != "standard", row.defense.name, _plugins_of(row))


def _failed_cell(record: RunRecord) -> FailedCell:
    failure = record.failure
    return FailedCell(
        record.model.name,
        record.defense.name,
        record.seed,
        failure.kind if failure else "unknown",
        failure.stage if failure else "unknown",
        failure.message if failure else "",
        record.digest,
    )


def _plugins_of(cell: RunRecord | Row, *, source: bool = True) -> str:
    """What the records of one row share: the plugins, and the number of test pairs where these are not all."""
    left_out = set() if source else {"source"}
    plugins = [ref.key.model_dump(exclude=left_out) for ref in (cell.model, cell.defense)]
    return json.dumps([*plugins, cell.first_pairs and cell.first_pairs.pairs], sort_keys=True)
