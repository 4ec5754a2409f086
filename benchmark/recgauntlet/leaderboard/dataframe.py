"""A release as a pandas DataFrame, for analyses of one's own: `recgauntlet.load`."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recgauntlet.core.card import TIERS
from recgauntlet.leaderboard.address import Board, RowAt, open_board, row_id
from recgauntlet.leaderboard.schema import FailedCell, TaskTable
from recgauntlet.metrics import ranking as metrics
from recgauntlet.records.release import ROOT
from recgauntlet.records.schema import RunRecord, ThreatOutcome, TierOutcome, robust_accuracy

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Column:
    """A column of a DataFrame: its name, its pandas dtype, the unit of its values, and what they mean."""

    name: str
    dtype: str
    unit: str
    meaning: str


_CELL = (
    Column("release", "string", "", "name of the release, or of the directory if it is not frozen"),
    Column("task", "string", "", "id of the task"),
    Column("track", "string", "", "`standard` or `demo`"),
    Column("model", "string", "", "registered name of the recommender"),
    Column("defense", "string", "", "registered name of the defense; `standard` is none"),
    Column("seed", "int64", "", "of the training"),
    Column("threat", "string", "", "id of the threat"),
    Column("tier", "string", "", "`low`, `standard` or `high`"),
)
"""What names an observation; the same in both DataFrames."""

COLUMNS: tuple[Column, ...] = (
    *_CELL,
    Column("status", "string", "", "`ok`, or `failed`: the training or the evaluation ended in an error"),
    Column("applicable", "boolean", "", "whether the model reads what the threat changes"),
    Column("clean_accuracy", "float64", "share", "test examples right on the clean input"),
    Column("robust_accuracy", "float64", "share", "test examples right on the clean input and on all that was found"),
    Column("retained", "float64", "share", "`robust_accuracy / clean_accuracy`; 0 where nothing was right"),
    Column(
        "certified_accuracy", "float64", "share", "proved right on every legal input; missing where nothing is proved"
    ),
    Column("examples", "Int64", "examples", "test examples behind the shares; two of them are a pair"),
    Column("surface", "string", "", "what the threat changes: `candidate-text`, `history` or `embedding`"),
    Column("goal", "string", "", "`flip` any right answer, or `promote` unclicked candidates"),
    Column("ranked", "boolean", "", "whether the threat counts for ranks"),
    Column("amount", "float64", "words, edits or radius", "the tier's cap; a radius is relative to the embeddings"),
    Column("characters", "Int64", "characters", "the tier's other cap, where characters may be edited; else 0"),
    Column("queries", "Int64", "queries an example", "the tier's cap on scored inputs"),
    Column("violations", "Int64", "inputs", "perturbed inputs that the verifier refused"),
    Column("failed_gates", "string", "", "failed sanity checks, with `;` between"),
    Column("auc", "float64", "share", "AUC over all candidates of the clean impressions"),
    Column("ndcg10", "float64", "share", "nDCG@10 on the clean impressions, mean"),
    Column("training_seconds", "float64", "seconds", "of the training steps, on the clock"),
    Column("training_flops", "float64", "FLOPs", "of the training, by torch's counter"),
    Column("seconds_ratio", "float64", "ratio", "to the undefended twin; missing on the twin"),
    Column("flops_ratio", "float64", "ratio", "to the undefended twin; missing on the twin"),
    Column("peak_memory_bytes", "float64", "bytes", "at most in use during training"),
    Column("parameters", "Int64", "parameters", "of the model"),
    Column("attack_seconds", "float64", "seconds", "that the attacks took at this tier"),
    Column("model_version", "string", "", "of the package that ships the model"),
    Column("model_hyperparameters", "string", "JSON", "of the model, all of them"),
    Column("defense_version", "string", "", "of the package that ships the defense"),
    Column("defense_hyperparameters", "string", "JSON", "of the defense, all of them"),
    Column("task_version", "int64", "", "of the task's card"),
    Column("suite", "string", "", "id and version of the attack suite"),
    Column("task_fingerprint", "string", "SHA-256", "of the card"),
    Column("data_fingerprint", "string", "SHA-256", "of the data"),
    Column("suite_fingerprint", "string", "SHA-256", "of the suite and the evaluator's limits"),
    Column("examples_fingerprint", "string", "SHA-256", "of the test examples"),
    Column("device", "string", "", "that the cell ran on"),
    Column("row", "string", "", "id of the leaderboard's row"),
    Column("record", "string", "SHA-256", "digest of the record"),
)
"""One row a task, track, model, defense, seed, threat and tier."""

EXAMPLE_COLUMNS: tuple[Column, ...] = (
    *(Column(c.name, c.dtype if c.dtype == "int64" else "category", c.unit, c.meaning) for c in _CELL),
    Column("example", "int64", "", "index of the test example, the same in all records of a task"),
    Column("pair", "int64", "", "the two examples shown to one user: resample pairs, not examples"),
    Column("clicked", "bool", "", "the label"),
    Column("clean_score", "float32", "logits", "of the unchanged input; above 0 means clicked"),
    Column("clean_right", "bool", "", "whether that is right"),
    Column("robust", "bool", "", "right on the clean input and on all that was found at this tier or below"),
    Column("certified", "boolean", "", "proved right on every legal input; missing where nothing is proved"),
    Column("broken_by", "category", "", "the attack that broke it first; missing where none did"),
    Column("row", "category", "", "id of the leaderboard's row"),
)
"""One row a test example of each task, track, model, defense, seed, threat and tier."""


def load(release: str | Path, *, examples: bool = False, root: Path = ROOT) -> pd.DataFrame:
    """The results of `release`, its name or the path of its directory, as a tidy DataFrame.

    One row a (task, track, model, defense, seed, threat, tier), described by `frame.COLUMNS`. Clean accuracy stands in
    every row of its cell, so that clean and robust accuracy can be compared without a join: take one row a cell before
    you average it. Seeds are not averaged. A failed cell has one row with `status` "failed" and no threat; a surface
    that a model does not read has rows without a robust accuracy, never with 1. Of two records of one cell the one that
    the leaderboard counts is taken.

    With `examples`, one row a test example under each threat and tier instead (`frame.EXAMPLE_COLUMNS`): the outcomes
    that every number is computed from. Failed cells and unread surfaces have none.

    Warns for every file that cannot be read. Raises RecordError where there is no such release or no record in it.
    """
    import pandas as pd

    board = open_board(release, root)
    for path, error in board.results.broken:
        warnings.warn(f"{path} is left out: {error.problem}", stacklevel=2)
    if examples:
        return _examples(board)
    lines = [line for table in board.tables for line in _table_lines(board, table)]
    data = {c.name: pd.array([line.get(c.name) for line in lines], dtype=c.dtype) for c in COLUMNS}
    return pd.DataFrame(data)


def documentation(columns: Sequence[Column]) -> str:
    """The columns as a table in Markdown: what docs/results/citing.md holds."""
    lines = ["| column | unit | meaning |", "|---|---|---|"]
    lines += [f"| `{c.name}` | {c.unit} | {c.meaning} |" for c in columns]
    return "\n".join(lines) + "\n"


def _table_lines(board: Board, table: TaskTable) -> Iterator[dict[str, Any]]:
    for row in table.rows:
        at = RowAt(board, table, row)
        for record in at.records:
            whole = _whole(record)
            common = {**_cell(board, table, record), **whole, "row": row_id(table, row)}
            for threat in record.threats:
                tiers = {outcome.tier: outcome for outcome in threat.tiers}
                for tier in TIERS if not threat.applicable else [tier for tier in TIERS if tier in tiers]:
                    proved = record.proved(threat.id, tier)
                    yield (
                        common
                        | _under(threat, tiers.get(tier), whole["clean_accuracy"])
                        | {
                            "tier": tier,
                            "certified_accuracy": None if proved is None else float(proved.mean()),
                        }
                    )
    for lost in table.failed:
        yield _failed(board, table, lost)


def _cell(board: Board, table: TaskTable, record: RunRecord) -> dict[str, Any]:
    return {
        "release": board.name,
        "task": table.task,
        "track": table.track,
        "model": record.model.name,
        "defense": record.defense.name,
        "seed": record.seed,
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
    clean, cost = record.clean, record.cost
    assert clean is not None  # a row of a table has finished records only
    assert cost is not None
    labels = clean.impression_labels.to_bool()
    scores = np.nan_to_num(clean.impression_scores.to_float(), nan=-np.inf)
    offsets = metrics.offsets_of(np.array(clean.impression_sizes, dtype=np.int64))
    return {
        "clean_accuracy": metrics.accuracy(clean.labels.to_bool(), clean.scores.to_float()),
        "examples": clean.labels.n,
        "auc": metrics.auc(labels, scores),
        "ndcg10": metrics.ndcg(labels, scores, offsets, 10),
        "failed_gates": ";".join(dict.fromkeys(gate.name for gate in record.gates if not gate.passed)),
        "training_seconds": cost.seconds,
        "training_flops": cost.flops,
        "seconds_ratio": cost.seconds_ratio,
        "flops_ratio": cost.flops_ratio,
        "peak_memory_bytes": cost.peak_memory_bytes,
        "parameters": cost.parameters,
    }


def _under(threat: ThreatOutcome, outcome: TierOutcome | None, clean: float) -> dict[str, Any]:
    found: dict[str, Any] = {
        "threat": threat.id,
        "surface": threat.surface,
        "goal": threat.goal,
        "ranked": threat.ranked,
        "applicable": threat.applicable,
    }
    if outcome is None:
        return found
    robust = robust_accuracy(outcome)
    return found | {
        "robust_accuracy": robust,
        "retained": robust / clean if clean > 0 else 0.0,
        "amount": outcome.amount,
        "characters": outcome.characters,
        "queries": outcome.queries,
        "violations": sum(attack.violations for attack in outcome.attacks),
        "attack_seconds": sum(attack.effort.seconds for attack in outcome.attacks),
    }


def _failed(board: Board, table: TaskTable, lost: FailedCell) -> dict[str, Any]:
    return _cell(board, table, board.records[lost.digest])


def _examples(board: Board) -> pd.DataFrame:
    import pandas as pd

    parts: list[dict[str, Any]] = []
    for table in board.tables:
        for row in table.rows:
            for record in RowAt(board, table, row).records:
                for threat in record.threats:
                    parts += _example_parts(board, table, record, threat, row_id(table, row))
    names = [column.name for column in EXAMPLE_COLUMNS]
    if not parts:
        return pd.DataFrame({c.name: pd.array([], dtype=c.dtype) for c in EXAMPLE_COLUMNS})
    joined = {}
    for column in EXAMPLE_COLUMNS:
        if column.dtype == "category":
            joined[column.name] = _categories([(part[column.name], len(part["example"])) for part in parts])
        else:
            joined[column.name] = pd.array(np.concatenate([part[column.name] for part in parts]), dtype=column.dtype)
    return pd.DataFrame(joined, columns=names)


def _example_parts(
    board: Board, table: TaskTable, record: RunRecord, threat: ThreatOutcome, row: str
) -> Iterator[dict[str, Any]]:
    clean = record.clean
    assert clean is not None  # a row of a table has finished records only
    labels, scores = clean.labels.to_bool(), clean.scores.to_float()
    example = np.arange(len(labels))
    broken_by = np.full(len(labels), None, dtype=object)
    outcomes = {outcome.tier: outcome for outcome in threat.tiers}
    for tier in [tier for tier in TIERS if tier in outcomes]:
        for attack in outcomes[tier].attacks:  # in the order they ran: the first attack that broke an example counts
            broken_by[attack.broken.to_bool() & (broken_by == None)] = attack.name  # noqa: E711  elementwise
        proved = record.proved(threat.id, tier)
        yield {
            "release": board.name,
            "task": table.task,
            "track": table.track,
            "model": record.model.name,
            "defense": record.defense.name,
            "seed": np.full(len(labels), record.seed),
            "threat": threat.id,
            "tier": tier,
            "example": example,
            "pair": example // 2,
            "clicked": labels,
            "clean_score": scores,
            "clean_right": metrics.correct(labels, scores),
            "robust": outcomes[tier].robust.to_bool(),
            "certified": np.full(len(labels), None, dtype=object) if proved is None else proved.astype(object),
            "broken_by": broken_by.copy(),
            "row": row,
        }


def _categories(parts: Sequence[tuple[str | np.ndarray[Any, Any], int]]) -> pd.Categorical:
    """One categorical of parts that are a single text each, or texts and None by example."""
    import pandas as pd

    texts = sorted(
        {text for part, _ in parts for text in ([part] if isinstance(part, str) else part) if text is not None}
    )
    code = {text: place for place, text in enumerate(texts)} | {None: -1}
    codes = [
        np.full(size, code[part]) if isinstance(part, str) else np.fromiter((code[t] for t in part), np.int64, size)
        for part, size in parts
    ]
    return pd.Categorical.from_codes(np.concatenate(codes), categories=texts)
