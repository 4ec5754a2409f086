"""A small trained model and a batch, and the inner problem on them: what the tests of adversarial defenses look at."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor, nn
from toy_recommender import ToyRecommender, make_batch, make_catalog, train

from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.training.cost import Passes, count_passes
from recgauntlet.training.defense import Defense, TrainingContext
from recgauntlet_baselines.defenses._adversarial import Inner


def toy_batch(seed: int = 5) -> Batch:
    return make_batch(make_catalog(40), users=24, seed=seed)


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


def at(progress: float, step: int = 0) -> TrainingContext:
    return TrainingContext(step, progress, Randomness(0, "test"))


def problem(model: Recommender, batch: Batch) -> Inner:
    candidates = model.candidates(batch.items)
    state = model.encode_user(batch.users).select(batch.rows)
    return Inner.of(model, state, candidates, batch, model.embed(candidates))


def scores_at(inner: Inner, delta: Tensor | float = 0.0) -> Tensor:
    with torch.no_grad():
        return inner.model.score(inner.state, inner.candidates, inner.embedded + delta)


def gradients(model: Recommender, loss: Tensor) -> dict[str, Tensor]:
    """The gradient of every weight, and none left behind."""
    model.zero_grad(set_to_none=True)
    loss.backward()
    found = {name: value.grad.clone() for name, value in model.named_parameters() if value.grad is not None}
    model.zero_grad(set_to_none=True)
    return found


def require_same(first: dict[str, Tensor], second: dict[str, Tensor], rtol: float = 1e-4) -> None:
    assert first.keys() == second.keys()
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=rtol, atol=1e-7)
    assert any(value.abs().max() > 1e-4 for value in first.values()), "gradients of nothing"


def passes_of(defense: Defense, progress: float = 1.0) -> tuple[float, float, int]:
    """Candidates scored and gradients drawn in one loss and its backward pass, an example; and users encoded."""
    model, batch = toy_model(), toy_batch()
    encoded: list[int] = []
    inside = model.encode_user
    counting = lambda users, embeddings=None: encoded.append(len(users)) or inside(users, embeddings)  # noqa: E731
    model.encode_user = counting  # type: ignore[method-assign]
    seen: Passes
    with count_passes(model) as seen:
        defense.training_loss(model, batch, at(progress)).backward()
    return seen.forwards / len(batch), seen.backwards / len(batch), len(encoded)
