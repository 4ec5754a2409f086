"""Interactions are read once and then kept; a kept file that was changed is refused."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from poison_task import write_ordered_task, write_task

from recgauntlet.core import files as paths
from recgauntlet.core.errors import DataError
from recgauntlet.core.task import SourceOptions, Task
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.interactions import Interactions, load_interactions


def named(folder: Path, *, ordered: bool = False) -> tuple[Task, SourceOptions]:
    """The tiny task with its data's fingerprint on the card, as the tasks of the suite have it."""
    card = (write_ordered_task if ordered else write_task)(folder)
    options = SourceOptions(directory=None, cache=folder / "cache", offline=True)
    found = load_interactions(find_task_or_card(str(card)), "standard", options)
    text = card.read_text(encoding="utf-8")
    card.write_text(text.replace('fingerprint = ""', f'fingerprint = "{found.fingerprint}"'), encoding="utf-8")
    return find_task_or_card(str(card)), options


def kept(options: SourceOptions) -> list[Path]:
    return sorted(paths.prepared(options.cache).glob("*-interactions-*"))


def same(first: Interactions, second: Interactions) -> bool:
    arrays = all(
        np.array_equal(getattr(first.takes, name), getattr(second.takes, name)) for name in ("users", "items", "times")
    )
    plain = ("fingerprint", "catalog", "user_ids", "training_end", "has_clock")
    return (
        arrays
        and np.array_equal(first.in_training, second.in_training)
        and all(getattr(first, name) == getattr(second, name) for name in plain)
    )


@pytest.mark.parametrize("ordered", [False, True])
def test_the_source_is_read_once(tmp_path: Path, ordered: bool) -> None:
    task, options = named(tmp_path, ordered=ordered)
    assert kept(options) == []  # without a fingerprint on the card nothing says which data is meant
    first = load_interactions(task, "standard", options)
    assert len(kept(options)) == 1
    (tmp_path / "interactions.csv").unlink()
    assert same(load_interactions(task, "standard", options), first)


def test_another_split_is_another_file(tmp_path: Path) -> None:
    task, options = named(tmp_path)
    first = load_interactions(task, "standard", options)
    track = task.card.track("standard")
    moved = track.model_copy(update={"split": track.split.model_copy(update={"valid_from": "0.5"})})
    other = replace(task, card=task.card.model_copy(update={"tracks": {"standard": moved}}))
    second = load_interactions(other, "standard", options)
    assert len(second.training) < len(first.training)
    assert len(kept(options)) == 2


def test_a_changed_or_damaged_file_is_refused(tmp_path: Path) -> None:
    task, options = named(tmp_path)
    load_interactions(task, "standard", options)
    (path,) = kept(options)
    whole = path.read_bytes()
    with np.load(path) as stored:
        arrays = {**stored, "items": stored["items"][::-1]}
    np.savez_compressed(path, **arrays)
    with pytest.raises(DataError, match="was changed since it was written") as caught:
        load_interactions(task, "standard", options)
    assert caught.value.where == str(path)
    path.write_bytes(whole[:-40])
    with pytest.raises(DataError, match="the prepared data is damaged"):
        load_interactions(task, "standard", options)
