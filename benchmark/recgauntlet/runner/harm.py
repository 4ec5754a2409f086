"""The harm check of a trained model: its weights, and items that somebody names."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recgauntlet.core.card import TextThreat
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import DataError, PluginError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Progress
from recgauntlet.evaluation.harm import TOP, HarmCheck, check_harm
from recgauntlet.evaluation.setup import Trial
from recgauntlet.records.best_known import Challenged
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.challenge import check_belongs
from recgauntlet.runner.trained import Setup, host_of, load_cell
from recgauntlet.threats.knowledge import AttackerKnowledge

_LISTED = 12
"""Names that an error lists."""


@dataclass(frozen=True)
class Named:
    """Items that somebody names: their ids, or a category of the catalog; at most `most` of them."""

    ids: tuple[str, ...] = ()
    category: str | None = None
    most: int = 50

    def of(self, catalog: Catalog, rng: Randomness) -> tuple[tuple[int, ...], int]:
        """The catalog indices, rising, and how many there were before some of too many were drawn.

        Raises
        ------
        DataError
            Where an id or the category is not in the catalog, or nothing is named.
        """
        if self.category is not None:
            found = [item for item, category in enumerate(catalog.categories) if category == self.category]
            if not found:
                raise DataError(
                    f"there is no category {self.category!r}",
                    field="--category",
                    remedy=f"choose among: {_listed(sorted(set(catalog.categories) - {''})) or 'none, name --items'}",
                )
        else:
            index = {one: item for item, one in enumerate(catalog.ids)}
            unknown = [one for one in self.ids if one not in index]
            if unknown or not self.ids:
                problem = f"no item of the catalog has the id {unknown[0]!r}" if unknown else "names no item"
                remedy = f"give ids of the catalog, one a line, like: {_listed(catalog.ids[:3])}"
                raise DataError(problem, field="--items", remedy=remedy)
            found = sorted({index[one] for one in self.ids})
        chosen = rng.numpy().permutation(found)[: self.most].tolist()
        return tuple(sorted(chosen)), len(found)


@dataclass(frozen=True)
class Harm:
    """What a harm check found, beside the catalog that its items are of.

    redistributable
        Whether texts of the data may be passed on.
    named
        How many items were named; more than were pushed where there were too many.
    """

    title: str
    catalog: Catalog
    redistributable: bool
    named: int
    checks: tuple[HarmCheck, ...]

    def content(self) -> dict[str, Any]:
        """What a JSON file has of it, texts only where they may be passed on."""
        return {
            "cell": self.title,
            "items_named": self.named,
            "threats": [self._of(check) for check in self.checks],
        }

    def _of(self, check: HarmCheck) -> dict[str, Any]:
        tiers = [
            {
                "tier": pushed.tier,
                "items": [
                    {
                        "id": self.catalog.ids[item],
                        **({"text": self.catalog.texts[item], "found": text} if self.redistributable else {}),
                        "rank_before": float(before.mean()),
                        "rank_after": float(after.mean()),
                        "top_before": float((before <= TOP).mean()),
                        "top_after": float((after <= TOP).mean()),
                    }
                    for item, text, before, after in zip(
                        check.items, pushed.texts, pushed.before, pushed.after, strict=True
                    )
                ],
            }
            for pushed in check.pushed
        ]
        return {"threat": check.threat, "users": check.users, "rivals": check.rivals, "top": TOP, "tiers": tiers}


def run_harm_check(
    checkpoint: Path,
    setup: Setup,
    named: Named,
    *,
    record: RunRecord | None = None,
    threat: str | None = None,
    progress: Progress = lambda what, share: None,
) -> Harm:
    """Push the named items by their texts in the lists of the model whose weights are in `checkpoint`, under `threat`,
    or under every ranked threat to texts. Code of plugins runs in processes of its own.

    Raises
    ------
    RecordError
        Where the weights or the data are not those of `record`.
    DataError
        Where the items are not in the catalog.
    PluginError
        Where there is no such threat to texts, or the model does not read texts.
    """
    with host_of(checkpoint, setup) as host:
        loaded = load_cell(checkpoint, setup, host=host, progress=progress)
        if record is not None:
            check_belongs(loaded, Challenged.of(record), checkpoint)
        card, data, info = loaded.cell.task.card, loaded.data, loaded.info
        rng = Randomness(info.seed, "harm")
        items, count = named.of(data.catalog, rng.child("items"))
        threats = _threats(card.threats, loaded.served.surfaces, threat)
        loaded.served.eval().requires_grad_(False)
        trial = Trial.of(loaded.served, data, AttackerKnowledge.of(card, data))
        checks = [check_harm(trial, data, one, items, rng, progress) for one in threats]
    return Harm(
        title=loaded.cell.spec.title,
        catalog=data.catalog,
        redistributable=card.track(info.track).source.redistributable,
        named=count,
        checks=tuple(checks),
    )


def _threats(threats: Sequence[Any], surfaces: frozenset[Any], name: str | None) -> list[TextThreat]:
    """The threat of that name, or the ranked ones to texts; all to texts where none of them is ranked."""
    texts = [threat for threat in threats if isinstance(threat, TextThreat) and threat.surface in surfaces]
    found = [threat for threat in texts if (threat.ranked if name is None else threat.id == name)]
    if not found and (name is not None or not texts):
        raise PluginError(
            "this model reads no text that the task lets an attacker change"
            if name is None
            else f"{name!r} is no threat to texts that this model reads",
            field="--threat",
            remedy=f"choose among: {', '.join(threat.id for threat in texts)}"
            if texts
            else "take a model and a task of texts; histories are each user's own, no seller writes them",
        )
    return found or texts


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
    return ", ".join(names[:_LISTED]) + more
