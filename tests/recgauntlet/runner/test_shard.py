"""A sweep shared out to jobs."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import pytest

from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.runner.shard import Shard

SOURCE = SourceOptions(directory=None, cache=Path("cache"), offline=True)


def specs(models: tuple[str, ...], defenses: tuple[str, ...]) -> list[CellSpec]:
    return [
        CellSpec("video-watch", "standard", model, defense, seed, Path("out"), SOURCE)
        for seed, model, defense in product(range(3), models, defenses)
    ]


@pytest.mark.parametrize("count", [1, 2, 4, 9, 12])
def test_every_cell_is_in_one_shard_and_every_twin_too(count: int) -> None:
    cells = specs(("nrms", "bpr-mf", "sasrec"), ("none", "pgd", "fgm"))
    shards = [Shard(number, count).of(cells) for number in range(1, count + 1)]
    assert sorted(cell.record_path for shard in shards for cell in shard) == sorted(cell.record_path for cell in cells)
    twins = [{cell.twin().record_path for cell in shard} for shard in shards]
    assert sum(map(len, twins)) == len(set().union(*twins)) == 9
    assert sum(not shard for shard in shards) == max(0, count - 9)


def test_large_groups_are_shared_out_evenly() -> None:
    cells = specs(("nrms",), ("none", "pgd", "fgm", "trades")) + specs(("bpr-mf", "din"), ("none", "pgd"))
    assert [len(Shard(number, 3).of(cells)) for number in (1, 2, 3)] == [8, 8, 8]


def test_what_is_in_a_shard_does_not_depend_on_the_order_of_defenses() -> None:
    one = Shard(2, 4).of(specs(("nrms", "din"), ("none", "pgd")))
    other = Shard(2, 4).of(specs(("nrms", "din"), ("pgd", "none")))
    assert {cell.record_path for cell in one} == {cell.record_path for cell in other}
