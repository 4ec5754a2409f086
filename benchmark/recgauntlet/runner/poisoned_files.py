"""Poisoned training data of a track, made once and kept in the cache: what every row is trained on again.

Beside each poison table lies the track's data with its accounts, as models and defenses get it, and one file of the
users whose lists are looked at. A training process loads the data before its fence is raised, without the test period,
and can read nothing else of this.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, ValidationError

from recgauntlet.attacks.poisoning.base import PoisoningAttack
from recgauntlet.attacks.poisoning.greybox import single_attacks
from recgauntlet.attacks.poisoning.newcomers import draw_newcomers
from recgauntlet.attacks.poisoning.suite import POISONING_VERSION, chosen_attacks, insertion_attacks
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core import files as paths
from recgauntlet.core.card import TIERS, TaskCard, Tier, Track, TrainingDataThreat
from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.errors import DataError
from recgauntlet.core.files import write_atomically
from recgauntlet.core.poison import Poison
from recgauntlet.core.rng import Randomness
from recgauntlet.core.spec import ALL, CellSpec
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.core.types import IntArray
from recgauntlet.data import cache as store
from recgauntlet.data.interactions import Interactions, load_interactions
from recgauntlet.data.poisoned import PoisonedData, with_poison
from recgauntlet.data.prepare import prepare
from recgauntlet.evaluation.newcomers import Untrained
from recgauntlet.evaluation.poisoning import Audience
from recgauntlet.records.poisoning import PoisonTableRef, TargetSet
from recgauntlet.training.build import changed

_REMEDY = "delete the directory; the next run makes it again"


class PoisonFile(PoisonTableRef):
    """A poison table, and the training data with its accounts.

    `data` is the name of the prepared data, empty where the verifier refused the table. `fakes` are the accounts'
    indices among its users, for the evaluator alone.
    """

    data: str
    fakes: tuple[int, ...]

    def reference(self) -> dict[str, Any]:
        """What a record has of it."""
        return self.model_dump(exclude={"data", "fakes"})


class NewcomersFile(BaseModel):
    """Training data with harmless new accounts: its name, and their indices among its users; and the name of a file of
    pairs that it does not have."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    data: str
    untrained: str
    accounts: tuple[int, ...]


class _Users(NamedTuple):
    audience: Audience
    pairs: IntArray
    sets: tuple[TargetSet, ...]


