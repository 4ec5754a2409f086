"""Augmentation: training on random legal edits (after EDA, Wei and Zou 2019)."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import TrainingContext
from recgauntlet_baselines.defenses._edits import EditsDefense
from recgauntlet_baselines.defenses._text_edits import TextEdits


@dataclass(kw_only=True, eq=False)
class Augmentation(EditsDefense):
    """`L(Y, M(X'))`, where a share `rate` of the batch's texts or histories carries 1 to n random legal edits, n being
    what the task's ranked threat allows at `tier`. Without a search there is no pass beyond plain training.

    Texts are edited example by example, whatever their label: an edit that came with one label alone would tell it.
    Histories are edited user by user. A model that does not read the ranked threat's surface is trained on the other
    threats that it reads; one that reads neither texts nor histories is trained plainly.

    Deviations from the paper: edits are the threat's own (catalog words, neighbours, misspellings; items replaced,
    inserted, deleted) instead of synonyms, swaps and deletions; edited inputs stand in place of clean ones instead of
    beside them, so an epoch is as long as under plain training.

    Parameters
    ----------
    rate
        The share of edited inputs, 0 to 1.
    tier
        The budget: low, standard or high.
    """

    citation = bibtex("wei2019eda")
    search_space: ClassVar[SearchSpace] = {"rate": Between(0.1, 0.9), "tier": OneOf(("low", "standard", "high"))}

    rate: float = 0.5
    tier: str = "standard"

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        return super().training_loss(model, self.augmented(model, batch, context), context)

    def augmented(self, model: Recommender, batch: Batch, context: TrainingContext) -> Batch:
        """The batch with a share of its inputs edited."""
        edits = self.edits(model, context)
        if edits is None:
            return batch
        generator = context.rng.numpy(context.step)
        if isinstance(edits, TextEdits):
            texts = list(batch.texts or (model.catalog.texts[i] for i in batch.items.tolist()))
            rows = (generator.random(len(batch)) < self.rate).nonzero()[0].tolist()
            for row, text in zip(rows, edits.random([texts[row] for row in rows], generator), strict=True):
                texts[row] = text
            return batch.with_texts(texts)
        chosen = torch.from_numpy(generator.random(len(batch.users)) < self.rate).to(batch.rows.device)
        histories = batch.users.histories
        edited = torch.where(chosen[:, None], edits.random(histories, generator), histories)
        return replace(batch, users=replace(batch.users, histories=edited))
