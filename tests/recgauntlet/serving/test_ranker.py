"""Rankings by ids and texts are those of the model; what it cannot rank is refused with a remedy."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from served_models import built

from recgauntlet.core.batch import Users
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.types import NEW_ITEM, PAD
from recgauntlet.serving.limits import Limits, RequestError
from recgauntlet.serving.messages import Candidate
from recgauntlet.serving.ranker import Ranker
from recgauntlet.testing.tiny import HISTORY, tiny_data


@pytest.fixture(scope="module")
def data() -> TaskData:
    return tiny_data()


@pytest.fixture(scope="module")
def titles(data: TaskData) -> Ranker:
    return Ranker(built("nrms", data), data, Limits(candidates=600, text=60))


@pytest.fixture(scope="module")
def ids(data: TaskData) -> Ranker:
    return Ranker(built("bpr-mf", data), data, Limits())


def test_a_ranking_has_the_scores_of_the_model(titles: Ranker, data: TaskData) -> None:
    asked = [
        Candidate(item="item3"),
        Candidate(item="item3", text="harbor ship"),
        Candidate(text="harbor ship"),
        Candidate(item="item9"),
    ]
    ranking = titles.rank(["item1", "item5"], asked)
    history = torch.tensor([[PAD] * (HISTORY - 2) + [1, 5]])
    texts = [data.catalog.texts[3], "harbor ship", "harbor ship", data.catalog.texts[9]]
    shown = titles.model.candidates(torch.tensor([3, 3, NEW_ITEM, 9]), texts)
    state = titles.model.encode_user(Users(torch.tensor([0]), history))
    scores = titles.model.score(state.select(torch.zeros(4, dtype=torch.int64)), shown)
    by_candidate = {one.candidate: one.score for one in ranking}
    torch.testing.assert_close(torch.tensor([by_candidate[n] for n in range(4)]), scores, rtol=1e-4, atol=1e-5)
    assert [one.score for one in ranking] == sorted(by_candidate.values(), reverse=True)
    assert [one.place for one in ranking] == [1, 2, 3, 4]
    assert [one.item for one in ranking] == [asked[one.candidate].item for one in ranking]


def test_many_candidates_are_ranked_in_parts_and_the_first_are_given(titles: Ranker) -> None:
    alone = titles.rank([], [Candidate(item="item7")])[0].score
    ranking = titles.rank([], [Candidate(item="item7")] * 600, top=3)
    assert [one.candidate for one in ranking] == [0, 1, 2], "equal scores keep the order of the request"
    assert ranking[0].score == pytest.approx(alone, rel=1e-4)


def test_a_user_counts_where_the_model_reads_users(ids: Ranker, titles: Ranker) -> None:
    asked = [Candidate(item="item3"), Candidate(item="item9")]
    assert ids.rank(["item1"], asked, user=1) != ids.rank(["item1"], asked, user=2)
    assert titles.rank(["item1"], asked, user=1) == titles.rank(["item1"], asked, user=2)


def test_a_stranger_is_a_user_without_training_pairs(data: TaskData) -> None:
    grown = replace(data, user_count=data.user_count + 1)
    ranker = Ranker(built("bpr-mf", grown), grown, Limits())
    asked = [Candidate(item="item3"), Candidate(item="item9")]
    assert ranker.rank(["item1"], asked) == ranker.rank(["item1"], asked, user=data.user_count)
    assert len(set(data.train.users)) == data.user_count
    with pytest.raises(RequestError, match="users of its training data alone"):
        Ranker(built("bpr-mf", data), data, Limits()).rank(["item1"], asked)


@pytest.mark.parametrize(
    ("asked", "field"),
    [
        ({"history": ["item1", "nope"]}, "history.1"),
        ({"history": ["item1"] * (HISTORY + 1)}, "history"),
        ({"candidates": [Candidate(item="nope")]}, "candidates.0.item"),
        ({"candidates": [Candidate(item="item1"), Candidate()]}, "candidates.1"),
        ({"candidates": [Candidate(text="a" * 61)]}, "candidates.0.text"),
        ({"candidates": [Candidate(item="item1")] * 601}, "candidates"),
        ({"user": 32}, "user"),
    ],
)
def test_what_cannot_be_ranked_is_refused(titles: Ranker, asked: dict[str, Any], field: str) -> None:
    with pytest.raises(RequestError) as refused:
        titles.rank(**{"history": [], "candidates": [Candidate(item="item1")], **asked})
    assert refused.value.field == field
    assert refused.value.remedy


def test_a_model_of_ids_refuses_texts(ids: Ranker) -> None:
    with pytest.raises(RequestError, match="does not read texts"):
        ids.rank([], [Candidate(item="item1", text="bread")], user=1)
