"""How many words have a replacement as neighbours and as WordNet synonyms, and what both leave of an `nrms`.

    python tools/compare_synonyms.py CHECKPOINT [--pairs N]      writes docs/reference/synonyms.json (minutes)

CHECKPOINT is an undefended `nrms` of the demo track of `news-click`. Words are counted in the catalogs of two demo
tracks, each as often as it stands there, names and words with digits among them: a threat may leave them out.
Attacked are the first N test pairs, by the task's own text threat without misspellings.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recgauntlet import load_data
from recgauntlet.core.card import TextThreat
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.files import cache_root
from recgauntlet.core.rng import Randomness
from recgauntlet.core.task import SourceOptions
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.synonyms import make_ready
from recgauntlet.evaluation.first_pairs import first_pairs
from recgauntlet.evaluation.robustness import run_threat
from recgauntlet.evaluation.setup import Trial
from recgauntlet.runner.trained import Setup, load_cell
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.lexicon import Lexicon, words_of

FILE = Path(__file__).resolve().parents[1] / "docs" / "reference" / "synonyms.json"
CATALOGS = ("news-click", "ecommerce-purchase")
RULES: tuple[dict[str, Any], ...] = (
    {"synonyms": "neighbours", "synonym_cosine": 0.6},
    {"synonyms": "wordnet", "synonym_cosine": 0.6},
    {"synonyms": "wordnet", "synonym_cosine": 0.5},
    {"synonyms": "wordnet", "synonym_cosine": 0.4},
    {"synonyms": "wordnet", "synonym_cosine": 0.0},
)
SEED = 0


def replaceable(data: TaskData, threat: TextThreat) -> dict[str, float]:
    """The share of the words of a catalog that have a replacement, and how many these have on average."""
    lexicon = Lexicon(data.catalog.texts)
    words = Counter(word for text in data.catalog.texts for word in words_of(text))
    lexicon.prepare(words)
    found = {word: len(lexicon.replacements(word, threat)) for word in words}
    having = sum(times for word, times in words.items() if found[word])
    total = sum(found[word] * times for word, times in words.items())
    return {"share": having / sum(words.values()), "replacements": total / max(having, 1)}


def robust_accuracy(trial: Trial, threat: TextThreat) -> dict[str, float]:
    """The share of the examples that are right on the clean input, and after all attacks of each tier."""
    result = run_threat(trial, threat, Randomness(SEED, "synonyms"))
    clean = trial.under(threat).right.float().mean().item()
    return {"clean": clean, **{tier.tier: float(tier.robust.mean()) for tier in result.tiers}}


def text_threat(task: str, changes: Mapping[str, Any]) -> TextThreat:
    """The task's text threat without misspellings and added words, with `changes`."""
    threat = next(t for t in find_task_or_card(task).card.threats if isinstance(t, TextThreat))
    plain = {"operations": ("replace-word",), "characters": None, "nearest_items": None}
    return TextThreat.model_validate({**threat.model_dump(exclude={"synonyms"}), **plain, **changes})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--pairs", type=int, default=200)
    given = parser.parse_args()
    source = SourceOptions(directory=None, cache=cache_root())
    make_ready(source.cache)
    loaded = load_cell(given.checkpoint, Setup(lambda task: source))
    data = first_pairs(loaded.data, given.pairs)
    loaded.served.eval().requires_grad_(False)  # else dropout would break examples
    trial = Trial.of(loaded.served, data, AttackerKnowledge.of(loaded.cell.task.card, data))
    catalogs = {task: load_data(task, "demo", source=source) for task in CATALOGS}
    rules = [
        {
            **rule,
            "words": {task: replaceable(found, text_threat(task, rule)) for task, found in catalogs.items()},
            "accuracy": robust_accuracy(trial, text_threat(loaded.info.task, rule)),
        }
        for rule in RULES
    ]
    FILE.write_text(json.dumps({"pairs": len(data.test), "rules": rules}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
