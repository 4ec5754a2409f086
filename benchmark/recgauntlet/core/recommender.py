"""The contract of a recommender: a scorer of candidates, split so that what an attack cannot touch is computed once."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from recgauntlet.core.batch import Batch, Candidates, Tokens, Users, UserState
from recgauntlet.core.dataset import Catalog, TrainingPeriod
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Plugin, find
from recgauntlet.core.search_space import SearchSpace
from recgauntlet.core.types import Scalar, Surface


@dataclass(frozen=True)
class TrainingRecipe:
    """How a baseline is optimized: the same under every defense, so that only the defense differs.

    Parameters
    ----------
    epochs
        The most passes over the training pairs; 0 for a model that is not trained, only calibrated.
    batch_size
        Training pairs (one clicked, one not) a step; fewer where an epoch would have less than `least_steps` steps.
    learning_rate
        AdamW's highest.
    weight_decay
        AdamW's.
    warmup
        Share of the steps over which the rate rises; then it falls linearly to zero.
    clip_norm
        The gradient's largest L2 norm.
    patience
        Epochs without a better validation AUC before training stops.
    least_steps
        Steps that an epoch has at least, where there are as many pairs.
    """

    epochs: int
    batch_size: int
    learning_rate: float
    weight_decay: float = 0.0
    warmup: float = 0.05
    clip_norm: float = 1.0
    patience: int = 3
    least_steps: int = 40

    def pairs_a_step(self, pairs: int) -> int:
        """The batch size for `pairs` training pairs."""
        return max(1, min(self.batch_size, pairs // self.least_steps))


@dataclass(frozen=True)
class Origin:
    """What a model was built from, its seed left out."""

    catalog: Catalog
    token_length: int
    options: Mapping[str, Scalar]
    training: TrainingPeriod


@dataclass(frozen=True)
class FrozenBase:
    """Pretrained weights inside a model that training leaves as they are. A built model has them already, so a
    checkpoint holds their SHA-256 in their place.

    Parameters
    ----------
    name
        Of the pretrained model, for messages.
    tensors
        Their names in the model's `state_dict`.
    """

    name: str
    tensors: frozenset[str]

    @classmethod
    def of(cls, name: str, model: nn.Module) -> Self:
        """The parameters of `model` that do not learn."""
        return cls(name, frozenset(part for part, value in model.named_parameters() if not value.requires_grad))


class Recommender(nn.Module, ABC):
    """A model that scores how likely a user is to take a candidate.

    A subclass takes the catalog and then keyword-only hyper-parameters with plain defaults; they are what the
    record repeats. Logits are `[B]`; 0 is the decision boundary.
    """

    surfaces: ClassVar[frozenset[Surface]]
    """What the model reads. A surface it does not read is "not applicable" on the board, never "robust"."""

    recipe: TrainingRecipe
    """How it is optimized under every defense."""

    trains_in_bf16: ClassVar[bool] = False
    """Whether `--precision auto` may train it in bfloat16 on a GPU: true where that stays within seed noise."""

    trains_in_parallel: ClassVar[bool] = False
    """Whether it may be trained on several devices, each with a part of every batch: true where the losses are means
    over the batch's examples, and a training pass leaves nothing behind but gradients (no batch statistics)."""

    citation: ClassVar[str] = ""
    """BibTeX of the papers it comes from, printed by `recgauntlet cite`."""

    search_space: ClassVar[SearchSpace] = {}
    """What `recgauntlet tune` may choose."""

    def __init__(self, catalog: Catalog, *, token_length: int) -> None:
        super().__init__()
        self.catalog = catalog
        self.token_length = token_length
        self._catalog_tokens: Tokens | None = None
        self.origin: Origin | None = None
        self.base: FrozenBase | None = None
        """What checkpoints leave out; set it where the constructor loads weights that do not learn."""
        self.history_limit: int | None = None
        """How many of a history's newest items are read; None for all. Searches score histories that differ in older
        items once. Included models may set it: of others it is not believed."""
        self.keeps_items = False
        """Whether `encode_user` keeps more of the catalog's items, outside training, than their vectors: searches then
        let it embed histories by itself."""

    @classmethod
    def build(cls, origin: Origin, seed: int) -> Self:
        """A model with its first weights, which depend on `seed` and `origin` alone; torch's global generator is left
        as it was."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            model = cls(origin.catalog, token_length=origin.token_length, **origin.options)
            model.prepare(origin.training)
        model.origin = origin
        return model

    def sibling(self, seed: int) -> Self:
        """An untrained model that differs from this one's first state by the seed of its weights alone; on the same
        device.

        Raises
        ------
        PluginError
            Where this model was not made by `build`.
        """
        if self.origin is None:
            raise PluginError(
                f"{type(self).__name__} was built by its constructor, so a sibling cannot be",
                remedy="build it with Recommender.build",
            )
        return type(self).build(self.origin, seed).to(self.device)

    @classmethod
    def fetch(cls, options: Mapping[str, Scalar], *, offline: bool = False) -> None:
        """Put what a model with `options` is built from into the cache: pretrained weights. Commands call it for
        included models before cells run, because a cell may open no connection and write nowhere else. Models of
        plugins come with their weights, or run with `--unguarded`."""

    def prepare(self, training: TrainingPeriod) -> None:
        """Called once after the constructor, before training and before weights are loaded: the place for what depends
        on the users or on who took what (a row a user, a graph). Draw first weights from torch's global generator."""

    def click_loss(self, scores: Tensor, batch: Batch) -> Tensor:
        """The scalar that logits `[B]` of `batch` are trained with, whatever the defense: the mean binary
        cross-entropy. A model of another objective (a pairwise one, say) overrides it; 0 must stay the decision
        boundary."""
        return F.binary_cross_entropy_with_logits(scores, batch.labels)

    def auxiliary_loss(self, batch: Batch, generator: torch.Generator) -> Tensor | None:
        """A further scalar of the model's own (masked items, a penalty), added to what a defense minimizes on a
        training batch; None for none. `generator`: of this step alone, on the CPU."""
        return None

    @torch.no_grad()
    def calibrate(self, scores: Tensor) -> None:
        """Called once for a model whose recipe has no epochs, with its logits `[2 V]` of validation pairs, half of
        them of clicked items: the place to move the decision boundary."""

    @classmethod
    def hyperparameters(cls) -> dict[str, Scalar]:
        """The keyword-only arguments of the constructor and their defaults."""
        return constructor_defaults(cls)

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.parameters()).device

    @abstractmethod
    def tokenize(self, texts: Sequence[str]) -> Tokens:
        """`B` texts as tokens of at most `token_length`, on the model's device; an empty text gives one real token."""

    @abstractmethod
    def embed_history(self, users: Users) -> Tensor:
        """`[U, H, D]`: one vector a history item, the continuous handle of the history surface."""

    @abstractmethod
    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        """The users' states, cached while their candidates are under attack; `embeddings` replaces `embed_history`."""

    @abstractmethod
    def embed(self, candidates: Candidates) -> Tensor:
        """`[B, L, D]` token embeddings (`[B, 1, D]` for models of item ids): the handle of the embedding surface."""

    @abstractmethod
    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        """Logits `[B]` of candidate b shown to the user of row b; `embeddings` replaces `embed`."""

    def candidates(self, items: Tensor, texts: Sequence[str] | None = None) -> Candidates:
        """The candidates `items [B]`, with `texts` in place of the catalog's where given; always where an item is
        NEW_ITEM."""
        items = items.to(self.device)
        if texts is not None:
            return Candidates(items, self.tokenize(texts))
        return Candidates(items, self.catalog_tokens().select(items))

    def catalog_tokens(self) -> Tokens:
        """The tokens of every catalog text, `[N, L]`, made once."""
        if self._catalog_tokens is None or self._catalog_tokens.ids.device != self.device:
            self._catalog_tokens = self.tokenize(self.catalog.texts)
        return self._catalog_tokens


def constructor_defaults(cls: type) -> dict[str, Scalar]:
    """The keyword-only arguments of a constructor that have a default, with it: a plugin's hyper-parameters."""
    return {
        name: parameter.default
        for name, parameter in inspect.signature(cls).parameters.items()
        if parameter.kind is parameter.KEYWORD_ONLY and parameter.default is not parameter.empty
    }


def embedding_mask(candidates: Candidates, embedded: Tensor) -> Tensor:
    """`[B, L]`: which of `embedded [B, L, D]` are real; all of them for models of item ids (`L = 1`)."""
    if embedded.shape[1] == candidates.tokens.mask.shape[1]:
        return candidates.tokens.mask
    return torch.ones(embedded.shape[:2], dtype=torch.bool, device=embedded.device)


def find_model(name: str) -> Plugin:
    """The registered model class `name`; PluginError if it is not installed or no subclass of Recommender."""
    return find("models", name, base=Recommender)
