"""Word dropout: words of a candidate's text are left out at random (Iyyer et al. 2015)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Candidates, Tokens
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, SearchSpace
from recgauntlet.core.types import PAD
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses._edits import uniform


@dataclass(kw_only=True, eq=False)
class WordDropout(Defense):
    """Every word of a candidate's text is left out with chance `rate`, with all of its tokens; the tokens that stay
    move together, as if the word had never stood there. At least one word stays (the one with the largest draw). Tokens
    that belong to no word (special ones) always stay. Afresh for every example and step.

    Deviations from the paper: whole words instead of tokens; the same for any model that reads texts, not for an
    average of word vectors alone. The texts of the history stay whole: they are read once an item for the whole batch,
    and an attacker of a candidate's text cannot touch them. A model that does not read the text is trained plainly.

    Parameters
    ----------
    rate
        The chance that a word is left out, 0 (plain training) to below 1.
    """

    citation = bibtex("iyyer2015deep")
    search_space: ClassVar[SearchSpace] = {"rate": Between(0.05, 0.5)}

    rate: float = 0.2

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        state = model.encode_user(batch.users).select(batch.rows)
        whole = model.candidates(batch.items, batch.texts)
        words = 1 + int(whole.tokens.word_of_token.max())
        draws = uniform(context, batch.example_ids, max(1, words))
        shorter = Candidates(whole.items, without_words(whole.tokens, draws, self.rate))
        return model.click_loss(model.score(state, shorter), batch)


def without_words(tokens: Tokens, draws: Tensor, rate: float) -> Tokens:
    """The tokens of the words whose draw in `draws [B, words]` is at least `rate`, moved to the front; of each text at
    least the word with the largest draw."""
    word = tokens.word_of_token
    draw = draws.gather(1, word.clamp(min=0)).masked_fill(word == PAD, -1.0)
    kept = tokens.mask & ((draw >= rate) | (draw == draw.amax(dim=1, keepdim=True)) | (word == PAD))
    order = torch.argsort((~kept).long(), dim=1, stable=True)
    gathered = Tokens(tokens.ids.gather(1, order), kept.gather(1, order), word.gather(1, order))
    return gathered.select(torch.arange(len(word), device=word.device))
