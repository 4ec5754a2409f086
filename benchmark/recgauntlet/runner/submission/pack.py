"""Packing a submission: records and the plugin's source into one archive, with a manifest."""

from __future__ import annotations

import datetime
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Literal

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.errors import RecordError
from recgauntlet.core.plugins import Kind, whose
from recgauntlet.core.source import source_files, source_hash
from recgauntlet.core.spec import CellSpec
from recgauntlet.leaderboard.build import build_table
from recgauntlet.leaderboard.release.summary import summary_rows
from recgauntlet.records.digest import compress, to_bytes
from recgauntlet.records.manifest import MANIFEST, SummaryRow
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.submission.archive import allowed_name, sum_of, write_archive
from recgauntlet.records.submission.manifest import Recipe, Sender, Submission, Submitted, SubmittedFile

SubmittedKind = Literal["defense", "model"]
TASKS = ("ecommerce-purchase", "news-click", "video-watch")
MODELS = ("nrms",)
SEEDS = (0, 1, 2)
"""The fixed recipe of the standard track: the ranked tasks, the model under a submitted defense, and the seeds."""
GROUPS: dict[SubmittedKind, Kind] = {"defense": "defenses", "model": "models"}


def recipe_of(specs: Sequence[CellSpec]) -> Recipe:
    """The recipe whose cells are `specs`, each list in order of first mention."""
    return Recipe(
        track=specs[0].track,
        tasks=tuple(dict.fromkeys(spec.task_id for spec in specs)),
        models=tuple(dict.fromkeys(spec.model for spec in specs)),
        defenses=tuple(dict.fromkeys(spec.defense for spec in specs)),
        seeds=tuple(dict.fromkeys(spec.seed for spec in specs)),
        suite=suite_ref(),
    )


def lacking(recipe: Recipe, kind: SubmittedKind) -> dict[str, list[str]]:
    """What `recipe` leaves out of the fixed recipe, by field: authors of a submission to the standard track cannot
    choose favourable tasks, seeds or models. Empty on the demo track."""
    fixed = {"tasks": TASKS, "seeds": SEEDS, "models": MODELS if kind == "defense" else ()}
    if recipe.track != "standard":
        return {}
    left_out = {key: [str(name) for name in every if name not in getattr(recipe, key)] for key, every in fixed.items()}
    return {field: names for field, names in left_out.items() if names}


def summary_of_records(records: Sequence[RunRecord]) -> tuple[SummaryRow, ...]:
    """The rows that records make by themselves: every number is a table's."""
    return summary_rows(build_table(records))


def pack(
    kind: SubmittedKind, name: str, specs: Sequence[CellSpec], records: Sequence[tuple[Path, RunRecord]], sender: Sender
) -> bytes:
    """The archive of a submission; `records` have their paths below the results directory.

    Raises
    ------
    RecordError
        Where a cell failed, or a file's name would not be accepted.
    """
    failed = [path for path, record in records if record.status == "failed"]
    if failed:
        raise RecordError(
            f"{len(failed)} of {len(records)} cells failed",
            where=failed[0],
            remedy="see why with recgauntlet show, mend it, and run the same command again: only they are run",
        )
    files = {
        f"records/{path.with_suffix('').as_posix()}.json.xz": compress(to_bytes(record.sealed()))
        for path, record in records
    }
    source = source_files(GROUPS[kind], name)
    files |= {f"source/{path}": content for path, content in source.items()}
    made_by = source_hash(source)
    other = [path for path, record in records if _source_in(record, kind, name) not in (None, made_by)]
    if other:
        raise RecordError(
            "was made by other source code of the plugin than is installed now",
            where=other[0],
            field=f"{kind}.source",
            remedy="run the same command again: cells whose source changed are run again",
        )
    odd = [path for path in files if not allowed_name(path)]
    if odd:
        raise RecordError(
            "has a name that an archive does not take",
            where=odd[0],
            remedy="name files and options with letters, digits, dots, hyphens and underscores",
        )
    distribution, release = whose(GROUPS[kind], name)
    manifest = Submission(
        created=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        recgauntlet=version("recgauntlet"),
        plugin=Submitted(kind=kind, name=name, distribution=distribution, version=release, source_sha256=made_by),
        sender=sender,
        recipe=recipe_of(specs),
        files=tuple(
            SubmittedFile(path=path, sha256=sum_of(content), bytes=len(content))
            for path, content in sorted(files.items())
        ),
        summary=summary_of_records([record for _, record in records]),
    )
    return write_archive({**files, MANIFEST: manifest.to_bytes()})


def _source_in(record: RunRecord, kind: SubmittedKind, name: str) -> str | None:
    """The source hash that `record` has of the submitted plugin; None where the plugin is no part of the cell."""
    ref = record.defense if kind == "defense" else record.model
    return ref.source if ref.name == name else None
