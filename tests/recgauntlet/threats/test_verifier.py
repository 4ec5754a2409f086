from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from toy_recommender import embedding_threat, headline_threat, history_threat, stuffing_threat, tiers

from recgauntlet.core.batch import Batch, Users
from recgauntlet.core.card import HistoryThreat, TextThreat
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.types import PAD
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.history import history_fault
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.lexicon import Lexicon
from recgauntlet.threats.text import text_fault
from recgauntlet.threats.verifier import Verdict, verify

TEXTS = (
    "red ceramic teapot for two",
    "Set of 6 red cars and a ship",
    "the queen sells cars in Zorblat today",
    "a boat and a ship wins the race",
    "blue plate with 12 dots",
    "wooden box",
)
CATALOG = Catalog(tuple(f"id{n}" for n in range(6)), TEXTS, ("",) * 6)
# Items 0-2 are alike, 3-5 are alike, and the two groups are far apart.
VECTORS = torch.nn.functional.normalize(
    torch.tensor(
        [[1, 0, 0.0], [1, 0.2, 0], [1, 0, 0.3], [-0.1, 1, 0], [-0.1, 1, 0.2], [-0.1, 1, -0.3]],
        dtype=torch.float32,
    ),
    dim=1,
)
WORLD = AttackerKnowledge(CATALOG, VECTORS)
SCALE = EmbeddingScale(norm=4.0, rms=0.5)

STUFFING = stuffing_threat().model_copy(update={"max_length": 40, "banned_characters": "!$"})
TAMPERING = headline_threat().model_copy(update={"characters": tiers(1, 2, 4)})
HISTORY = history_threat(window=4, min_cosine=0.5)


def batch_of(histories: list[list[int]], items: list[int]) -> Batch:
    users = len(histories)
    return Batch(
        users=Users(torch.arange(users), torch.tensor(histories)),
        rows=torch.arange(len(items)) % users,
        items=torch.tensor(items),
        labels=(torch.arange(len(items)) % 2).float(),
        example_ids=torch.arange(len(items)) + 7,
    )


CLEAN = batch_of([[PAD, 0, 3, 1], [2, 3, 4, 5]], [0, 1, 2])


def check(budget: Budget, perturbed: Batch, clean: Batch = CLEAN) -> Verdict:
    return verify(WORLD, SCALE, budget, clean, perturbed)


def budgets() -> list[Budget]:
    return [Budget.of(threat, "standard") for threat in (embedding_threat(), STUFFING, TAMPERING, HISTORY)]


@pytest.mark.parametrize("budget", budgets(), ids=lambda budget: budget.threat.id)
def test_the_empty_edit_is_always_legal(budget: Budget) -> None:
    same = CLEAN.with_texts([TEXTS[i] for i in CLEAN.items.tolist()])
    for unchanged in (
        CLEAN,
        same,
        CLEAN.with_histories(CLEAN.histories()),
        CLEAN.with_delta(torch.zeros(3, 5, 2)),
    ):
        assert check(replace(budget, amount=0.0, characters=0), unchanged).legal.all()


@pytest.mark.parametrize("budget", budgets(), ids=lambda budget: budget.threat.id)
@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda b: replace(b, items=b.items + torch.tensor([0, 1, 0])), "candidate"),
        (lambda b: replace(b, labels=1 - b.labels), "label"),
        (lambda b: replace(b, example_ids=b.example_ids.flip(0)), "example"),
        (lambda b: replace(b, users=replace(b.users, ids=b.users.ids + 1)), "user"),
        (lambda b: b.select(torch.tensor([0, 1])), "number of examples"),
        (lambda b: replace(b, texts=("x",)), "number of texts"),
        (lambda b: replace(b, rows=b.rows + 5), "user that is not there"),
        (lambda b: b.with_histories(b.histories()[:, 1:]), "width"),
        (lambda b: replace(b, delta=torch.ones(2, 1, 1)), "shape"),
    ],
)
def test_nothing_else_may_change(budget: Budget, change, reason: str) -> None:  # type: ignore[no-untyped-def]
    verdict = check(budget, change(CLEAN))
    assert not verdict.legal.all()
    assert reason in " ".join(verdict.reasons)


