"""A share of a sweep, for one of many jobs: Slurm arrays, indexed jobs of Kubernetes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from recgauntlet.core.spec import CellSpec


@dataclass(frozen=True)
class Shard:
    """Shard `number` of `count`, counted from 1.

    Cells with the same undefended twin are in one shard, so that no twin is trained twice. What is in a shard depends
    on what is asked for alone, not on what is done already.
    """

    number: int
    count: int

    def __str__(self) -> str:
        return f"{self.number}-of-{self.count}"

    def of(self, specs: Sequence[CellSpec]) -> tuple[CellSpec, ...]:
        """The cells of this shard, in their order: the largest groups go first, each to the emptiest shard."""
        groups: dict[Path, list[CellSpec]] = {}
        for spec in specs:
            groups.setdefault(spec.twin().record_path, []).append(spec)
        sizes = [0] * self.count
        mine: set[Path] = set()
        for twin, cells in sorted(groups.items(), key=lambda group: -len(group[1])):
            emptiest = sizes.index(min(sizes))
            sizes[emptiest] += len(cells)
            if emptiest == self.number - 1:
                mine.add(twin)
        return tuple(spec for spec in specs if spec.twin().record_path in mine)
