"""Many records as large as real ones: the published records as moulds, everything that is noise in them drawn anew."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from recgauntlet.records.columns import Packed
from recgauntlet.records.io import read_records
from recgauntlet.records.schema import RunRecord
from recgauntlet.records.validate import check_record

MOULDED = 27
"""How many records the published preview has: three tasks, three defenses, three seeds."""
MOULDS = Path(__file__).resolve().parents[2] / "results" / "preview"


def many_records(count: int) -> Iterator[RunRecord]:
    """`count` records that check out, of the size of the published ones. Scores are drawn anew, and so is every digit
    of a time, of an effort, of evidence and of a gate, so that no record squeezes better for being like another."""
    moulds = [record for _, record in read_records(MOULDS).records]
    assert len(moulds) == MOULDED
    for number in range(count):
        record = _recast(moulds[number % len(moulds)], number)
        check_record(record)
        yield record


def _recast(mould: RunRecord, number: int) -> RunRecord:
    rng, digits = np.random.default_rng(number), random.Random(number)
    assert mould.clean is not None
    clean = mould.clean
    scores = clean.scores.to_float()
    shown = clean.impression_scores.to_float() + rng.normal(0, 0.5, clean.impression_scores.n)
    offsets = np.concatenate([[0], np.cumsum(clean.impression_sizes)])
    ranking = []
    for outcome in mould.ranking:
        rows = np.concatenate([np.arange(offsets[i], offsets[i + 1]) for i in outcome.impressions])
        before, after = clean.impression_scores.to_float()[rows], outcome.scores.to_float()
        moved = np.where(after == before, shown[rows], shown[rows] + after - before)
        ranking.append(outcome.model_copy(update={"scores": Packed.floats(moved)}))
    content = mould.model_copy(
        update={
            "clean": clean.model_copy(
                update={
                    "scores": Packed.floats(scores * rng.uniform(0.8, 1.2, len(scores))),
                    "impression_scores": Packed.floats(shown),
                }
            ),
            "ranking": tuple(ranking),
        }
    ).model_dump(mode="json")
    content["defense"]["name"] = f"{mould.defense.name}-{number // MOULDED}"
    for part in ("cost", "epochs", "evidence", "gates"):
        content[part] = _drawn(content[part], digits)
    for threat in content["threats"]:
        for tier in threat["tiers"]:
            for attack in tier["attacks"]:
                attack["effort"] = _drawn(attack["effort"], digits)
    return RunRecord.model_validate(content).sealed()


def _drawn(part: Any, digits: random.Random) -> Any:
    """The same with other numbers of about the same size."""
    if isinstance(part, dict):
        return {name: value if name in _FIXED else _drawn(value, digits) for name, value in part.items()}
    if isinstance(part, list):
        return [_drawn(value, digits) for value in part]
    if isinstance(part, float):
        return part * digits.uniform(0.9, 1.1)
    if isinstance(part, str):
        return re.sub(r"(?<=\.)\d+", lambda found: "".join(digits.choice("0123456789") for _ in found[0]), part)
    if isinstance(part, int) and not isinstance(part, bool):
        return round(part * digits.uniform(0.9, 1.1))
    return part


_FIXED = {"at", "attack", "example", "name", "new", "op", "remedy", "threat", "tier"}
"""What an entry of evidence or a gate speaks of."""
