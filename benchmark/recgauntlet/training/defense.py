"""The contract of a defense: one object whose constructor's arguments are its hyper-parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Protocol

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Batch
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Plugin, find
from recgauntlet.core.recommender import Recommender, constructor_defaults
from recgauntlet.core.rng import Randomness
from recgauntlet.core.search_space import SearchSpace
from recgauntlet.core.types import Scalar

if TYPE_CHECKING:
    from recgauntlet.core.card import Threat
    from recgauntlet.core.dataset import Catalog, Pairs


@dataclass(frozen=True)
class TrainingContext:
    """Where training stands.

    step
        Counts from 0.
    progress
        Runs from 0 to 1 over the most steps there can be.
    rng
        The defense's own randomness for this run; key draws by `step` or by example ids.
    """

    step: int
    progress: float
    rng: Randomness


class Trainer(Protocol):
    """What a defense's `step` is given: the model under training, and ways to move its weights.

    `minimize` takes one loss; a defense that combines gradients instead of losses uses `gradients` and `apply`.
    """

    @property
    def model(self) -> Recommender:
        """The model whose weights are trained."""
        ...

    @property
    def context(self) -> TrainingContext:
        """Where training stands."""
        ...

    @property
    def parameters(self) -> list[nn.Parameter]:
        """The weights that are trained."""
        ...

    @property
    def total_steps(self) -> int:
        """The most steps there can be."""
        ...

    def minimize(self, loss: Tensor) -> None:
        """Add the model's auxiliary loss to the scalar `loss`; backward, clip, step."""
        ...

    def gradients(self, loss: Tensor, *, retain_graph: bool = False) -> list[Tensor | None]:
        """The gradient of a scalar loss for each of `parameters`, None where it does not reach one."""
        ...

    def apply(self, gradients: Sequence[Tensor | None]) -> None:
        """One step along `gradients`, in the order of `parameters`; the model's auxiliary loss is added."""
        ...


class Defense:
    """Plain training, and the points at which a defense may change it.

    Most defenses override `training_loss` alone. A defense sees training data only: never the test period, the
    attacks, or a record. Hyper-parameters are keyword-only arguments with plain defaults, kept as attributes of
    the same names.
    """

    citation: ClassVar[str] = ""
    """BibTeX of the papers it comes from, printed by `recgauntlet cite`."""

    search_space: ClassVar[SearchSpace] = {}
    """What `recgauntlet tune` may choose."""

    trains_in_parallel: ClassVar[bool] = True
    """Whether models may be trained under it on several devices, each with a part of every batch: false where it moves
    weights by other means than its trainer."""

    policy: ClassVar[str] = ""
    """What the served model refuses as such, whatever it says, as "refuses edited titles"; empty for nothing. A model
    that compares texts with the catalog withstands edits without reading them: what it keeps under threats to the
    candidate's text is reported as a policy in a column of its own, beside what it does to harmless edits, and is not
    ranked."""

    def prepare(self, threats: Sequence[Threat], catalog: Catalog) -> None:
        """Called once before anything else: the task's threats as its card has them, and its catalog. For defenses that
        train on legal edits, or that repair texts."""

    def hyperparameters(self) -> dict[str, Scalar]:
        """Every constructor argument and its value on this object."""
        return {name: getattr(self, name) for name in constructor_defaults(type(self))}

    def training_loss(self, model: Recommender, batch: Batch, context: TrainingContext) -> Tensor:
        """The scalar to be minimized on `batch`; plain training: the model's own loss."""
        return model.click_loss(model_scores(model, batch), batch)

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        """One optimizer step; override to steer it. Returns the loss."""
        loss = self.training_loss(trainer.model, batch, trainer.context)
        trainer.minimize(loss)
        return loss.detach()

    def ready(self, context: TrainingContext) -> bool:
        """Whether weights at this point may be kept as the best: false while a warm-up is under way."""
        return True

    def filter(self, pairs: Pairs) -> Pairs:
        """The training pairs to learn from; data-side defenses drop some."""
        return pairs

    def wrap(self, model: Recommender) -> Recommender:
        """The model as it is served; inference-time defenses wrap it."""
        return model


class UnloadedDefense(Defense):
    """Stands for a defense whose code is not loaded once training is over, because serving does not need it.

    Parameters
    ----------
    options
        The defense's hyper-parameters.
    kept
        The rows of the training pairs that its `filter` kept; None for all.
    """

    def __init__(self, options: dict[str, Scalar], kept: Sequence[int] | None) -> None:
        self.options, self.kept = options, kept

    def hyperparameters(self) -> dict[str, Scalar]:
        return dict(self.options)

    def filter(self, pairs: Pairs) -> Pairs:
        return pairs if self.kept is None else pairs.select(np.array(self.kept, dtype=np.int64))


def serves_itself(defense: Defense) -> bool:
    """Whether models trained under `defense` are served as they are: it has no `wrap` of its own."""
    return type(defense).wrap is Defense.wrap and "wrap" not in vars(defense)


def require_use(model: Plugin, name: str, defense: Defense) -> None:
    """PluginError where the model is not trained and the defense, called `name`, changes nothing but training."""
    points = ("training_loss", "step", "filter")
    changes_training = any(getattr(type(defense), point) is not getattr(Defense, point) for point in points)
    if model.value.recipe.epochs == 0 and changes_training:
        raise PluginError(
            f"{model.name} is not trained, so {name}, which changes training, would do nothing",
            field="defense",
            remedy="choose none, or a defense that works at inference (recgauntlet list defenses)",
        )


def model_scores(model: Recommender, batch: Batch) -> Tensor:
    """The logits `[B]` of a batch, its users encoded once."""
    state = model.encode_user(batch.users)
    return model.score(state.select(batch.rows), model.candidates(batch.items, batch.texts))


def click_loss(scores: Tensor, batch: Batch) -> Tensor:
    """The mean binary cross-entropy of logits `[B]` against the batch's labels. A model may have a loss of its own:
    `model.click_loss(scores, batch)`."""
    return F.binary_cross_entropy_with_logits(scores, batch.labels)


def find_defense(name: str) -> Plugin:
    """The registered defense class `name`; PluginError if it is not installed or no subclass of Defense."""
    return find("defenses", name, base=Defense)
