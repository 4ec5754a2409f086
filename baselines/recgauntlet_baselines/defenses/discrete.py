"""Discrete adversarial training: on legal edits that raise the loss, instead of on moved embeddings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, UserState
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import TrainingContext, model_scores
from recgauntlet_baselines.defenses._adversarial_edits import worst_histories, worst_texts
from recgauntlet_baselines.defenses._edits import EditsDefense
from recgauntlet_baselines.defenses._history_edits import HistoryEdits
from recgauntlet_baselines.defenses._passes import evaluation_mode
from recgauntlet_baselines.defenses._text_edits import TextEdits


@dataclass(kw_only=True, eq=False)
class Discrete(EditsDefense):
    """`L(Y, M(X)) + lam * L(Y, M(X'))`, where X' carries the legal edits that a small search finds worst.

    The edits are those of the task's ranked threat: catalog words, neighbours and misspellings in the candidate's text,
    or items replaced, inserted and deleted in the history. Edit after edit, `sampled` random legal ones of all kinds
    are ranked to first order (HotFlip: the slope of the place times the new vector less the old), the best `scored`
    texts are tried, and the worst for the model is kept. Of histories, which cost a user to try, the first is taken.
    Under a threat that promotes, only unclicked candidates are edited; the clicked ones stay as they are, so both
    labels keep their weight.

    A model that does not read the ranked threat's surface is trained on the other threats that it reads; one that reads
    neither texts nor histories is trained plainly.

    Deviations from the paper, which trains on character flips: all operations of the threat, sampled before they are
    ranked, since a fixed vocabulary's best answer soon is one word; the clean loss is kept beside; the search runs in
    evaluation mode, so the adversary does not chase dropout. A misspelt word carries one slip, and of each word a few
    misspellings are ever drawn.

    Parameters
    ----------
    tier
        The budget in words or items: low, standard or high.
    lam
        The weight of the adversarial loss.
    sampled
        Random edits that are ranked an input and edit.
    scored
        How many of the ranked texts are tried; 1 takes the first untried.
    """

    citation = bibtex("ebrahimi2018hotflip")
    search_space: ClassVar[SearchSpace] = {
        "tier": OneOf(("low", "standard", "high")),
        "lam": Between(0.25, 4.0, log=True),
        "sampled": Between(32, 512, log=True),
    }

    tier: str = "standard"
    lam: float = 1.0
    sampled: int = 256
    scored: int = 4

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        state = model.encode_user(batch.users)
        scores = model.score(state.select(batch.rows), model.candidates(batch.items, batch.texts))
        clean = model.click_loss(scores, batch)
        edits = self.edits(model, context)
        if edits is None or not edits.rounds:
            return clean
        edited = batch.labels == 0 if edits.threat.goal == "promote" else torch.ones_like(batch.labels)
        rows = torch.nonzero(edited).flatten()
        attacked = self._edited_scores(model, state, batch.select(rows), edits, context)
        return clean + self.lam * model.click_loss(scores.index_copy(0, rows, attacked), batch)

    def _edited_scores(
        self,
        model: Recommender,
        state: UserState,
        batch: Batch,
        edits: TextEdits | HistoryEdits,
        context: TrainingContext,
    ) -> Tensor:
        generator = context.rng.numpy(context.step)
        if isinstance(edits, TextEdits):
            own = state.select(batch.rows)
            with evaluation_mode(model):
                texts = worst_texts(model, own.detach(), batch, edits, generator, self.sampled, self.scored)
            return model.score(own, model.candidates(batch.items, texts))
        with evaluation_mode(model):
            histories = worst_histories(model, batch, edits, generator, self.sampled)
        return model_scores(model, batch.with_histories(histories))
