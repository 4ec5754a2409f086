"""The threat to a user's history, and the verifier's rules for it.

A perturbed history is what at most `amount` edits make of the clean one, found by alignment (Levenshtein over
the sequences of items, so the order of everything else is kept):

- Only the last `window` items of the clean history may change; what is older stays.
- A replacement is another item of the catalog with a cosine of at least `min_cosine` to what it replaces
  (frozen text encoder).
- An item is inserted behind another clean item inside the window, and has that cosine to it.
- Only the operations that the threat names.
- The width is fixed. Where the clean history fills it, insertions push the oldest items out, as a new click
  does; that costs no edit of its own.
- Padding stands in front, and at least one item is left.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from recgauntlet.core.card import HistoryThreat, Threat
from recgauntlet.core.types import PAD, Edit, Surface
from recgauntlet.threats.base import ThreatModel, place_fault, slashed
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.edits import apply_history_edits, history_edits, items_of

if TYPE_CHECKING:
    from torch import Tensor

    from recgauntlet.core.batch import Batch
    from recgauntlet.core.dataset import Catalog
    from recgauntlet.core.recommender import Recommender
    from recgauntlet.core.rng import Randomness
    from recgauntlet.threats.embedding_scale import EmbeddingScale
    from recgauntlet.threats.knowledge import AttackerKnowledge
    from recgauntlet.threats.victim import Victim

_ROUNDING = 1e-5
_FAR = 10**6


class HistoryThreatModel(ThreatModel[HistoryThreat]):
    """Items of the user's history are replaced, inserted or deleted."""

    surface: ClassVar[Surface] = "history"
    is_discrete: ClassVar[bool] = True
    unit: ClassVar[str] = "items"
    changes_user: ClassVar[bool] = True

    def most_touched(self, edits: int, length: int, width: int) -> int:
        """The most items that go or come within `edits` of a history of `length` items and `width` places."""
        able = {op: edits if op in self.card.operations else 0 for op in ("replace", "insert", "delete")}
        most = 0
        for replaced in range(able["replace"] + 1):
            for inserted in range(min(able["insert"], edits - replaced) + 1):
                for deleted in range(min(able["delete"], edits - replaced - inserted) + 1):
                    pushed_out = max(0, length + inserted - deleted - width)
                    gone = min(length, replaced + deleted + pushed_out)
                    most = max(most, gone + replaced + inserted)
        return most

    def touched(self, catalog: Catalog, batch: Batch, budget: Budget) -> Tensor:
        import torch

        histories = batch.histories()
        edits, width = int(budget.amount), histories.shape[1]
        of_length = torch.tensor([self.most_touched(edits, length, width) for length in range(width + 1)])
        return of_length[(histories != PAD).sum(dim=1).cpu()]

    def has_legal_input(self, world: AttackerKnowledge, batch: Batch, budget: Budget) -> Tensor:
        import torch

        histories = batch.histories().cpu()
        if budget.amount < 1:
            return torch.zeros(len(batch), dtype=torch.bool)
        window = histories[:, max(0, histories.shape[1] - self.card.window) :]
        real, vectors = window != PAD, world.item_vectors
        items = torch.unique(window[real])
        has_alike = torch.zeros(len(vectors), dtype=torch.bool)
        has_alike[items] = (vectors[items] @ vectors.T >= self.card.min_cosine - _ROUNDING).sum(dim=1) > 1
        legal = torch.zeros(len(batch), dtype=torch.bool)
        if {"replace", "insert"} & set(self.card.operations):
            legal |= (has_alike[window.clamp(min=0)] & real).any(dim=1)
        if "delete" in self.card.operations:
            legal |= real.any(dim=1) & ((histories != PAD).sum(dim=1) > 1)
        return legal

    @classmethod
    def changed(cls, catalog: Catalog, clean: Batch, perturbed: Batch) -> Tensor:
        return (perturbed.histories() != clean.histories()).any(dim=1)

    @classmethod
    def unchanged(cls, model: Recommender, catalog: Catalog, clean: Batch) -> Batch:
        return clean.with_histories(clean.histories())

    @classmethod
    def put(cls, catalog: Catalog, batch: Batch, rows: Tensor, other: Batch) -> Batch:
        return batch.with_histories(batch.histories().index_copy(0, rows, other.histories()))

    @classmethod
    def to_tensor(cls, catalog: Catalog, batch: Batch) -> Tensor:
        return batch.histories()

    @classmethod
    def from_tensor(cls, clean: Batch, held: Tensor) -> Batch:
        return clean.with_histories(held)

    def faults(
        self, world: AttackerKnowledge, scale: EmbeddingScale, budget: Budget, clean: Batch, perturbed: Batch
    ) -> list[str]:
        rows = zip(clean.histories().tolist(), perturbed.histories().tolist(), strict=True)
        return [
            "" if before == after else history_fault(world.item_vectors, self.card, int(budget.amount), before, after)
            for before, after in rows
        ]

    @classmethod
    def gradient(cls, victim: Victim, batch: Batch) -> tuple[Tensor, Tensor, float]:
        logits, embedded, gradient = victim.history_gradient(batch)
        norms = embedded.norm(dim=2)
        return logits, gradient, float(norms[norms > 0].mean()) if bool((norms > 0).any()) else 0.0

    @classmethod
    def shifted_scores(cls, model: Recommender, batch: Batch, step: Tensor) -> Tensor:
        import torch

        users = batch.users.select(batch.rows)
        with torch.no_grad():
            state = model.encode_user(users, model.embed_history(users) + step)
            return model.score(state, model.candidates(batch.items, batch.texts))

    @classmethod
    def edits(cls, catalog: Catalog, clean: Batch, perturbed: Batch, row: int) -> tuple[Edit, ...]:
        return history_edits(_row(clean, row), _row(perturbed, row), catalog)

    @classmethod
    def rebuilt(cls, catalog: Catalog, clean: Batch, edits: Sequence[Sequence[Edit]]) -> Batch:
        import torch

        pairs = zip(clean.histories().tolist(), edits, strict=True)
        changed = [apply_history_edits(*pair, catalog) for pair in pairs]
        return clean.with_histories(torch.tensor(changed, device=clean.items.device))

    @classmethod
    def unseen(cls, catalog: Catalog, clean: Batch, edits: Sequence[Sequence[Edit]], rng: Randomness) -> Batch:
        """The users are others too: such as are not in the batch."""
        import torch

        draw, histories = rng.numpy(), clean.histories().clone()
        for row, found in enumerate(edits):
            first = histories.shape[1] - len(items_of(_row(clean, row)))
            kept = {first + edit.at - step for edit in found for step in (0, int(edit.op == "insert"))}
            for place in range(first, histories.shape[1]):
                if place not in kept:
                    histories[row, place] = int(draw.integers(len(catalog)))
        other = clean.with_histories(histories)
        known = clean.users.ids
        strangers = torch.arange(int(known.max()) + 1, device=known.device)
        strangers = strangers[~torch.isin(strangers, known)]
        if not len(strangers):
            return other
        ids = strangers[torch.from_numpy(draw.integers(len(strangers), size=len(clean))).to(known.device)]
        return replace(other, users=replace(other.users, ids=ids))

    @classmethod
    def edit_fault(cls, catalog: Catalog, clean: Batch, row: int, edits: Sequence[Edit]) -> str:
        unknown = (edit.new for edit in edits if edit.op != "delete" and edit.new not in catalog.ids)
        fault = place_fault(edits, len(items_of(_row(clean, row))))
        return fault or next((f"there is no item {item!r} in the catalog" for item in unknown), "")

    @classmethod
    def evidence_input(cls, catalog: Catalog, batch: Batch, row: int, edits: Sequence[Edit]) -> dict[str, Any]:
        from recgauntlet.threats.text import text_of

        titles = {edit.new: catalog.texts[catalog.ids.index(edit.new)] for edit in edits if edit.new}
        return {
            "before": tuple(catalog.texts[item] for item in items_of(_row(batch, row))),
            "candidate": text_of(catalog, batch, row),
            "edits": tuple(edit.model_copy(update={"title": titles.get(edit.new, "")}) for edit in edits),
        }

    @classmethod
    def axis(cls, by_characters: bool = False) -> str:
        return "items of the history changed"

    @classmethod
    def budget_text(cls, amounts: Sequence[float], characters: Sequence[int] = (), card: Threat | None = None) -> str:
        return f"{slashed(amounts)} items"

    def limits(self) -> list[str]:
        *first, last = self.card.operations
        operations = f"{', '.join(first)} and {last}" if first else last
        return [
            f"{operations} among the last {self.card.window}",
            f"a replacement’s cosine to the item it replaces is at least {self.card.min_cosine:g}",
            "the order of the rest is kept",
        ]


