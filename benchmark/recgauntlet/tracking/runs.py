"""Records and tables as runs. Every number is that of the leaderboard: a record is taken as a row of one seed."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import datetime

from recgauntlet.core.escape import markdown
from recgauntlet.core.names import shown
from recgauntlet.core.types import Scalar
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.schema import Row, TaskTable
from recgauntlet.records.digest import to_bytes
from recgauntlet.records.parts import Gate
from recgauntlet.records.schema import RunRecord
from recgauntlet.tracking.base import Key, Picture, TrackedRun

_LONGEST = 60


def key_of(record: RunRecord) -> Key:
    """The key of a sealed record's run."""
    name = f"{part(record.model.name)} {part(shown('defense', record.defense.name))} seed {record.seed}"
    return Key(_task(record.task.id, record.task.track), name, record.digest[:32])


def run_of(record: RunRecord) -> TrackedRun:
    """A sealed record as a run, with the record as its file."""
    rows = [row for table in build_table([record]) for row in table.rows]
    checks = list(_checks(record))
    metrics = {"failed": 1.0} if not rows else _metrics(rows[0])
    for check in checks:
        metrics["/".join(["check", *map(part, filter(None, (check.name, check.threat)))])] = float(check.passed)
    epochs = [(one.epoch, {"training/loss": one.loss, "training/valid_auc": one.valid_auc}) for one in record.epochs]
    return TrackedRun(
        key=key_of(record),
        parameters=_parameters(record),
        metrics=metrics,
        epochs=tuple(epochs),
        notes=_notes(record, rows, checks),
        files={"record.json": to_bytes(record)},
        times=_times(record),
        failed=record.status == "failed",
    )


def key_of_table(table: TaskTable) -> Key:
    """The key of the run with a table's figures: other records, another run."""
    digests = sorted(source.digest for row in table.rows for source in row.sources)
    seal = hashlib.sha256("\n".join(["figures", *digests]).encode()).hexdigest()
    return Key(_task(table.task, table.track), f"figures of {_count(len(table.rows), 'row')}", seal[:32])


def run_of_table(table: TaskTable, pictures: Sequence[Picture]) -> TrackedRun:
    """The figures of a table as a run."""
    rows = _count(len(table.rows), "row")
    records = _count(sum(len(row.sources) for row in table.rows), "record")
    lines = [f"- {picture.name}: {markdown(picture.title)}" for picture in pictures]
    return TrackedRun(
        key=key_of_table(table),
        parameters={"task": table.task, "task.version": table.version, "track": table.track},
        metrics={},
        notes="\n".join([f"Figures of {rows} from {records}.", "", *lines]),
        pictures=tuple(pictures),
    )


def part(text: str) -> str:
    """`text` as a part of a name that every tracker and file system takes: letters, digits, `_` and `-`. Where that
    changes it, a hash keeps it apart from others."""
    safe = re.sub(r"[^A-Za-z0-9_-]+", "-", text)[:_LONGEST]
    return safe if safe == text and text else f"{safe}-{hashlib.sha256(text.encode()).hexdigest()[:6]}".lstrip("-")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _task(task: str, track: str) -> str:
    return f"{part(task)}-{track}"


def _metrics(row: Row) -> dict[str, float]:
    """The numbers of a row: accuracies, attack success and exposure as shares from 0 to 1."""
    found = {"clean/accuracy": row.clean.value}
    if row.worst_cell is not None:
        found["worst_robust_accuracy"] = row.worst_cell.robust.value
    for cells in row.threats:
        for cell in cells.cells:
            at = _at(cells.threat, cell.tier)
            found[f"robust/{at}"] = cell.robust.value
            if cell.attack_success is not None:
                found[f"attack_success/{at}"] = cell.attack_success.value
            if cell.certified is not None:
                found[f"certified/{at}"] = cell.certified.value
    for poisoned in row.poisoning:
        found |= {f"robust/{_at(poisoned.threat, one.tier)}": one.robust.value for one in poisoned.tiers}
    if row.policy is not None:
        found[f"kept_by_policy/{part(row.policy.threat)}"] = row.policy.kept.value
    if row.ads is not None:
        found |= {f"ad_exposure/{_at(row.ads.threat, one.tier)}": one.exposure.value for one in row.ads.tiers}
    found |= {f"clean/{name}": value for name, value in vars(row.quality).items()}
    if row.popular_quality is not None:
        found |= {f"clean_popular/{name}": value for name, value in vars(row.popular_quality).items()}
    if row.catalog_quality is not None:
        found |= {f"clean_catalog/{name}": value for name, value in row.catalog_quality._asdict().items()}
    return found | {f"cost/{name}": float(value) for name, value in vars(row.cost).items() if value is not None}


def _at(threat: str, tier: str) -> str:
    return f"{part(threat)}/{shown('tier', tier)}"


def _parameters(record: RunRecord) -> dict[str, Scalar]:
    found: dict[str, Scalar] = {
        "task": record.task.id,
        "task.version": record.task.version,
        "track": record.task.track,
        "model": record.model.name,
        "defense": shown("defense", record.defense.name),
        "seed": record.seed,
        "suite": f"{record.suite.id} {record.suite.version}",
        "device": record.environment.device,
        "threads": record.environment.threads,
        "precision": record.environment.precision,
    }
    groups = (("model", record.model.hyperparameters), ("defense", record.defense.hyperparameters))
    for group, values in (*groups, ("recipe", record.recipe)):
        found |= {f"{group}.{part(name)}": value for name, value in values.items()}
    return found


def _checks(record: RunRecord) -> Iterator[Gate]:
    """The sanity checks of the record, of its poisoning and of its simulated ads."""
    yield from record.gates
    for poisoned in record.poisoning:
        yield from poisoned.checks
    for ads in record.ads:
        yield from ads.checks


def _notes(record: RunRecord, rows: Sequence[Row], checks: Sequence[Gate]) -> str:
    """What has no number, as Markdown."""
    ran = record.environment
    lines = [
        f"Record {record.digest}",
        "",
        markdown(f"RecGauntlet {ran.recgauntlet}, commit {ran.commit or 'unknown'}"),
    ]
    if record.failure is not None:
        lines += ["", markdown(f"failed while {record.failure.stage}: {record.failure.message}")]
    if flags := [flag for row in rows for flag in row.flags if flag.kind != "few-seeds"]:
        lines += ["", *(f"- flag: {markdown(flag.title)}" for flag in flags)]
    if checks:
        lines += ["", "| check | threat | | found | limit |", "|---|---|---|---|---|"]
        for one in checks:
            cells = (one.name, one.threat, "passed" if one.passed else "FAILED", f"{one.value:.4g}", f"{one.limit:.4g}")
            lines.append(f"| {' | '.join(map(markdown, cells))} |")
    return "\n".join(lines)


def _times(record: RunRecord) -> tuple[float, float] | None:
    try:
        started, finished = (datetime.fromisoformat(text).timestamp() for text in (record.started, record.finished))
    except (ValueError, OverflowError):  # a record may hold any text there
        return None
    return (started, finished) if 0 <= started <= finished else None