def test_a_moved_delta_over_many_tokens_counts_as_a_whole() -> None:
    delta = torch.full((3, 100, 1), 0.2)  # every element small, the whole of norm 2
    assert not check(Budget.of(embedding_threat(), "standard"), CLEAN.with_delta(delta)).legal.any()
    assert not check(
        Budget.of(embedding_threat(), "standard"), CLEAN.with_delta(delta), CLEAN.with_delta(-delta)
    ).legal.any()


LEXICON = Lexicon(TEXTS)


def fault(threat: TextThreat, clean: str, perturbed: str, tier: str = "standard") -> str:
    return text_fault(LEXICON, threat, Budget.of(threat, tier), clean, perturbed)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("clean", "perturbed", "reason"),
    [
        ("red teapot", "red teapot ship boat", ""),
        ("red teapot", "blue plate", ""),
        ("red teapot", "red plate queen", ""),
        ("red  teapot ", "red teapot boat", ""),
        ("red teapot", "red teapot ship boat queen", "3 words"),
        ("red teapot", "red plate queen boat", "3 words"),
        ("red teapot", "ship red teapot", "3 words"),
        ("red teapot", "red", "taken away"),
        ("red teapot", "red teapot submarine", "vocabulary"),
        ("red teapot", "red submarine", "vocabulary"),
        ("RED teapot", "red teapot", "another case"),
        ("red teapot", "red  teapot boat", "single spaces"),
        ("red teapot", "red\u00a0teapot boat", "single spaces"),
        ("red teapot", "red teapot boat!", "banned"),
        ("red! teapot", "red! teapot boat", ""),
        ("red teapot", "red teapot red red", "3 times"),
        ("red red red teapot", "red red red boat", ""),
        ("red red red teapot", "red red red red", "4 times"),
        ("Set of 6 cars", "Set of 12 cars", "number"),
        ("Set of 6 cars", "Set of cars cars", "number"),
        ("Set of cars", "Set of cars 6", "number"),
        ("wooden box with red ceramic dots", "wooden box with red ceramic dots and teapot", "more than 40"),
    ],
)
def test_stuffing_rules(clean: str, perturbed: str, reason: str) -> None:
    found = fault(STUFFING, clean, perturbed)
    assert reason in found
    assert bool(found) == bool(reason)


def test_a_title_that_was_too_long_already_may_change_but_not_grow() -> None:
    long = "red ceramic teapot and " * 3 + "plate"
    assert fault(STUFFING, long, long.replace("plate", "boat")) == ""
    assert "characters" in fault(STUFFING, long, long + " boat")


@pytest.mark.parametrize(
    ("clean", "perturbed", "reason"),
    [
        ("the queen sells cars in Zorblat today", "the queens sells cars in Zorblat today", ""),
        ("the queen sells cars in Zorblat today", "the king sells car in Zorblat today", ""),
        ("the queen sells cars in Zorblat today", "the queen sells c-ars in Zorblat today", ""),
        ("the queen sells cars in Zorblat today", "the qu\u0435en sells casr in Zorblat today", ""),
        ("the queen sells cars in Zorblat today", "the queen sells cars in Zorblat boat", "no misspelling"),
        ("the queen sells cars in Zorblat today", "the queen sells spoons in Zorblat today", "no neighbour"),
        ("the queen sells cars in Zorblat today", "the xxxxx sells cars in Zorblat today", "no misspelling"),
        ("the queen sells cars in Zorblat today", "the qu-e-en sells cars in Zorblat today", "no misspelling"),
        ("the queen sells cars in Zorblat today", "thex queenx sellsx cars in Zorblat today", "share"),
        ("the queen sells cars in Zorblat today", "the queen sells cars in Zorblar today", ""),
        ("the queen sells cars in Zorblat today", "the queen sells cars in ship today", "name was replaced"),
        ("the queen sells cars in Zorblat today", "the Queen sells cars in Zorblat today", "no misspelling"),
        ("the queen sells cars in Zorblat today", "the queen sells cars in Zorblat today now", "added"),
        ("a set of 6", "a set of 7", "number"),
        ("a set of 6", "a set 0f 6", "number"),
        ("wooden box", "wooden bo-x", ""),
        ("wooden box", "woodenn boxx", "share"),
    ],
)
def test_tampering_rules(clean: str, perturbed: str, reason: str) -> None:
    found = fault(TAMPERING, clean, perturbed)
    assert reason in found
    assert bool(found) == bool(reason)


