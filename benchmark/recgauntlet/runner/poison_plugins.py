"""Poisoning attacks of plugins: each runs in a process of its own, and only numbers come back.

The process gets what the attacker may know and cannot read the data itself, where the test period is. The one that
makes and verifies the tables imports nothing of the plugin.
"""

from __future__ import annotations

import json
import re
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from recgauntlet.attacks.poisoning.base import Knowledge, Poisoning, PoisoningAttack, PoisoningKnowledge, find_poisoning
from recgauntlet.attacks.poisoning.suite import attacks_on, chosen_attacks
from recgauntlet.core.card import TrainingDataThreat
from recgauntlet.core.errors import PluginError, RecGauntletError
from recgauntlet.core.plugins import check_complete, names
from recgauntlet.core.poison import FakeAccounts, Targets
from recgauntlet.core.rng import Randomness
from recgauntlet.core.source import source_of
from recgauntlet.core.types import Scalar
from recgauntlet.runner.enclosure import enclose
from recgauntlet.runner.messages import send, send_error
from recgauntlet.runner.processes import Child, ProcessPool
from recgauntlet.runner.sandbox.audit_hook import Fence
from recgauntlet.runner.sandbox.bubblewrap import command, is_chosen
from recgauntlet.runner.sandbox.limits import Allowance
from recgauntlet.runner.worker import begin
from recgauntlet.threats.training_data import PoisonBudget

ALLOWED = Allowance(seconds=3600.0)
"""For the accounts of one tier."""
LARGEST = 2**26
"""Bytes of an answer."""
_NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")


class Question(NamedTuple):
    """The arguments of `Poisoning.accounts`."""

    knowledge: PoisoningKnowledge
    targets: Targets
    budget: PoisonBudget
    rng: Randomness


@dataclass(frozen=True)
class PoisonJob:
    """A plugin to be asked, or only looked at (`question` is None); it may write in `place` alone."""

    name: str
    question: Question | None
    place: Path
    unreadable: tuple[Path, ...]

    @property
    def answer(self) -> Path:
        """Where the process leaves its answer."""
        return self.place / "answer.json"


class Answer(BaseModel):
    """What the process leaves: what the plugin is, and the accounts (`FakeAccounts`)."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    name: str
    knowledge: Knowledge
    hyperparameters: dict[str, Scalar]
    accounts: list[int] = []
    items: list[int] = []
    times: list[int] = []


class _Enclosed(Poisoning):
    """A plugin's attack, asked in another process."""

    def __init__(self, looked_at: Answer, source: str, unreadable: tuple[Path, ...]) -> None:
        self._looked_at = looked_at
        self.source = source
        self._unreadable = unreadable

    def hyperparameters(self) -> dict[str, Scalar]:
        return dict(self._looked_at.hyperparameters)

    def accounts(
        self, knowledge: PoisoningKnowledge, targets: Targets, budget: PoisonBudget, rng: Randomness
    ) -> FakeAccounts:
        name = self._looked_at.name
        answer = _asked(name, Question(knowledge, targets, budget, rng), self._unreadable)
        columns = (answer.accounts, answer.items, answer.times)
        try:
            accounts, items, times = (np.array(column, dtype=np.int64) for column in columns)
        except OverflowError as error:
            raise _broken(name, "gives numbers of more than 64 bits") from error
        count = len(accounts)
        if not count == len(items) == len(times) or not ((accounts >= 0) & (accounts < count)).all():
            raise _broken(name, "gives accounts that are not numbered from 0, or columns of different lengths")
        return FakeAccounts(accounts, items, times)


def poisoning_plugin(name: str, unreadable: Iterable[Path]) -> Poisoning:
    """The registered poisoning attack `name`, whose code runs in other processes, which cannot read `unreadable`.

    Raises
    ------
    PluginError
        Where there is none, it cannot be built, its name is no name or not the registered one, or it breaks a rule.
    """
    if not _NAME.fullmatch(name):
        raise PluginError(
            f"{name!r} is no name of an attack", field="attack", remedy="use lower-case letters, digits and hyphens"
        )
    source, hidden = source_of("poisoning", name), tuple(unreadable)
    looked_at = _asked(name, None, hidden)
    if looked_at.name != name:
        raise _broken(name, f"has the name {looked_at.name!r}")
    kind = type("Enclosed", (_Enclosed,), {"name": name, "knowledge": looked_at.knowledge})
    found: Poisoning = kind(looked_at, source, hidden)
    return found


def find_attacks(
    threat: TrainingDataThreat, wanted: Sequence[str], unreadable: Iterable[Path]
) -> tuple[PoisoningAttack, ...]:
    """The attacks `wanted` on a threat, those of the suite where no name is given. Plugins make accounts, so they have
    moves where the threat adds some; `unreadable` as in `poisoning_plugin`.

    Raises
    ------
    PluginError
        Where there is no such attack, or a plugin cannot be used.
    """
    if not wanted:
        return attacks_on(threat)
    own = {attack.name for attack in attacks_on(threat)}
    plugins = set() if threat.insertions is not None else set(names("poisoning")) - own
    hidden = tuple(unreadable)
    return tuple(
        poisoning_plugin(name, hidden) if name in plugins else chosen_attacks(threat, [name])[0] for name in wanted
    )


def answer(job: PoisonJob, pipe: Connection) -> None:
    """Ask the plugin in this process, and leave the answer."""
    begin(pipe)
    try:
        enclose(job.place, Fence((job.place,), job.unreadable), lambda what: send(pipe, refused=what))
        job.answer.write_text(json.dumps(_answered(job)), encoding="utf-8")
    except RecGauntletError as error:
        send_error(pipe, error)
    except Exception as error:  # a plugin may fail in any way
        send_error(pipe, _broken(job.name, f"failed: {type(error).__name__}: {error}"))
    pipe.close()


def _answered(job: PoisonJob) -> dict[str, Any]:
    plugin = find_poisoning(job.name)
    check_complete(plugin)
    attack = plugin.value()
    found = {"name": attack.name, "knowledge": attack.knowledge, "hyperparameters": attack.hyperparameters()}
    if job.question is not None:
        made = attack.accounts(*job.question)
        found |= {column: np.asarray(getattr(made, column)).tolist() for column in ("accounts", "items", "times")}
    return found


def _asked(name: str, question: Question | None, unreadable: tuple[Path, ...]) -> Answer:
    with tempfile.TemporaryDirectory(prefix="recgauntlet-") as scratch:
        job = PoisonJob(name, question, Path(scratch), unreadable)
        box = command((job.place,)) if is_chosen("auto") else ()
        with ProcessPool(1) as pool:
            child = pool.follow(Child(answer, job, name, ALLOWED, box), lambda what, share: None)
        if not child.is_good:
            if child.error is not None:
                raise child.error
            raise _broken(name, child.fault()[1])
        return _read(name, job.answer)


def _read(name: str, path: Path) -> Answer:
    try:
        if path.is_symlink() or path.stat().st_size > LARGEST:
            raise _broken(name, "gives an answer that is too large")
        return Answer.model_validate_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        first = error.errors()[0] if isinstance(error, ValidationError) else {"loc": (), "msg": "there is no answer"}
        place = ".".join(map(str, first["loc"]))
        raise _broken(name, f"gives no accounts ({place}: {first['msg']})") from error


def _broken(name: str, problem: str) -> PluginError:
    return PluginError(
        f"the poisoning attack {name!r} {problem}"[:2000],
        where=name,
        field="accounts",
        remedy=f"mend the attack (recgauntlet check {name} --kind poisoning shows what), or uninstall it",
    )