def _row(batch: Batch, row: int) -> list[int]:
    """The history of the example at `row`, PAD in front."""
    found: list[int] = batch.users.histories[batch.rows[row]].tolist()
    return found


def history_fault(
    vectors: Tensor, threat: HistoryThreat, edits: int, clean: Sequence[int], perturbed: Sequence[int]
) -> str:
    """Why the row `perturbed [H]` is not a legal change of the row `clean [H]`; empty where it is.

    `vectors [N, E]` are the catalog's unit vectors.
    """
    if list(clean) == list(perturbed):
        return ""
    before, after = items_of(clean), items_of(perturbed)
    if not after:
        return "the history became empty"
    if list(perturbed[len(perturbed) - len(after) :]) != after:
        return "padding stands behind or between items"
    if not all(0 <= item < len(vectors) for item in after):
        return "an item is not in the catalog"
    overflow = min(edits, len(before)) if len(after) == len(perturbed) else 0
    if any(_distance(vectors, threat, before, after, pushed_out, edits) <= edits for pushed_out in range(overflow + 1)):
        return ""
    return f"not within {edits} edits of the last {threat.window} items"


def _distance(
    vectors: Tensor, threat: HistoryThreat, before: list[int], after: list[int], pushed_out: int, edits: int
) -> int:
    """The least number of legal edits that make `after` of `before`, its `pushed_out` oldest items gone for
    free; `_FAR` where it takes more than `edits`.

    `cost[j]` is that number for the clean items seen so far and the first `j` of `after`; only a band around
    the diagonal can be within `edits`.
    """
    may_replace, may_insert, may_delete = (op in threat.operations for op in ("replace", "insert", "delete"))
    fixed = len(before) - threat.window
    close = partial(_close, vectors, threat.min_cosine)
    cost = [0] + [_FAR] * len(after)
    for done in range(pushed_out, len(before) + 1):
        middle = done - pushed_out
        band = range(max(0, middle - edits), min(len(after), middle + edits) + 1)
        if may_insert and done > max(0, fixed):
            for j in band:
                gains = j < len(after) and cost[j] < min(edits, cost[j + 1] - 1)
                if gains and after[j] != before[done - 1] and close(after[j], before[done - 1]):
                    cost[j + 1] = cost[j] + 1
        if done == len(before):
            break
        old, frozen = before[done], done < fixed
        following = [_FAR] * (len(after) + 1)
        for j in band:
            if cost[j] > edits:
                continue
            if j < len(after) and after[j] == old:
                following[j + 1] = min(following[j + 1], cost[j])
            elif j < len(after) and not frozen and may_replace and close(after[j], old):
                following[j + 1] = min(following[j + 1], cost[j] + 1)
            if not frozen and may_delete:
                following[j] = min(following[j], cost[j] + 1)
        cost = following
    return cost[-1] if cost[-1] <= edits else _FAR


def _close(vectors: Tensor, least: float, first: int, second: int) -> bool:
    return float(vectors[first] @ vectors[second]) >= least - _ROUNDING
