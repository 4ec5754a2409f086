"""Which of a task's threats a defense trains on, what legal edits of them it may draw, and draws by example."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from typing import cast

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import TIERS, Threat, Tier
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.types import Surface
from recgauntlet.data.encoder import sentence_vectors
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.history import HistoryThreatModel
from recgauntlet.threats.lexicon import Lexicon
from recgauntlet.threats.text import TextThreatModel
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses._history_edits import HistoryEdits
from recgauntlet_baselines.defenses._text_edits import TextEdits


class TaskEdits:
    """The legal text and history edits of a task at one tier.

    The words of the catalog, and the vectors of its items, are looked up when an edit is first asked for: a cell that
    only serves a model never needs them.
    """

    def __init__(self, threats: Sequence[Threat], catalog: Catalog, tier: Tier) -> None:
        self._makers: dict[Surface, Callable[[Budget], TextEdits | HistoryEdits]] = {
            "candidate-text": self._text_edits,
            "history": self._history_edits,
        }
        self._threats = [threat for threat in threats if threat.surface in self._makers]
        self._catalog = catalog
        self._tier: Tier = tier
        self._made: dict[str, TextEdits | HistoryEdits] = {}

    def at(self, surfaces: frozenset[Surface], step: int) -> TextEdits | HistoryEdits | None:
        """What is edited in step `step` of a model that reads `surfaces`: the ranked threats take turns; where it reads
        none of them, the others that it reads; None where there is none."""
        read = [threat for threat in self._threats if threat.surface in surfaces]
        threats = [threat for threat in read if threat.ranked] or read
        if not threats:
            return None
        threat = threats[step % len(threats)]
        if threat.id not in self._made:
            self._made[threat.id] = self._makers[threat.surface](Budget.of(threat, self._tier))
        return self._made[threat.id]

    def _text_edits(self, budget: Budget) -> TextEdits:
        return TextEdits(self._lexicon, TextThreatModel.of(budget).card, budget)

    def _history_edits(self, budget: Budget) -> HistoryEdits:
        vectors = torch.from_numpy(sentence_vectors(self._catalog.texts))
        return HistoryEdits(vectors, HistoryThreatModel.of(budget).card, budget)

    @cached_property
    def _lexicon(self) -> Lexicon:
        return Lexicon(self._catalog.texts)


class EditsDefense(Defense):
    """A defense that trains on the legal edits that a task's threats allow at `tier`; PluginError for an unknown
    tier."""

    tier: str
    _edits: TaskEdits | None = None

    def __post_init__(self) -> None:
        if self.tier not in TIERS:
            raise PluginError(
                f"there is no tier {self.tier!r}", field="tier", remedy=f"choose among: {', '.join(TIERS)}"
            )

    def prepare(self, threats: Sequence[Threat], catalog: Catalog) -> None:
        self._edits = TaskEdits(threats, catalog, cast(Tier, self.tier))

    def edits(self, model: Recommender, context: TrainingContext) -> TextEdits | HistoryEdits | None:
        """What is edited in this step, see `TaskEdits.at`; None before `prepare`."""
        return self._edits.at(model.surfaces, context.step) if self._edits else None


def uniform(context: TrainingContext, ids: Tensor, width: int) -> Tensor:
    """`[B, width]` even draws from [0, 1) on the device of `ids [B]`: row b depends on the step and `ids[b]` alone, and
    its first columns do not depend on `width`."""
    rows = [torch.rand(width, generator=context.rng.torch(context.step, number)) for number in ids.tolist()]
    return torch.stack(rows).to(ids.device) if rows else torch.empty((0, width), device=ids.device)


def uniform_of_items(context: TrainingContext, batch: Batch) -> Tensor:
    """`[U, H]` even draws for the items of the batch's histories. A user of a batch is known by the first example
    shown to it, as one user may stand in a batch twice; the newest item has the first draw, however wide histories
    are."""
    unseen = torch.full((len(batch.users),), torch.iinfo(torch.int64).max, device=batch.rows.device)
    key = unseen.scatter_reduce(0, batch.rows, batch.example_ids, "amin")
    return uniform(context, key, batch.users.histories.shape[1]).flip(1)
