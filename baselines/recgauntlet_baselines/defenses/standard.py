"""Standard training: no defense. The undefended twin of every other row."""

from __future__ import annotations

from recgauntlet.training.defense import Defense


class Standard(Defense):
    """Minimize the binary cross-entropy on clean examples."""
