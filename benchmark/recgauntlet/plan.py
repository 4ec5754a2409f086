"""What a sweep would do: the cells that are asked for, the twins that they need, and what is done already."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from recgauntlet.errors import CardError, PluginError, RecordError
from recgauntlet.guard.allowance import end_tree
from recgauntlet.processes import importable, spawn
from recgauntlet.record import read_record
from recgauntlet.spec import CellSpec
from recgauntlet.suite import suite_ref
from recgauntlet.worker import Look, check_apart, receive

LOOKING_UP = 300.0
"""Seconds that the plugins of a plan may take to be imported."""
State = Literal["new", "done", "failed before"]


@dataclass(frozen=True)
class Planned:
    """A cell and what is known of it before the sweep; `reason` says why an unasked cell is in the plan."""

    spec: CellSpec
    state: State
    reason: str = ""


def plan(specs: Sequence[CellSpec], *, overwrite: bool = False) -> tuple[Planned, ...]:
    """The cells of `specs` and the undefended twins that they need, twins first.

    Raises
    ------
    PluginError, CardError, DeviceError
        Where a spec names something wrong.
    RecordError
        Where a record stands in the way that is broken, or was made under another card, suite or set of options,
        unless `overwrite`.
    """
    asked: dict[Path, CellSpec] = {}
    for spec in specs:
        first = asked.setdefault(spec.record_path, spec)
        if first.task != spec.task:
            raise CardError(
                f"has the file name of {first.task}, so their records would replace each other",
                where=spec.task,
                field="--task",
                remedy="rename one of the two cards, or run them into different directories (--out)",
            )
    twins = {spec.twin().record_path: spec.twin() for spec in specs if not spec.is_twin}
    ordered = [*(s for s in asked.values() if s.is_twin)]
    ordered += [twin for path, twin in twins.items() if path not in asked]
    ordered += [s for s in asked.values() if not s.is_twin]
    planned = []
    for spec, fingerprint in zip(ordered, _checked(ordered), strict=True):
        reason = "" if spec.record_path in asked else "the undefended twin that the others are compared with"
        planned.append(Planned(spec, _state(spec, fingerprint, overwrite), reason))
    return tuple(planned)


def _checked(specs: Sequence[CellSpec]) -> tuple[str, ...]:
    """The fingerprints of the specs' cards, after everything that they name was looked up in a process of its own:
    to look a plugin up is to run its code."""
    with tempfile.TemporaryDirectory(prefix="recgauntlet-") as scratch:
        with importable():
            process, pipe = spawn(check_apart, Look(tuple(specs), Path(scratch)))
        try:
            message = receive(pipe) if pipe.poll(LOOKING_UP) else None
        finally:
            if process.is_alive():
                end_tree(process.pid or 0)
            process.join()
            pipe.close()
    if message is not None and message.error is not None:
        raise message.error
    if message is None or len(message.fingerprints) != len(specs):
        raise PluginError(
            message.refused if message and message.refused else "ended the process in which it was looked up",
            where=", ".join(sorted({name for spec in specs for name in (spec.model, spec.defense)})),
            remedy="a package must not do this where it is imported; mend or uninstall the one that registers it",
        )
    return message.fingerprints


def _state(spec: CellSpec, fingerprint: str, overwrite: bool) -> State:
    path = spec.record_path
    if overwrite or not path.exists():
        return "new"
    record = read_record(path)
    if record.status == "failed":
        return "failed before"
    for name, found, wanted in (
        ("task.fingerprint", record.task.fingerprint, fingerprint),
        ("suite.fingerprint", record.suite.fingerprint, suite_ref().fingerprint),
    ):
        if found != wanted:
            raise RecordError(
                "was made under another version of the task or the attack suite; it is kept",
                where=path,
                field=name,
                remedy="write to another directory (--out), or replace the old records (--overwrite)",
            )
    return "done"
