"""What parts add to a score: known by hand for a linear model, complete for one that is not, honest where it fails."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from toy_recommender import LinearRecommender, ToyRecommender, make_batch, make_catalog, train

from recgauntlet.core.batch import Batch, Candidates, UserState
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import PAD
from recgauntlet.evaluation.attribution import TOLERANCE, attribute
from recgauntlet.evaluation.input_parts import HistoryParts, InputParts, TextParts

CATALOG = make_catalog(40)


def linear() -> LinearRecommender:
    torch.manual_seed(0)
    return LinearRecommender(CATALOG, bias=0.3, gain=2.0).eval().requires_grad_(False)


def one(row: int = 3) -> Batch:
    return make_batch(CATALOG).select(torch.tensor([row]))


def item_vector(model: LinearRecommender, item: int) -> Tensor:
    tokens = model.tokenize([CATALOG.texts[item]])
    return model.pool(model.words(tokens.ids), tokens.mask)[0]


def test_a_word_of_a_linear_model_adds_its_share_of_the_mean() -> None:
    model, batch = linear(), one()
    found = attribute(model, TextParts(CATALOG, batch))
    words = CATALOG.texts[int(batch.items[0])].split()
    assert found.labels == tuple(words)
    user = model.encode_user(batch.users.select(batch.rows)).tensors[0][0]
    along = model.words(model.tokenize([" ".join(words)]).ids)[0] @ user
    assert found.gradients is not None
    assert found.gradients.parts == pytest.approx((2 * along / len(words)).tolist(), abs=1e-5)
    assert (found.gradients.rest, found.gradients.baseline) == pytest.approx((0.0, 0.6))
    assert found.gradients.complete
    assert found.gradients.steps == 32
    without = [2 * (along.sum() - a) / (len(words) - 1) for a in along]
    assert found.deletion == pytest.approx([float(2 * along.mean() - score) for score in without], abs=1e-5)
    assert found.score == pytest.approx(float(score_batch(model, batch)))


def test_an_item_of_a_linear_history_adds_its_share_of_the_mean() -> None:
    model, batch = linear(), one()
    found = attribute(model, HistoryParts(CATALOG, batch))
    items = [item for item in batch.histories()[0].tolist() if item != PAD]
    assert len(items) < batch.histories().shape[1], "there must be padding"
    assert found.labels == tuple(CATALOG.texts[item] for item in items)
    candidate = item_vector(model, int(batch.items[0]))
    along = torch.stack([item_vector(model, item) for item in items]) @ candidate
    assert found.gradients is not None
    assert found.gradients.parts == pytest.approx((2 * along / len(items)).tolist(), abs=1e-5)
    without = [2 * (along.sum() - a) / (len(items) - 1) for a in along]
    assert found.deletion == pytest.approx([float(2 * along.mean() - score) for score in without], abs=1e-5)


@pytest.mark.parametrize("kind", [TextParts, HistoryParts])
def test_gradients_of_a_model_that_is_not_linear_are_complete(kind: type[InputParts]) -> None:
    torch.manual_seed(0)
    model = train(ToyRecommender(CATALOG, gain=3.0), steps=40).requires_grad_(False)
    for row in range(4):
        found = attribute(model, kind(CATALOG, one(row)))
        assert found.gradients is not None
        whole = found.score - found.gradients.baseline
        assert sum(found.gradients.parts) + found.gradients.rest == pytest.approx(
            whole, abs=TOLERANCE * (1 + abs(whole))
        )
        assert found.gradients.complete
        assert max(map(abs, found.gradients.parts)) > 0.01


class Masked(ToyRecommender):
    """Scores without a gradient."""

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return super().score(user, candidates, embeddings).detach()


def test_hidden_gradients_are_not_called_complete() -> None:
    torch.manual_seed(0)
    found = attribute(Masked(CATALOG).eval().requires_grad_(False), TextParts(CATALOG, one()))
    assert found.gradients is not None
    assert set(found.gradients.parts) == {0.0}
    assert not found.gradients.complete
    assert found.gradients.gap == pytest.approx(found.gradients.baseline - found.score, abs=1e-6)


def test_random_scores_have_no_gradients_and_the_last_item_is_not_deleted() -> None:
    batch = one()
    alone = torch.full_like(batch.histories(), PAD)
    alone[0, -1] = 5
    found = attribute(linear(), HistoryParts(CATALOG, batch.with_histories(alone)), samples=2)
    assert found.gradients is None
    assert found.deletion == (None,)
