"""Budgets checked again: every perturbed input that a record keeps is rebuilt beside the data and verified."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby

import numpy as np
import torch

from recgauntlet.core.card import TaskCard
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import RecGauntletError
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.prepare import prepare
from recgauntlet.evaluation.evidence import with_input
from recgauntlet.records.manifest import Finding
from recgauntlet.records.schema import Evidence, RunRecord
from recgauntlet.records.submission.reader import Opened
from recgauntlet.runner.recheck import rebuild
from recgauntlet.runner.trained import Sources
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.knowledge import AttackerKnowledge

NO_SCALE = EmbeddingScale(1.0, 1.0)
"""Evidence moves texts and histories; that of embeddings is not kept."""


def evidence_findings(
    opened: Opened, sources: Sources, *, progress: Callable[[str, float], None] = lambda what, share: None
) -> tuple[tuple[Finding, ...], int]:
    """What is wrong with the perturbed inputs of the records, and how many were checked. A task whose data is not here
    is a finding, because nothing of it could be checked."""
    findings: list[Finding] = []
    checked = 0
    by_task = sorted(opened.records.items(), key=lambda pair: (pair[1].task.id, pair[0]))
    for (name, track), pairs in groupby(by_task, key=lambda pair: (pair[1].task.id, pair[1].task.track)):
        records = list(pairs)
        progress(f"data of {name}", 0.0)
        try:
            task = find_task_or_card(name)
            data = prepare(task, track, sources(name))
            world = AttackerKnowledge.of(task.card, data)
        except RecGauntletError as error:
            findings.append(Finding(f"records/{name}", "evidence", f"could not be checked: {error.problem}"))
            continue
        for number, (path, record) in enumerate(records):
            progress(f"perturbed inputs of {name}", number / len(records))
            if record.task.data_fingerprint != data.fingerprint:
                findings.append(Finding(path, "task.data_fingerprint", "is not that of the data here"))
                continue
            findings += [
                Finding(path, f"evidence.{field}", problem) for field, problem in _wrong(record, task.card, data, world)
            ]
            checked += len(record.evidence)
    return tuple(findings), checked


def _wrong(record: RunRecord, card: TaskCard, data: TaskData, world: AttackerKnowledge) -> Iterator[tuple[str, str]]:
    threats = {threat.id: threat for threat in card.threats}
    batch = pairs_to_batch(data.test, np.arange(len(data.test)))
    clean_scores = record.clean.scores.to_float() if record.clean else np.zeros(0, dtype=np.float32)
    ordered = sorted(record.evidence, key=lambda e: (e.threat, e.tier))
    for (threat, tier), group in groupby(ordered, key=lambda e: (e.threat, e.tier)):
        entries: Sequence[Evidence] = list(group)
        place = f"{threat}.{tier}"
        if threat not in threats:
            yield place, "names a threat that is not on the card"
            continue
        inside = [e for e in entries if 0 <= e.example < min(len(batch), len(clean_scores))]
        if len(inside) != len(entries):
            yield place, "names examples that the task has not"
        if not inside:
            continue
        index = torch.tensor([entry.example for entry in inside])
        clean, budget = batch.select(index), Budget.of(threats[threat], tier)
        _, faults = rebuild(world, NO_SCALE, budget, clean, inside)
        for entry, problem in zip(inside, faults, strict=True):
            if not problem and not np.isclose(entry.clean_score, clean_scores[entry.example], rtol=1e-3, atol=1e-5):
                problem = "its clean score is not that of the record"
            if not problem and not entry.edits:
                problem = "nothing was changed"
            if not problem and entry.shows_text:
                true = with_input(entry, world.catalog, batch, budget.threat.surface)
                problem = "" if entry == true else "shows another input than the data has"
            if problem:
                yield f"{place}.{entry.example}", problem
