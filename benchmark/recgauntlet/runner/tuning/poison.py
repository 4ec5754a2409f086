"""Poisoned training data for tuning: by the rules of the evaluation, with other targets and other accounts than it has.

It is made from the interactions of the training period, and lies where no trial may read it but as its training data.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recgauntlet.attacks.poisoning.base import PoisoningAttack
from recgauntlet.attacks.poisoning.suite import POISONING_VERSION, chosen_attacks
from recgauntlet.attacks.poisoning.tables import PoisonStore
from recgauntlet.core import files as paths
from recgauntlet.core.card import RANKING_TIER, TaskCard, Track, TrainingDataThreat
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.poison import Targets
from recgauntlet.core.rng import derive
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.core.types import BoolArray, IntArray
from recgauntlet.data import cache as store
from recgauntlet.data.interactions import Interactions, load_interactions
from recgauntlet.data.negative_sampling import contains
from recgauntlet.data.poisoned import with_poison
from recgauntlet.training.build import changed


@dataclass(frozen=True, eq=False)
class TuningPoison:
    """What a trial is trained on again under one threat.

    threat
        Its id.
    files
        Training data with the poison of each attack.
    targets
        `[T]` catalog indices.
    eligible
        `[V, T]`: whether the user of each validation pair never takes the target before the test period, and takes no
        part in the attack.
    """

    threat: str
    files: tuple[Path, ...]
    targets: IntArray
    eligible: BoolArray


def tuning_poison(task: Task, track: Track, source: SourceOptions, prepared: Path) -> tuple[TuningPoison, ...]:
    """The poisoned training data of a track, made where it is not there: at the medium tier, for each ranked threat,
    by the attacks of the card whose attacker trains no surrogate.

    Raises
    ------
    DataError, OutputError, PluginError
        Where the data cannot be read, the cache cannot be written, or the card names an attack that there is not.
    """
    threats = [threat for threat in task.card.poisoning if threat.active and threat.ranked]
    if not threats:
        return ()
    genuine, data = load_interactions(task, track, source), store.load_training(prepared)
    card = _with_other_draws(task.card, track)
    return tuple(_poison(card, track, threat, source, prepared, genuine, data) for threat in threats)


def cheap_attacks(threat: TrainingDataThreat) -> tuple[PoisoningAttack, ...]:
    """The attacks of the card with public knowledge, which make their tables in seconds."""
    return tuple(attack for attack in chosen_attacks(threat, threat.attacks) if attack.knowledge == "public")


def _with_other_draws(card: TaskCard, track: Track) -> TaskCard:
    """`card` with another seed, so that nothing is tuned to the accounts and targets that are evaluated."""
    own = card.track(track)
    other = own.model_copy(update={"sampling_seed": derive(own.sampling_seed, "tuning")})
    return card.model_copy(update={"tracks": {**card.tracks, track: other}})


def _poison(
    card: TaskCard,
    track: Track,
    threat: TrainingDataThreat,
    source: SourceOptions,
    prepared: Path,
    genuine: Interactions,
    data: TaskData,
) -> TuningPoison:
    tables = PoisonStore(card, track, threat, genuine, source.cache)
    targets, files = tables.verifier.targets, []
    for attack in cheap_attacks(threat):
        made = tables.tables(attack)[RANKING_TIER]
        if made.faults:
            continue
        named = json.dumps([POISONING_VERSION, prepared.name, threat.id, made.table.header.sha256])
        path = paths.poison(source.cache) / f"tuning-{hashlib.sha256(named.encode()).hexdigest()[:24]}.npz"
        if not path.exists():
            poisoned = with_poison(data, genuine, made.poison, card.track(track))
            if fault := changed(data, poisoned, made.poison):
                raise RuntimeError(fault)
            store.save(poisoned.data, path)
        files.append(path)
    return TuningPoison(threat.id, tuple(files), targets.items, _eligible(data, genuine, targets))


def _eligible(data: TaskData, genuine: Interactions, targets: Targets) -> BoolArray:
    """By what is taken in training and in validation pairs: the test period is left unread."""
    size, training, valid = len(genuine.catalog), genuine.training, data.valid
    keys = np.unique(np.concatenate([training.keys(size), valid.users * size + valid.clicked]))
    never = ~contains(keys, valid.users[:, None] * size + targets.items[None, :])
    return never & ~np.isin(valid.users, targets.collective)[:, None]


def names_of(poison: Sequence[TuningPoison]) -> str:
    """What a study's results depend on."""
    return " ".join(path.name for each in poison for path in each.files)