class _Attack(BaseModel):
    """The files of an attack, from the low tier to the high one; of a plugin's, with the hash of its source."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    source: str = ""
    tiers: tuple[PoisonFile, ...]


@dataclass(frozen=True)
class PoisonedFiles:
    """The poisoned data of a threat on a track, in the `directory` of its own."""

    threat: TrainingDataThreat
    directory: Path

    @classmethod
    def of(cls, card: TaskCard, track: Track, threat: TrainingDataThreat, prepared: Path, cache: Path) -> PoisonedFiles:
        """Where they are or will be; the name depends on the data, the threat and the version of the attacks.

        `prepared` is the file of the prepared track, whose name depends on the card and the tables.
        """
        own = threat.model_dump(mode="json", exclude={"source", "active", "ranked", "attacks"})
        key = hashlib.sha256(json.dumps([POISONING_VERSION, prepared.name, own], sort_keys=True).encode()).hexdigest()
        return cls(threat, paths.poison(cache) / f"{card.id}-{track}-{threat.id}-{key[:16]}")

    def ready(self, task: Task, track: Track, source: SourceOptions, attacks: Sequence[str | PoisoningAttack]) -> None:
        """Make what is missing for `attacks`, given by their names in the suite or themselves. Nothing is read where
        everything is there.

        Raises
        ------
        DataError, OutputError, PluginError
            Where the data cannot be read, the cache cannot be written, or there is no such attack.
        """
        wanted = [chosen_attacks(self.threat, [own])[0] if isinstance(own, str) else own for own in attacks]
        missing = [attack for attack in wanted if not self._is_made(attack)]
        if not missing and self._audience_path.exists():
            return
        data = prepare(task, track, source)
        genuine = load_interactions(task, track, source)
        tables = PoisonStore(task.card, track, self.threat, genuine, source.cache)
        targets = tables.verifier.targets
        sets = [[name, len(items)] for name, items in targets.sets.items()]
        _write_audience(Audience.of(data, genuine, targets), data.test.users, sets, self._audience_path)
        for attack in missing:
            files = []
            for tier, made in tables.tables(attack).items():
                name, fakes = "", np.zeros(0, dtype=np.int64)
                if not made.faults:
                    name = self._name(f"{attack.name}-{tier}")
                    fakes = self._saved(name, task, track, data, genuine, made.poison).fakes
                files.append(
                    PoisonFile(
                        attack=attack.name,
                        knowledge=attack.knowledge,
                        hyperparameters=attack.hyperparameters(),
                        tier=tier,
                        accounts=made.poison.count,
                        rows=len(made.poison),
                        table=made.table.header.sha256,
                        faults=tuple(map(str, made.faults)),
                        data=name,
                        fakes=tuple(np.sort(fakes).tolist()),
                        genuine=len(np.unique(data.train.users)),
                    )
                )
            write_atomically(
                self._path(attack.name), _Attack(source=attack.source, tiers=tuple(files)).model_dump_json().encode()
            )

    def newcomers(self, task: Task, track: Track, source: SourceOptions, plugins: str) -> NewcomersFile:
        """Training data with harmless new accounts, made where it is not there.

        `plugins` is the source of the model and the defense where it is not the package's own: other accounts are drawn
        for each, so that no plugin can contain a list of its own.

        Raises
        ------
        DataError, OutputError
            Where the data cannot be read, or the cache cannot be written.
        """
        name = f"harmless/{hashlib.sha256(plugins.encode()).hexdigest()[:16] if plugins else 'built-in'}"
        path = self._path(name)
        if path.exists():
            try:
                return NewcomersFile.model_validate_json(path.read_bytes())
            except (OSError, ValidationError) as error:
                raise _damaged(path, error) from error
        data, genuine = prepare(task, track, source), load_interactions(task, track, source)
        targets = PoisonStore(task.card, track, self.threat, genuine, source.cache).verifier.targets
        rng = Randomness(task.card.track(track).sampling_seed, f"{name}/{self.threat.id}")
        accounts = draw_newcomers(genuine, targets, self.threat, rng)
        file = self._name(name)
        made = self._saved(file, task, track, data, genuine, accounts)
        untrained = Untrained.of(made, genuine, accounts, rng.child("untrained"))
        beside = self._name(f"{name}/untrained")
        store.write_archive(
            {
                f"{part}.{column}": array
                for part, pairs in vars(untrained).items()
                for column, array in vars(pairs).items()
            },
            self.directory / beside,
        )
        found = NewcomersFile(data=file, untrained=beside, accounts=tuple(np.sort(made.fakes).tolist()))
        write_atomically(path, found.model_dump_json().encode())
        return found

    def untrained(self, file: NewcomersFile) -> Untrained:
        """The pairs that the training data of `file` does not have; DataError where they are gone or damaged."""
        with store.open_archive(self.directory / file.untrained) as stored:
            parts = [
                Pairs(*(stored[f"{part.name}.{column.name}"] for column in fields(Pairs))) for part in fields(Untrained)
            ]
        return Untrained(*parts)

    def _name(self, content: str) -> str:
        """A name for training data that does not tell code which trains on them what they are."""
        return hashlib.sha256(f"{self.directory.name}/{content}".encode()).hexdigest()[:16] + ".npz"

    def _saved(
        self, name: str, task: Task, track: Track, data: TaskData, genuine: Interactions, poison: Poison
    ) -> PoisonedData:
        """The data with `poison`, kept under `name`."""
        poisoned = with_poison(data, genuine, poison, task.card.track(track))
        if fault := changed(data, poisoned, poison):
            raise RuntimeError(fault)
        store.save(poisoned.data, self.directory / name)
        return poisoned

    def _is_made(self, attack: PoisoningAttack) -> bool:
        path = self._path(attack.name)
        # a plugin may have changed since; what is damaged is told where it is read
        return path.exists() and (not attack.source or attack.source in path.read_text(encoding="utf-8"))

    def file(self, attack: str, tier: Tier) -> PoisonFile:
        """The table of an attack and tier; DataError where it is not there or damaged."""
        path = self._path(attack)
        try:
            found = _Attack.model_validate_json(path.read_bytes()).tiers
        except (OSError, ValidationError) as error:
            raise _damaged(path, error) from error
        return found[TIERS.index(tier)]

    def path(self, file: PoisonFile | NewcomersFile) -> Path:
        """Where the training data of a table lies that was not refused."""
        return self.directory / file.data

    @property
    def audience(self) -> Audience:
        """The users whose lists are looked at."""
        return self._users.audience

    @property
    def pair_users(self) -> IntArray:
        """`[P]`: the user of each test pair, among those of the audience."""
        return self._users.pairs

    @property
    def sets(self) -> tuple[TargetSet, ...]:
        """The sets of targets, in the order of the audience's targets."""
        return self._users.sets

    @cached_property
    def _users(self) -> _Users:
        path = self._audience_path
        try:
            with path.open("rb") as file, np.load(file, allow_pickle=False) as stored:
                shape = tuple(stored["shape"].tolist())
                taken = np.unpackbits(stored["taken"], count=shape[0] * shape[1]).view(np.bool_).reshape(shape)
                sets = json.loads(stored["sets"].tobytes())
                audience = Audience(stored["rows"], taken, stored["targets"], stored["eligible"])
                pair_users = stored["pair_users"].astype(np.int64)
        except (OSError, ValueError, KeyError, EOFError) as error:
            raise DataError(
                f"the file of users is damaged ({type(error).__name__})", where=path, remedy=_REMEDY
            ) from error
        return _Users(audience, pair_users, tuple(TargetSet(name=name, size=size) for name, size in sets))

    @property
    def _audience_path(self) -> Path:
        return self.directory / "users.npz"

    def _path(self, attack: str) -> Path:
        return self.directory / f"{attack}.json"


