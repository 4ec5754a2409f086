"""A defense whose module imports what it is judged by."""

from __future__ import annotations

from recgauntlet import Defense
from recgauntlet.attacks.embedding.pgd import FGM


class Nosy(Defense):
    def strength(self) -> str:
        return FGM.name
