"""The model under evaluation with its test examples, how they are scored, and when a score counts as right."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.core.dataset import Impressions, TaskData
from recgauntlet.core.protocol import SAME, SAMPLES
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import BoolArray, FloatArray, Surface
from recgauntlet.data.batches import impressions_to_batch, pairs_to_batch
from recgauntlet.evaluation.catalog_lists import rank_catalog
from recgauntlet.evaluation.judge import fresh_copy, score_in_chunks
from recgauntlet.evaluation.results import CleanResult, PopularResult
from recgauntlet.threats.embedding_scale import EmbeddingScale, embedding_scale
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.victim import Victim


@dataclass(frozen=True)
class Trial:
    """A model ready to be attacked."""

    model: Recommender
    world: AttackerKnowledge
    scale: EmbeddingScale
    victim: Victim
    """One for all attacks, so that the users are encoded once in the whole evaluation."""
    batch: Batch
    """The clean test examples."""
    scores: Tensor
    """`[B]`: their scores."""
    right: Tensor
    """`[B]`: where these are right."""
    samples: int = 1
    """1, or where the model is random the number of passes whose mean counts as a score."""
    untouched: Recommender | None = None
    """A copy of the model that was never asked anything; None where it cannot be copied."""
    fresh: Recommender | None = None
    """A copy that no attack asks, and that scores what attacks return too; None where none does."""
    half: bool = False
    """Whether searches compute in bfloat16 (`recgauntlet.threats.precision`); what counts is scored in full."""
    listed: Trial | None = None
    """Where item ids are hidden, the trial with them; its scores are those of the record."""
    _under: dict[Surface, Trial] = field(init=False, default_factory=dict, repr=False)

    def under(self, threat: Threat) -> Trial:
        """The trial under `threat`. Where that hides item ids, right is what is right with and without them; from a
        model that does not read what the threat changes nothing is hidden."""
        trial = self.listed or self
        if threat.surface not in trial.model.surfaces:
            return trial
        found = trial._under.get(threat.surface)
        if found is None:
            found = trial._with(threat_model(threat).clean_input(trial.world.catalog, trial.batch))
            trial._under[threat.surface] = found
        return found

    def victim_of(self, batch: Batch) -> Victim:
        """The model as attacks on other examples see it."""
        return Victim(self.model, self.world, self.scale, batch, samples=self.samples, half=self.half)

    def with_fresh_copy(self) -> Trial:
        """The same trial, in which a new fresh copy of the model scores too."""
        return self if self.untouched is None else replace(self, fresh=fresh_copy(self.untouched))

    def _with(self, batch: Batch) -> Trial:
        if batch is self.batch:
            return self
        scores = score_in_chunks(self.model, batch, self.samples)
        return replace(
            self,
            victim=self.victim_of(batch),
            batch=batch,
            scores=scores,
            right=self.right & is_right(scores, batch),
            listed=self,
        )

    @classmethod
    def of(cls, model: Recommender, data: TaskData, world: AttackerKnowledge, *, half: bool = False) -> Trial:
        """Score the test pairs of `data`."""
        untouched = _copy_or_none(model)
        batch = pairs_to_batch(data.test, np.arange(len(data.test))).to(model.device)
        samples = SAMPLES if is_random(model, batch) else 1
        scores = score_in_chunks(model, batch, samples)
        scale = embedding_scale(model, data.catalog)
        victim = Victim(model, world, scale, batch, samples=samples, half=half)
        victim.prepare()
        return cls(model, world, scale, victim, batch, scores, is_right(scores, batch), samples, untouched, half=half)

    def mask(self, index: Tensor) -> BoolArray:
        """`[B]` booleans over the test examples, set at `index`."""
        mask = np.zeros(len(self.batch), dtype=np.bool_)
        mask[index.cpu().numpy()] = True
        return mask


def _copy_or_none(model: Recommender) -> Recommender | None:
    """A copy, or None where a part of the model cannot be copied; the check `same-scores-when-fresh` then fails."""
    try:
        return fresh_copy(model)
    except Exception:  # a plugin's parts may refuse in any way
        return None


def is_right(scores: Tensor, batch: Batch) -> Tensor:
    """`[B]`: the score is a number on its label's side of 0; 0 itself predicts "not clicked"."""
    return ((scores > 0) == (batch.labels > 0.5)) & torch.isfinite(scores)


def attackable(threat: Threat, batch: Batch) -> Tensor:
    """`[B]`: the examples that the attacker changes: all, or those not clicked where the goal is to promote."""
    return batch.labels < 0.5 if threat.goal == "promote" else torch.ones_like(batch.labels, dtype=torch.bool)


def is_random(model: Recommender, batch: Batch) -> bool:
    """Whether scoring the first examples twice gives different scores."""
    few = batch.select(torch.arange(min(64, len(batch)), device=batch.items.device))
    first, second = score_batch(model, few), score_batch(model, few)
    return bool(torch.isfinite(first).all()) and change(first, second) > SAME


def change(before: Tensor, after: Tensor) -> float:
    """The largest change, relative to the standard deviation of `before`; infinite where either is not a number."""
    before, after = before.double().cpu(), after.double().cpu()
    if not (torch.isfinite(before).all() and torch.isfinite(after).all()):
        return float("inf")
    # logits may be tiny: no floor that would hide their noise
    spread = max(float(before.std()) if len(before) > 1 else 0.0, 1e-300)
    return float((before - after).abs().max()) / spread if len(before) else 0.0


def measure_clean(trial: Trial, data: TaskData) -> CleanResult:
    """Scores of the test pairs and of the test impressions, those with popular candidates too where there are any,
    and places of clicks among all items."""
    impressions, popular = data.impressions, data.popular_impressions
    return CleanResult(
        labels=trial.batch.labels.cpu().numpy() > 0.5,
        scores=trial.scores.cpu().numpy(),
        impression_sizes=tuple(np.diff(impressions.offsets).tolist()),
        impression_users=tuple(impressions.users.tolist()),
        impression_labels=impressions.labels,
        impression_scores=_scores(trial.model, impressions),
        popular=None
        if popular is None
        else PopularResult(
            sizes=tuple(np.diff(popular.offsets).tolist()),
            labels=popular.labels,
            scores=_scores(trial.model, popular),
        ),
        catalog=rank_catalog(trial.model, data, trial.samples),
    )


def _scores(model: Recommender, impressions: Impressions) -> FloatArray:
    """`[N]`: the scores of all candidates, impression by impression."""
    scores = []
    for start in range(0, len(impressions), 64):
        batch = impressions_to_batch(impressions, np.arange(start, min(start + 64, len(impressions))))
        scores.append(score_batch(model, batch.to(model.device)).cpu().numpy())
    return np.concatenate(scores)
