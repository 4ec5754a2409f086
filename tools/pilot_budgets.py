"""What candidate budgets of the ranked threats leave of an undefended and of defended `nrms`, on real data.

    python tools/pilot_budgets.py TASK --weights DIRECTORY [--dir DATA] [--pairs N] [--defense NAME]

Writes docs/reference/pilot.json, run by run; runs that it has are not made again. Weights that DIRECTORY lacks are
trained (minutes each). Seed 0, the first N test pairs, the attacks of the suite and the inputs that fool the
undefended model.
"""

from __future__ import annotations

import argparse
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch

from recgauntlet.attacks.base import Attack
from recgauntlet.attacks.suite import transfer_for
from recgauntlet.attacks.surrogate import SurrogateInputs
from recgauntlet.core.card import TaskCard, Threat
from recgauntlet.core.files import cache_root, write_atomically
from recgauntlet.core.names import stored
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions, find_task
from recgauntlet.data.prepare import prepare
from recgauntlet.data.synonyms import make_ready
from recgauntlet.evaluation.first_pairs import first_pairs
from recgauntlet.evaluation.robustness import run_threat
from recgauntlet.evaluation.setup import Trial, attackable
from recgauntlet.runner.cell import train_and_save
from recgauntlet.runner.record import Machine
from recgauntlet.threats.embedding_scale import embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim
from recgauntlet.training.build import OpenCell, open_cell, untrained
from recgauntlet.training.checkpoint import load_weights

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "pilot.json"
SEED = 0
MODEL = "nrms"
ON_EDITS = ("discrete", "augmentation")
"""Defenses that train on what the threat allows, and are trained anew for each budget."""


def tiers(low: float, medium: float, high: float) -> dict[str, float]:
    return {"low": low, "standard": medium, "high": high}


@dataclass(frozen=True)
class Candidate:
    """A budget that was tried: what it has in place of the ranked threat's own fields (nothing: that of the card), and
    the defenses that were tried under it."""

    name: str
    defenses: tuple[str, ...] = ("none",)
    changes: dict[str, Any] = field(default_factory=dict)


_WORDS = {"operations": ("replace-word",), "characters": None, "words": tiers(1, 2, 4)}
CANDIDATES: dict[str, tuple[Candidate, ...]] = {
    "ecommerce-purchase": (
        Candidate(
            "1/2/4 words added, of the 5/20/all nearest products",
            ("none", "pgd", "trades", "discrete", "augmentation", "word-dropout"),
        ),
        Candidate(
            "1/2/4 words added or replaced, of all (version 2)",
            ("none", "discrete"),
            {"operations": ("insert-word", "replace-word"), "nearest_items": None},
        ),
        Candidate("1/2/4 words added, of all", changes={"nearest_items": None}),
        Candidate(
            "1/2/4 words added or replaced, of the 5/20/all nearest products",
            changes={"operations": ("insert-word", "replace-word")},
        ),
        Candidate("1/2/4 words added, of the 3/10/all nearest products", changes={"nearest_items": tiers(3, 10, 1e4)}),
        Candidate("1/2/4 words added, of the 5/50/all nearest products", changes={"nearest_items": tiers(5, 50, 1e4)}),
    ),
    "news-click": (
        Candidate(
            "1/2/4 words replaced by near ones, or 0/1/2 misspelt",
            ("none", "pgd", "trades", "discrete"),
            {"words": tiers(1, 2, 4), "characters": tiers(0, 1, 2)},
        ),
        Candidate(
            "1/2/4 words replaced by near ones, or 1/2/4 misspelt (version 2)",
            changes={"words": tiers(1, 2, 4), "characters": tiers(1, 2, 4)},
        ),
        Candidate("1/2/4 words replaced by near ones", changes=_WORDS),
        Candidate(
            "1/2/4 words replaced by synonyms of WordNet, cosine 0.5",
            changes={**_WORDS, "synonyms": "wordnet", "synonym_cosine": 0.5},
        ),
        Candidate(
            "1/2/4 words replaced by synonyms of WordNet, any cosine",
            changes={**_WORDS, "synonyms": "wordnet", "synonym_cosine": 0.0},
        ),
    ),
    "video-watch": (
        Candidate(
            "1/2/5 items replaced, inserted or deleted",
            ("none", "pgd", "trades", "discrete", "history-dropout", "dirichlet-neighborhood"),
        ),
    ),
    "music-listen": (
        Candidate("1/3/6 items replaced, inserted or deleted", ("none", "discrete")),
        Candidate("1/2/5 items replaced, inserted or deleted", ("none", "pgd", "discrete"), {"edits": tiers(1, 2, 5)}),
    ),
}


