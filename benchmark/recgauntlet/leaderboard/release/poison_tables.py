"""The poison tables of a release: those that its records were trained on, where the data may be passed on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from recgauntlet.core.errors import DataError
from recgauntlet.data.poison_tables import PoisonTable, read_table, rows_hash
from recgauntlet.records.manifest import Manifest
from recgauntlet.records.schema import RunRecord

DIRECTORY = "poison"
"""Of a release, with a folder for each task and track."""


def published_tables(records: Sequence[RunRecord]) -> dict[str, str]:
    """The hash of the rows of every poison table that `records` of redistributable data were trained on, and what it is
    called in messages."""
    return {
        training.table: f"{training.attack}, {training.tier}, of {record.task.id} {record.task.track} {outcome.threat}"
        for record in records
        if record.task.redistributable
        for outcome in record.poisoning
        for training in outcome.trainings
        if not training.faults
    }


def tables_in(directory: Path) -> Iterator[tuple[Path, PoisonTable]]:
    """Every whole poison table below a directory; other Parquet files are passed over."""
    for path in sorted(directory.rglob("*.parquet")):
        try:
            table = read_table(path)
        except DataError:
            continue
        if rows_hash(table.rows()) == table.header.sha256:
            yield path, table


def collect(records: Sequence[RunRecord], directory: Path) -> tuple[dict[str, bytes], list[str]]:
    """The files of the tables that `records` name, by their paths in a release, and those that are not below
    `directory`."""
    wanted = published_tables(records)
    files: dict[str, bytes] = {}
    for path, table in tables_in(directory):
        header = table.header
        if wanted.pop(header.sha256, None):
            name = f"{header.threat}-{header.attack}-{header.tier}-{header.sha256[:8]}.parquet"
            files[f"{DIRECTORY}/{header.task}/{header.track}/{name}"] = path.read_bytes()
    return files, sorted(wanted.values())


def faults(manifest: Manifest, directory: Path, records: Sequence[RunRecord]) -> Iterator[tuple[str, str]]:
    """The path of every poison table of a release that no record was trained on, or whose rows were changed, and what
    is wrong."""
    wanted = published_tables(records)
    for file in manifest.files:
        if file.kind != "poison-table":
            continue
        try:
            table = read_table(directory / file.path)
        except DataError as error:
            yield file.path, error.problem
            continue
        if rows_hash(table.rows()) != table.header.sha256:
            yield file.path, "its rows are not those that its header was written for"
        elif table.header.sha256 not in wanted:
            yield file.path, "no record of data that may be passed on was trained on it"