def _damaged(path: Path, error: Exception) -> DataError:
    return DataError(f"the list of poisoned data is damaged ({type(error).__name__})", where=path, remedy=_REMEDY)


def _write_audience(audience: Audience, users: IntArray, sets: list[list[Any]], path: Path) -> None:
    content = io.BytesIO()
    np.savez_compressed(
        content,
        pair_users=np.unique(users, return_inverse=True)[1],
        rows=audience.rows,
        taken=np.packbits(audience.taken),
        shape=np.array(audience.taken.shape, dtype=np.int64),
        targets=audience.targets,
        eligible=audience.eligible,
        sets=np.frombuffer(json.dumps(sets).encode(), dtype=np.uint8),
    )
    write_atomically(path, content.getvalue())


def threats_of(card: TaskCard, chosen: Sequence[str] | None) -> tuple[TrainingDataThreat, ...]:
    """The threats to training data that a cell is evaluated under: the active ones; with `chosen` attacks all that one
    of these has the budget of."""
    if chosen is None:
        return tuple(threat for threat in card.poisoning if threat.active)
    return tuple(threat for threat in card.poisoning if chosen_of(threat, chosen))


def poisoned_files(task: Task, spec: CellSpec, prepared: Path) -> tuple[PoisonedFiles, ...]:
    """The poisoned data of each threat that the cell is evaluated under."""
    return tuple(
        PoisonedFiles.of(task.card, spec.track, threat, prepared, spec.source.cache)
        for threat in threats_of(task.card, spec.poison_attacks)
    )


def chosen_of(threat: TrainingDataThreat, chosen: Sequence[str]) -> tuple[str, ...]:
    """Those of the `chosen` attacks that have the budget of `threat`."""
    names = names_of(threat)
    return names if tuple(chosen) == (ALL,) else tuple(name for name in chosen if name in names)


def names_of(threat: TrainingDataThreat) -> tuple[str, ...]:
    """Every attack with the budget of `threat`; without the grey box, whose table is that of another one."""
    return tuple(attack.name for attack in (single_attacks() if threat.insertions is None else insertion_attacks()))
