"""The tiny task with a threat to its training data."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import tiny_task

from recgauntlet.attacks.poisoning.base import Poisoning
from recgauntlet.attacks.poisoning.profiles import RandomProfiles as RandomProfiles
from recgauntlet.attacks.poisoning.suite import poisoning_attacks
from recgauntlet.attacks.poisoning.tables import PoisonStore, threat_of
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.interactions import load_interactions
from recgauntlet.data.prepare import prepare

POISONING = """
[[poisoning]]
id = "brushing"
surface = "training-data"
goal = "promote"
active = false
ranked = false
attacks = ["coattails", "random"]
accounts = { low = 0.05, medium = 0.1, high = 0.2 }
target_sets = ["tail", "head"]
targets = 2
source = "ours"
"""


INSERTIONS = """
[[poisoning]]
id = "playlist-insertion"
surface = "training-data"
goal = "promote"
active = false
ranked = false
insertions = { low = 0.01, medium = 0.02, high = 0.05 }
collective = 0.2
target_sets = ["label"]
targets = 3
source = "ours"
"""


def write_task(folder: Path) -> Path:
    """The card and its tables in `folder`; the card's path. Of 60 readers 3, 6 and 12 may be added."""
    card = tiny_task.write_task(folder)
    card.write_text(card.read_text(encoding="utf-8") + POISONING, encoding="utf-8")
    return card


def write_active_task(folder: Path) -> Path:
    """The same, where the threat to the training data is part of the evaluation, and nothing else is attacked."""
    card = write_task(folder)
    text = card.read_text(encoding="utf-8").replace("active = false\nranked = false", "active = true\nranked = true")
    kept = text[: text.index("[[threats]]")] + text[text.index('[[threats]]\nid = "embedding"') :]
    card.write_text(kept, encoding="utf-8")
    return card


def write_ordered_task(folder: Path) -> Path:
    """The same without a clock: each reader's books in their order, split for each reader alone."""
    card = write_task(folder)
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace("split = { ", 'split = { rule = "per-user", '), encoding="utf-8")
    header, *rows = (folder / "interactions.csv").read_text(encoding="utf-8").splitlines()
    by_time = sorted((row.split(",") for row in rows), key=lambda row: (row[0], int(row[2])))
    places = [f"{user},{item},{number % tiny_task.TAKES}" for number, (user, item, _) in enumerate(by_time)]
    content = "\n".join([header.replace("time", "position"), *places, ""])
    (folder / "interactions.csv").write_text(content, encoding="utf-8")
    return card


def write_insertion_task(folder: Path) -> Path:
    """The task without a clock, whose second threat puts 5, 10 and 27 books into the accounts of 12 readers."""
    card = write_ordered_task(folder)
    card.write_text(card.read_text(encoding="utf-8") + INSERTIONS, encoding="utf-8")
    return card


def make_store(
    folder: Path, write: Callable[[Path], Path] = write_task, threat: str | None = None
) -> tuple[PoisonStore, TaskData]:
    """The tiny task's store of poison tables, and its prepared data."""
    task = find_task_or_card(str(write(folder)))
    source = SourceOptions(directory=None, cache=folder / "cache", offline=True)
    genuine = load_interactions(task, "standard", source)
    store = PoisonStore(task.card, "standard", threat_of(task.card, threat), genuine, source.cache)
    return store, prepare(task, "standard", source)


def quick_attacks() -> tuple[Poisoning, ...]:
    """Every attack that makes accounts; the learned ones take two steps."""
    return tuple(type(attack)(**{"steps": 2}) if hasattr(attack, "steps") else attack for attack in poisoning_attacks())