def with_changes(card: TaskCard, candidate: Candidate) -> tuple[TaskCard, Threat]:
    """The card with the candidate's budget as its only threat to inputs, and that threat."""
    (threat,) = (threat for threat in card.threats if threat.ranked)
    changed = type(threat).model_validate({**threat.model_dump(), **candidate.changes})
    return card.model_copy(update={"threats": (changed,)}), changed


def served(cell: OpenCell, weights: Path, data: Any) -> Recommender:
    """The cell's model as it is served, trained where there are no weights."""
    machine = Machine.of(cell.spec, cell.model)
    if not weights.exists():
        weights.parent.mkdir(parents=True, exist_ok=True)
        train_and_save(cell, data, machine, weights, lambda what, share: None)
    model = untrained(cell, data, machine.device)
    load_weights(model, weights)
    return cell.defense_object.wrap(model).eval().requires_grad_(False)


def outcome(model: Recommender, twin: Recommender | None, card: TaskCard, threat: Threat, data: Any) -> dict[str, Any]:
    """Shares of the examples that are right: clean, of those the attackable ones, and by tier after all attacks."""
    trial = Trial.of(model, data, AttackerKnowledge.of(card, data))
    view, rng = trial.under(threat), Randomness(SEED, "evaluation")
    extra: tuple[Attack, ...] = ()
    if twin is not None:
        victim = Victim(twin, view.world, embedding_scale(twin, data.catalog), view.batch)
        extra = (transfer_for(threat, SurrogateInputs(victim, (), rng.child("twin"))),)
    result = run_threat(trial, threat, rng, extra=extra)
    open_ = attackable(threat, view.batch)
    share = {tier.tier: float(tier.robust.mean()) for tier in result.tiers}
    lost = {
        tier.tier: float((view.right & open_ & ~torch.from_numpy(tier.robust)).float().mean()) for tier in result.tiers
    }
    found = {"clean": float(view.right.float().mean()), "attackable": float((view.right & open_).float().mean())}
    return {**found, "robust": share, "lost": {tier: lost[tier] / found["attackable"] for tier in lost}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("task", choices=CANDIDATES)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--dir", type=Path)
    parser.add_argument("--pairs", type=int, default=250)
    parser.add_argument("--defense", action="append")
    parser.add_argument("--trained-on", default="this version", help="what weights of DIRECTORY were trained on")
    given = parser.parse_args()
    torch.set_num_threads(1)
    source = SourceOptions(directory=given.dir, cache=cache_root())
    task = find_task(given.task)
    whole = prepare(task, "standard", source)
    data = first_pairs(whole, given.pairs)
    runs = json.loads(FILE.read_text(encoding="utf-8")) if FILE.exists() else []
    for number, candidate in enumerate(CANDIDATES[given.task]):
        for defense in candidate.defenses:
            key = {"task": given.task, "budget": candidate.name, "defense": defense, "weights": given.trained_on}
            unwanted = given.defense and defense not in given.defense
            if unwanted or any(key.items() <= run.items() for run in runs):
                continue
            card, threat = with_changes(task.card, candidate)
            if card.uses_synonyms():
                make_ready(source.cache)
            name = stored("defense", defense)
            spec = CellSpec(given.task, "standard", MODEL, name, SEED, given.weights, source, device="cpu", threads=1)
            cell = open_cell(spec, replace(task, card=card))
            own = f"+{number}" if defense in ON_EDITS and number else ""
            place = given.weights / given.task / f"{MODEL}-{name}-{SEED}{own}.safetensors"
            model, twin = served(cell, place, whole), None
            if defense != "none":
                plain = open_cell(spec.twin(), replace(task, card=card))
                twin = served(plain, given.weights / given.task / f"{MODEL}-standard-{SEED}.safetensors", whole)
            found = outcome(model, twin, card, threat, data)
            budget = threat.model_dump(mode="json", exclude={"source"})
            runs.append({**key, "threat": budget, "pairs": len(data.test), **found})
            write_atomically(FILE, (json.dumps(runs, indent=1) + "\n").encode())
            print(json.dumps(runs[-1]), flush=True)


if __name__ == "__main__":
    main()