def test_words_and_characters_are_two_budgets_not_one() -> None:
    clean = "the queen sells cars in Zorblat today and a red boat"
    by_word, by_trick = "king", "se\u200blls"
    assert fault(TAMPERING, clean, clean.replace("queen", by_word)) == ""
    assert fault(TAMPERING, clean, clean.replace("sells", by_trick)) == ""
    assert fault(TAMPERING, clean, clean.replace("queen", by_word).replace("sells", by_trick)) != ""


def test_a_neighbour_keeps_the_punctuation_around_it() -> None:
    assert fault(TAMPERING, "cars, a ship", "car, a ship", "low") == ""
    with_words_only = TAMPERING.model_copy(
        update={"operations": ("replace-word",), "characters": None, "max_changed_share": None}
    )
    assert fault(with_words_only, "queen, a ship", "king, a ship") == ""
    assert "no neighbour" in fault(with_words_only, "queen, a ship", "king. a ship")


def history(clean: list[int], perturbed: list[int], edits: int = 2, threat: HistoryThreat = HISTORY) -> str:
    return history_fault(VECTORS, threat, edits, clean, perturbed)


@pytest.mark.parametrize(
    ("clean", "perturbed", "legal"),
    [
        ([PAD, 0, 3, 1], [PAD, 0, 4, 2], True),  # two replacements
        ([PAD, 0, 3, 1], [0, 3, 1, 2], True),  # an insertion
        ([PAD, 0, 3, 1], [PAD, PAD, PAD, 3], True),  # two deletions
        ([PAD, 0, 1, 2], [PAD, 0, 1, 3], False),  # not like the replaced one, nor like what stands before
        ([PAD, 0, 3, 1], [PAD, 0, 3, 4], True),  # the newest deleted, another inserted behind one like it
        ([PAD, 0, 3, 3], [0, 3, 3, 1], False),  # no item like the inserted one beside it
        ([PAD, 0, 3, 1], [PAD, 2, 4, 2], False),  # three replacements
        ([PAD, 0, 3, 3], [PAD, 3, 3, 0], False),  # another order
        ([2, 3, 4, 5], [3, 4, 5, 5], True),  # an insertion pushes the oldest out
        ([2, 3, 4, 5], [4, 5, 3, 4], True),  # two do, at the newest end
        ([2, 3, 4, 5], [3, 4, 5, PAD], False),  # padding behind
        ([PAD, 0, 3, 1], [0, PAD, 3, 1], False),  # padding between
        ([PAD, 0, 3, 1], [PAD, 0, 3, 6], False),  # not in the catalog
        ([PAD, 0, 3, 1], [PAD, 0, 3, -2], False),
        ([PAD, PAD, PAD, 1], [PAD, PAD, PAD, PAD], False),  # empty
        ([PAD, PAD, 3, 1], [PAD, PAD, 3, 1], True),
    ],
)
def test_history_rules(clean: list[int], perturbed: list[int], legal: bool) -> None:
    assert (history(clean, perturbed) == "") == legal


def test_a_verdict_speaks_of_each_example() -> None:
    histories = torch.tensor([[PAD, 0, 3, 1], [2, 3, 4, 0], [PAD, 0, 4, 1]])
    verdict = check(Budget.of(HISTORY, "low"), CLEAN.with_histories(histories))
    assert verdict.legal.tolist() == [True, False, True]
    assert verdict.reasons[0] == verdict.reasons[2] == ""
    assert "not within 1 edits" in verdict.reasons[1]


def test_no_examples_give_an_empty_verdict() -> None:
    nothing = CLEAN.select(torch.tensor([], dtype=torch.int64))
    for budget in budgets():
        assert check(budget, nothing, nothing).legal.shape == (0,)
