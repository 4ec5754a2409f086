"""A release as a pandas DataFrame, for analyses of one's own: `recgauntlet.load`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recgauntlet.core.card import TIERS, Tier
from recgauntlet.leaderboard.address import Board, RowAt, open_board, row_id
from recgauntlet.leaderboard.ads import kept_by_tier
from recgauntlet.leaderboard.dataframe_columns import COLUMNS as COLUMNS
from recgauntlet.leaderboard.dataframe_columns import EXAMPLE_COLUMNS as EXAMPLE_COLUMNS
from recgauntlet.leaderboard.decoded import DecodedRecord
from recgauntlet.leaderboard.naturalness import edits_by_example, edits_up_to
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.metrics import ranking as metrics
from recgauntlet.records.ads import AdOutcome
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.records.ranking_quality import catalog_quality, ranking_quality
from recgauntlet.records.release import ROOT
from recgauntlet.records.schema import RunRecord, ThreatOutcome, TierOutcome, robust_accuracy

if TYPE_CHECKING:
    import pandas as pd


def load(release: str | Path, *, examples: bool = False, root: Path = ROOT) -> pd.DataFrame:
    """The results of `release`, its name or the path of its directory, as a tidy DataFrame.

    One row a (task, track, model, defense, seed, threat, tier), described by `COLUMNS`. Clean accuracy stands in
    every row of its cell, so that clean and robust accuracy can be compared without a join: take one row a cell before
    you average it. Seeds are not averaged. A failed cell has one row with `status` "failed" and no threat; a surface
    that a model does not read has rows without a robust accuracy, never with 1. Of two records of one cell the one that
    the leaderboard counts is taken.

    With `examples`, one row a test example under each threat and tier instead (`EXAMPLE_COLUMNS`): the outcomes
    that every number is computed from. Failed cells and unread surfaces have none.

    Warns for every file that cannot be read. Raises RecordError where there is no such release or no record in it.
    """
    board = open_board(release, root)
    for path, error in board.results.broken:
        warnings.warn(f"{path} is left out: {error.problem}", stacklevel=2)
    return examples_of(board) if examples else cells_of(board)


def cells_of(board: Board) -> pd.DataFrame:
    """One row a cell, threat and tier of a board, as of `load`."""
    import pandas as pd

    lines = [line for table in board.tables for line in _table_lines(board, table)]
    return pd.DataFrame({c.name: pd.array([line.get(c.name) for line in lines], dtype=c.dtype) for c in COLUMNS})


def examples_of(board: Board) -> pd.DataFrame:
    """One row a test example under each threat and tier of a board, as of `load`."""
    import pandas as pd

    parts = [part for table in board.tables for row in table.rows for part in _example_frames(board, table, row)]
    dtypes = {column.name: column.dtype for column in EXAMPLE_COLUMNS}
    return (pd.concat(parts, ignore_index=True) if parts else pd.DataFrame(columns=[*dtypes])).astype(dtypes)


def _table_lines(board: Board, table: TaskTable) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        for record in RowAt(board, table, row).records:
            cell: dict[str, Any] = (
                _cell(board, table, record) | _source(table, record) | _whole(record) | {"row": row_id(table, row)}
            )
            decoded = DecodedRecord(record)
            for threat in record.threats:
                for tier in TIERS:
                    outcome = record.tier(threat.id, tier)
                    if outcome is not None or not threat.applicable:
                        yield cell | _under(threat, outcome, decoded) | _at(record, threat.id, tier)
            for ads in record.ads:
                if ads.draw == 0:
                    yield from (cell | line for line in _ads(ads))
            for poisoned in record.poisoning:
                yield from (cell | line for line in _poisoned(poisoned))
    for lost in table.failed:
        record = board.records[lost.digest]
        yield _cell(board, table, record) | _source(table, record)


def _cell(board: Board, table: TaskTable, record: RunRecord) -> dict[str, Any]:
    return {
        "release": board.name,
        "task": table.task,
        "track": table.track,
        "model": record.model.name,
        "defense": record.defense.name,
        "seed": record.seed,
    }


def _source(table: TaskTable, record: RunRecord) -> dict[str, Any]:
    """Versions, options and hashes of a cell."""
    return {
        "status": record.status,
        "model_version": record.model.version,
        "model_hyperparameters": json.dumps(record.model.hyperparameters, sort_keys=True),
        "defense_version": record.defense.version,
        "defense_hyperparameters": json.dumps(record.defense.hyperparameters, sort_keys=True),
        "task_version": table.version,
        "suite": f"{table.suite.id} {table.suite.version}",
        "task_fingerprint": table.fingerprint,
        "data_fingerprint": record.task.data_fingerprint,
        "suite_fingerprint": table.suite.fingerprint,
        "examples_fingerprint": table.examples_fingerprint,
        "device": record.environment.device,
        "record": record.digest,
    }


def _whole(record: RunRecord) -> dict[str, Any]:
    """What a finished cell has once, whatever the threat."""
    decoded, cost = DecodedRecord(record), record.cost
    popular = ranking_quality(decoded.clean, popular=True) if decoded.clean.popular else None
    catalog = catalog_quality(decoded.clean.catalog) if decoded.clean.catalog else None
    return {
        "clean_accuracy": float(decoded.correct.mean()),
        "examples": len(decoded.correct),
        "auc": metrics.auc(decoded.labels, decoded.scores),
        "ndcg10": float(decoded.ndcg10.mean()),
        "auc_popular": popular and popular.auc,
        "ndcg10_popular": popular and popular.ndcg10,
        "recall10_catalog": catalog and catalog.recall10,
        "ndcg10_catalog": catalog and catalog.ndcg10,
        "failed_gates": ";".join(dict.fromkeys(gate.name for gate in record.gates if not gate.passed)),
        "training_seconds": cost and cost.seconds,
        "training_flops": cost and cost.flops,
        "seconds_ratio": cost and cost.seconds_ratio,
        "flops_ratio": cost and cost.flops_ratio,
        "peak_memory_bytes": cost and cost.peak_memory_bytes,
        "parameters": cost and cost.parameters,
    }


def _under(threat: ThreatOutcome, outcome: TierOutcome | None, decoded: DecodedRecord) -> dict[str, Any]:
    found: dict[str, Any] = {
        "threat": threat.id,
        "surface": threat.surface,
        "goal": threat.goal,
        "ranked": threat.ranked,
        "applicable": threat.applicable,
    }
    if outcome is None:
        return found
    robust, clean = robust_accuracy(outcome), float(decoded.correct.mean())
    attackable = decoded.attackable(threat.goal)
    shares = np.array([[attackable.mean()], [(attackable & outcome.robust.to_bool()).mean()]])
    return found | {
        "robust_accuracy": robust,
        "retained": robust / clean if clean > 0 else 0.0,
        "attack_success": float(metrics.attack_success(*shares)[0]) if attackable.any() else None,
        "amount": outcome.amount,
        "characters": outcome.characters,
        "queries": outcome.queries,
        "violations": sum(attack.violations for attack in outcome.attacks),
        "attack_seconds": sum(attack.effort.seconds for attack in outcome.attacks),
        **edits_up_to(threat, outcome.tier),
    }


def _ads(outcome: AdOutcome) -> Iterator[dict[str, Any]]:
    """Simulated ads, tier by tier: robust accuracy is that of pairs of a user and an ad on the clean list."""
    about = {
        "threat": outcome.threat,
        "surface": "history",
        "goal": "suppress-set",
        "ranked": False,
        "applicable": outcome.applicable,
    }
    if not outcome.applicable:
        yield from (about | {"tier": tier} for tier in TIERS)
    for tier, (exposure, accuracy) in zip(outcome.tiers, kept_by_tier(outcome), strict=True):
        yield about | {
            "tier": tier.tier,
            "exposure_kept": exposure,
            "robust_accuracy": accuracy,
            "amount": float(tier.edits),
            "characters": 0,
            "queries": tier.queries,
            "violations": sum(attack.violations for attack in tier.attacks),
            "attack_seconds": sum(attack.effort.seconds for attack in tier.attacks),
        }


def _poisoned(outcome: TrainingDataOutcome) -> Iterator[dict[str, Any]]:
    """Attacks on training data, tier by tier: robust accuracy is that of pairs of a test click and a target."""
    about = {
        "threat": outcome.threat,
        "surface": "training-data",
        "goal": "promote",
        "ranked": outcome.ranked,
        "applicable": outcome.clean is not None,
    }
    for tier in TIERS:
        pairs = outcome.robust_pairs(tier)
        if pairs is None:
            if outcome.clean is None:
                yield about | {"tier": tier}
            continue
        trained = [one for one in outcome.up_to(tier) if one.tier == tier]
        yield about | {
            "tier": tier,
            "robust_accuracy": pairs.accuracy(),
            "amount": float(max(one.accounts for one in trained)),
            "violations": sum(bool(one.faults) for one in trained),
            "attack_seconds": sum(one.outcome.seconds for one in trained if not one.faults),
        }


def _at(record: RunRecord, threat: str, tier: Tier) -> dict[str, Any]:
    proved = record.proved(threat, tier)
    return {"tier": tier, "certified_accuracy": None if proved is None else float(proved.mean())}


def _example_frames(board: Board, table: TaskTable, row: Row) -> Iterator[pd.DataFrame]:
    """One row a test example, a frame for each seed, threat and tier of the leaderboard's row."""
    import pandas as pd

    for record in RowAt(board, table, row).records:
        decoded = DecodedRecord(record)
        labels, scores = decoded.clean.labels.to_bool(), decoded.clean.scores.to_float()
        example = np.arange(len(labels))
        for threat in record.threats:
            broken_by = np.full(len(labels), None, dtype=object)
            for tier in TIERS:
                outcome, proved = record.tier(threat.id, tier), record.proved(threat.id, tier)
                if outcome is None:
                    continue
                for attack in outcome.attacks:  # in the order they ran: the first that broke an example counts
                    broken_by[attack.broken.to_bool() & (broken_by == None)] = attack.name  # noqa: E711  elementwise
                yield pd.DataFrame(
                    _cell(board, table, record)
                    | {
                        "threat": threat.id,
                        "tier": tier,
                        "example": example,
                        "pair": example // 2,
                        "clicked": labels,
                        "clean_score": scores,
                        "clean_right": decoded.correct,
                        "robust": outcome.robust.to_bool(),
                        "certified": proved,
                        "broken_by": broken_by.copy(),
                        **edits_by_example(threat, tier),
                        "row": row_id(table, row),
                    }
                )
