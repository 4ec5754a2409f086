"""Smoothing over deletions: most of the input is deleted in training and serving, and what is served is certified."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from torch import Tensor

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import Threat
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.smoothing import SMOOTHED, DeletionSmoothed
from recgauntlet.training.defense import Defense, TrainingContext, model_scores


class RandomizedSmoothing(Defense):
    """Delete each word of the candidate (or each item of the history) with probability `p_delete` in training; serve
    the vote over `votes` deletions.

    Training minimizes the model's own loss on one noisy copy of each example, as Cohen et al. do with Gaussian noise:

        min E_z loss(f(x with the elements z deleted), y),   z_i ~ Bernoulli(p_delete), independently.

    The surface is that of the task's first ranked threat to words or histories (of the first such threat, where none is
    ranked). `recgauntlet.threats.smoothing.DeletionSmoothed` defines the served model and its score; the
    evaluator's certificate is `recgauntlet.evaluation.certify`.

    Deviations. Cohen et al. and Huang et al. (RS-Del) draw fresh noise for every prediction and certify the average
    over all noise by a Monte Carlo test, with a chance of error. Here the deletions that are served are drawn once, so
    that every element is seen by `round((1 - p_delete) * votes)` votes (at least one) and the average is computed
    exactly (Levine and Feizi): the score is deterministic, the certificate is of the served model and has no chance of
    error. Deleted elements leave no mask token. Levine and Feizi count votes; here probabilities are averaged, so that
    gradients are there for an attack. Weights are chosen by the clean AUC of the model inside.

    Parameters
    ----------
    p_delete
        Share of the words or items that a vote does not see.
    votes
        How many votes a score takes; scoring costs so many passes.
    sharpness
        How near the vote is to a majority vote (large) or to the mean logit (small).
    """

    citation = bibtex("cohen2019certified", "levine2020derandomized", "huang2023rsdel")
    search_space: ClassVar[SearchSpace] = {
        "p_delete": Between(0.5, 0.95),
        "votes": OneOf((8, 12, 16, 24)),
        "sharpness": Between(1.0, 10.0, log=True),
    }

    def __init__(self, *, p_delete: float = 0.9, votes: int = 12, sharpness: float = 3.0) -> None:
        if not 0 < p_delete < 1 or votes < 2 or sharpness <= 0:
            raise PluginError(
                f"p_delete={p_delete:g}, votes={votes}, sharpness={sharpness:g} do not fit together",
                field="p_delete",
                remedy="give a share between 0 and 1, at least two votes and a sharpness above 0",
            )
        self.p_delete = p_delete
        self.votes = votes
        self.sharpness = sharpness
        self._smoothed: type[DeletionSmoothed] | None = None
        self._catalog: Catalog | None = None

    @property
    def kept(self) -> int:
        """How many votes see an element."""
        return min(self.votes - 1, max(1, round((1 - self.p_delete) * self.votes)))

    def prepare(self, threats: Sequence[Threat], catalog: Catalog) -> None:
        found = [threat for threat in threats if threat_model(threat).is_discrete]
        chosen = next((threat for threat in found if threat.ranked), found[0] if found else None)
        if chosen is None:
            raise PluginError(
                "the task has no threat to texts or histories",
                field="threats",
                remedy="train this defense on a task whose card has such a threat: it deletes words or items",
            )
        self._smoothed, self._catalog = SMOOTHED[chosen.surface], catalog

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        noisy = self.deleted(batch, context)
        return model.click_loss(model_scores(model, noisy), noisy)

    def deleted(self, batch: Batch, context: TrainingContext) -> Batch:
        """The same examples, each word or history item deleted with probability `p_delete`."""
        assert self._smoothed is not None  # prepared
        assert self._catalog is not None
        return self._smoothed.deleted(self._catalog, batch, self.p_delete, context.rng.torch(context.step))

    def wrap(self, model: Recommender) -> Recommender:
        """The vote; the model itself where it does not read what would be deleted."""
        if self._smoothed is None or self._smoothed.surface not in model.surfaces:
            return model
        return self._smoothed(model, votes=self.votes, kept=self.kept, sharpness=self.sharpness).eval()
