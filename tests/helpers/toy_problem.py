"""A small trained model, a batch and single steps on them: what the tests of defenses look at."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from toy_recommender import ToyRecommender, make_batch, make_catalog, train

from recgauntlet.core.batch import Batch
from recgauntlet.core.dataset import Pairs, TrainingPeriod
from recgauntlet.core.recommender import Origin, Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.training.cost import count_passes
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet.training.trainer import AdamWTrainer
from recgauntlet_baselines.defenses._adversarial import Inner
from recgauntlet_baselines.defenses._passes import encode


def toy_batch(users: int = 24, seed: int = 5) -> Batch:
    return make_batch(make_catalog(40), users=users, seed=seed)


@cache
def _trained() -> dict[str, Tensor]:
    torch.manual_seed(0)
    return train(ToyRecommender(make_catalog(40)), steps=40).state_dict()


def toy_model(dropout: float = 0.0) -> ToyRecommender:
    """A trained model; with `dropout` on the candidates' embeddings, whose passes then differ."""

    class Dropping(ToyRecommender):
        def pool(self, embeddings: Tensor, mask: Tensor) -> Tensor:
            return super().pool(nn.functional.dropout(embeddings, dropout, self.training), mask)

    model = Dropping(make_catalog(40))
    model.load_state_dict(_trained())
    return model.train()


def built_toy(pairs: Pairs, seed: int = 0) -> ToyRecommender:
    """An untrained one that can have siblings."""
    return ToyRecommender.build(Origin(make_catalog(40), 16, {}, TrainingPeriod(pairs, 64)), seed)


def at(progress: float, step: int = 3) -> TrainingContext:
    return TrainingContext(step, progress, Randomness(0, "test"))


def problem(model: Recommender, batch: Batch) -> Inner:
    return Inner.of(encode(model, batch))


def scores_at(inner: Inner, delta: Tensor | float = 0.0) -> Tensor:
    with torch.no_grad():
        return inner.scores(inner.embedded + delta)


def loss_of(defense: Defense, model: Recommender, batch: Batch, progress: float = 0.75) -> float:
    return float(defense.training_loss(model, batch, at(progress)).detach())


def gradients(model: Recommender, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of every weight, and none left behind."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def require_same(first: dict[str, Tensor], second: dict[str, Tensor], rtol: float = 1e-4) -> None:
    torch.testing.assert_close(first, second, rtol=rtol, atol=1e-7)
    assert any(value.abs().max() > 1e-4 for value in first.values()), "gradients of nothing"


def trainer_of(model: Recommender, progress: float = 0.75) -> AdamWTrainer:
    trainer = AdamWTrainer(model, 20, Randomness(0, "test"), "fp32")
    trainer.context = at(progress, step=round(20 * progress))
    return trainer


class Recording(AdamWTrainer):
    """A trainer that keeps the gradients it is to apply, and applies none."""

    applied: list[Tensor | None]

    @classmethod
    def of(cls, model: Recommender, progress: float = 0.75) -> Recording:
        trainer = cls(model, 20, Randomness(0, "test"), "fp32")
        trainer.context = at(progress, step=round(20 * progress))
        return trainer

    def minimize(self, loss: Tensor) -> None:
        self.applied = self.gradients(loss)

    def apply(self, gradients: list[Tensor | None]) -> None:
        self.applied = list(gradients)


def gradients_of(defense: Defense, model: Recommender, batch: Batch, progress: float = 0.75) -> list[Tensor]:
    """What a step of `defense` would follow."""
    trainer = Recording.of(model, progress)
    defense.step(trainer, batch)
    return [
        g if g is not None else torch.zeros_like(p) for g, p in zip(trainer.applied, trainer.parameters, strict=True)
    ]


def passes_of(defense: Defense, progress: float = 0.75) -> tuple[float, float, int]:
    """Candidates scored and gradients drawn in one step, an example; and users encoded."""
    model, batch = toy_model(), toy_batch()
    encoded: list[int] = []
    inside = model.encode_user
    counting = lambda users, embeddings=None: encoded.append(len(users)) or inside(users, embeddings)  # noqa: E731
    model.encode_user = counting  # type: ignore[method-assign]
    with count_passes(model) as seen:
        defense.step(Recording.of(model, progress), batch)
    return seen.forwards / len(batch), seen.backwards / len(batch), len(encoded)
