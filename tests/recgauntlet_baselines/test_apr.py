from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F
from toy_problem import loss_of, toy_batch, toy_model
from toy_recommender import ToyRecommender, make_catalog

from recgauntlet.core.batch import Candidates, Users, UserState
from recgauntlet.training.defense import click_loss, model_scores
from recgauntlet_baselines.defenses.apr import APR, bpr, mean_norm, moved_along


class Watched(ToyRecommender):
    """Keeps states and embeddings of every score."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        assert embeddings is not None
        self.asked.append((user.tensors[0].detach(), embeddings.detach()))
        return super().score(user, candidates, embeddings)

    asked: list[tuple[Tensor, Tensor]]


def watched() -> Watched:
    model = Watched(make_catalog(40))
    model.load_state_dict(toy_model().state_dict())
    model.asked = []
    return model


def test_pairs_are_of_one_user() -> None:
    batch = toy_batch().select(torch.tensor([0, 1, 3, 2, 4]))  # user 2 has a clicked candidate alone
    scores = torch.tensor([1.0, 0.5, -1.0, 2.0, 9.0])
    expected = (F.softplus(torch.tensor(-0.5)) + F.softplus(torch.tensor(-3.0))) / 2
    assert float(bpr(scores, batch)) == pytest.approx(float(expected))
    assert float(bpr(scores[:1], batch.select(torch.tensor([0])))) == 0.0


def test_before_the_warm_up_it_is_the_models_loss_and_bpr() -> None:
    model, batch = toy_model(), toy_batch()
    with torch.no_grad():
        scores = model_scores(model, batch)
        expected = float(click_loss(scores, batch) + bpr(scores, batch))
    assert loss_of(APR(), model, batch, progress=0.0) == pytest.approx(expected, rel=1e-5)
    assert loss_of(APR(lam=0.0), model, batch, progress=0.9) == pytest.approx(expected, rel=1e-5)


def test_users_and_candidates_move_along_the_gradient_of_bpr_by_relative_radii() -> None:
    model, batch = watched(), toy_batch()
    loss = loss_of(APR(epsilon=0.3, lam=0.5), model, batch)
    (state, embedded), (moved_state, moved_embedded) = model.asked
    u, e = state[::2].clone().requires_grad_(True), embedded.clone().requires_grad_(True)
    candidates = model.candidates(batch.items)
    clean = super(Watched, model).score(UserState((u,)).select(batch.rows), candidates, e)
    bpr(clean, batch).backward()
    assert u.grad is not None
    assert e.grad is not None
    by_user = u + 0.3 * u.detach().norm(dim=1).mean() * F.normalize(u.grad, dim=1)
    mask = candidates.tokens.mask
    size = embedded[mask].norm(dim=1).mean()
    by_item = e + 0.3 * size * F.normalize(e.grad.flatten(1), dim=1).view_as(e)
    torch.testing.assert_close(moved_state, by_user[batch.rows].detach(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(moved_embedded, by_item.detach(), rtol=1e-4, atol=1e-5)
    adversarial = bpr(super(Watched, model).score(UserState((moved_state,)), candidates, moved_embedded), batch)
    assert float(adversarial.detach()) > float(bpr(clean, batch).detach()) + 0.01
    expected = click_loss(clean, batch) + bpr(clean, batch) + 0.5 * adversarial
    assert loss == pytest.approx(float(expected.detach()), rel=1e-5)


def test_masks_in_a_state_and_frozen_embeddings_are_left_as_they_are() -> None:
    class Masked(ToyRecommender):
        def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
            (state,) = super().encode_user(users, embeddings).tensors
            return UserState((state, users.histories >= 0))

        def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
            assert user.tensors[1].dtype == torch.bool
            return super().score(UserState(user.tensors[:1]), candidates, embeddings)

    plain, model, batch = toy_model(), Masked(make_catalog(40)), toy_batch()
    model.load_state_dict(plain.state_dict())
    assert loss_of(APR(), model, batch) == loss_of(APR(), plain, batch)
    model.words.requires_grad_(False)
    assert loss_of(APR(), model, batch) == loss_of(APR(), plain, batch)


def test_states_of_several_vectors_share_a_ball_and_padding_is_no_vector() -> None:
    state = torch.tensor([[[3.0, 4.0], [0.0, 0.0]], [[0.0, 2.0], [0.0, 3.0]]])
    assert float(mean_norm(state)) == pytest.approx(10 / 3)
    radii = torch.full((2,), 0.3)
    moved = moved_along(state, torch.tensor([[[3.0, 0.0], [0.0, 4.0]], [[0.0, 0.0], [0.0, 0.0]]]), radii)
    torch.testing.assert_close(moved - state, torch.tensor([[[0.6, 0.0], [0.0, 0.8]], [[0.0, 0.0], [0.0, 0.0]]]))
    assert moved_along(state, None, radii) is state
