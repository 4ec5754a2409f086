"""What the suite misses of all legal edits: an exhaustive search beside it, on a trained and on a linear model."""

from __future__ import annotations

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from bench_figures import environment
from bench_linear import LinearTitles
from bench_subject import Subject, demo_subject

from recgauntlet.core.rng import Randomness
from recgauntlet.evaluation.exhaustive import exhaustive_gaps

GAPS = Path(__file__).resolve().parents[2] / "docs" / "reference" / "exhaustive.json"
SAMPLES = {
    ("news-click", "headline-tampering"): 200,
    ("ecommerce-purchase", "title-stuffing"): 100,
    ("video-watch", "history-perturbation"): 200,
}
"""Examples that the attacker changes. A title takes most inputs: 2,000 words may stand at every place."""
MODELS = {"nrms": None, "linear": LinearTitles}
open_once = cache(demo_subject)


@pytest.mark.parametrize("model", MODELS)
@pytest.mark.parametrize(("task", "threat"), SAMPLES)
def test_the_suite_misses_at_most_a_point_of_what_is_legal(task: str, threat: str, model: str) -> None:
    subject: Subject = open_once(task, MODELS[model])
    sample = SAMPLES[task, threat]
    trial = subject.trial(sample)  # two examples a pair, of which the attacker changes one or both
    gaps = exhaustive_gaps(trial, subject.threat(threat), Randomness(0, "benchmark"), sample=sample)
    more = {"model": model, "task": task, "environment": environment()}
    keep([asdict(gap) | {"seconds": round(gap.seconds, 1)} | more for gap in gaps])
    for gap in gaps:
        assert gap.examples == sample
        assert gap.suite < gap.clean, "the threat must be able to do something"
        assert gap.passed, gap


def keep(gaps: list[dict[str, Any]]) -> None:
    """Write gaps to `docs/reference/exhaustive.json`: each in the place of that of its threat, model and edits."""
    known = json.loads(GAPS.read_text(encoding="utf-8"))
    found = {(gap["threat"], gap["model"], gap["edits"]): gap for gap in (*known, *gaps)}
    GAPS.write_text(json.dumps([found[key] for key in sorted(found)], indent=1) + "\n", encoding="utf-8")
