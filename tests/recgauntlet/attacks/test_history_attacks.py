from __future__ import annotations

import itertools

import pytest
import torch
from torch import Tensor
from toy_recommender import Run, ToyRecommender, history_threat, make_batch, make_victim

from recgauntlet.attacks.common import first_of_each, rank_within, worst_first
from recgauntlet.attacks.history.edits import (
    DELETE,
    INSERT,
    REPLACE,
    Histories,
    Moves,
    best_moves,
    carried_over,
    elsewhere,
)
from recgauntlet.attacks.history.greedy import HistoryGradient, HistoryQuery, RandomHistory
from recgauntlet.attacks.history.neighbours import Neighbours, allowed_items
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import HistoryThreat
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.history import history_fault
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.victim import Victim

ALL = (RandomHistory, HistoryQuery, HistoryGradient)
GREEDY = (HistoryQuery, HistoryGradient)


def moved(items: list[int], operation: int, place: int, item: int) -> list[int]:
    state = Histories.of(torch.tensor([items]), len(items))
    after = state.moved(torch.tensor([operation]), torch.tensor([place]), torch.tensor([item]))
    return [int(i) for i in after.items[0]]


def test_moves_keep_padding_in_front_and_order_behind() -> None:
    assert moved([PAD, PAD, 5, 6, 7], REPLACE, 3, 9) == [PAD, PAD, 5, 9, 7]
    assert moved([PAD, PAD, 5, 6, 7], INSERT, 3, 9) == [PAD, 5, 6, 9, 7]
    assert moved([PAD, PAD, 5, 6, 7], DELETE, 3, 9) == [PAD, PAD, PAD, 5, 7]
    assert moved([PAD, PAD, 5, 6, 7], DELETE, 4, 9) == [PAD, PAD, PAD, 5, 6]
    assert moved([1, 2, 3], INSERT, 2, 9) == [2, 3, 9]
    assert moved([1, 2, 3], INSERT, 1, 9) == [2, 9, 3]


def test_a_place_that_was_edited_is_not_fresh_any_more() -> None:
    state = Histories.of(torch.tensor([[PAD, 5, 6, 7]]), 2)
    assert state.fresh.tolist() == [[False, False, True, True]]
    one, three = torch.tensor([1]), torch.tensor([3])
    inserted = state.moved(one * INSERT, three, one * 9)
    assert inserted.items.tolist() == [[5, 6, 7, 9]]
    assert inserted.fresh.tolist() == [[False, True, True, False]]
    assert inserted.moved(one * DELETE, one, one).fresh.tolist() == [[False, False, True, False]]


def moves_of(*moves: tuple[int, int, int]) -> Moves:
    """Moves of one history, all possible: operation, place, item."""
    operation, place, item = torch.tensor(moves).T[:, None]
    return Moves(operation, place, item, torch.ones_like(operation, dtype=torch.bool))


def test_a_single_edit_is_carried_over_to_where_its_item_stands_after_another_edit() -> None:
    clean = Histories.of(torch.tensor([[5, 6, 7]]), 3, 1)
    alone = moves_of((REPLACE, 1, 9), (REPLACE, 2, 9), (DELETE, 3, 0))
    one, two = torch.tensor([INSERT]), torch.tensor([2])
    inserted = clean.moved(one, two, torch.tensor([8]))
    assert inserted.items.tolist() == [[5, 6, 8, 7]]
    most = torch.tensor([3])
    found = carried_over(alone, inserted, most)
    assert found.place.tolist() == [[0, 1, 3]]
    assert found.possible.all()
    deleted = carried_over(alone, clean.moved(torch.tensor([DELETE]), two, two), most)
    assert deleted.place[0, [0, 2]].tolist() == [2, 3]
    assert deleted.possible.tolist() == [[True, False, True]]
    last = Histories.of(torch.tensor([[PAD, PAD, 7]]), 3, 1)
    assert carried_over(alone, last, most).possible.tolist() == [[False, False, False]], "the last item is not deleted"
    assert carried_over(alone, inserted, most - 2).possible.tolist() == [[True, False, False]], "the first of them"


def test_items_are_tried_at_every_other_place_where_they_are_legal(world: AttackerKnowledge, batch: Batch) -> None:
    threat, (row,) = history_threat(), batch.select(torch.tensor([3])).histories().tolist()
    clean = Histories.of(torch.tensor([row]), threat.window, 1)
    place = int(clean.fresh[0].nonzero()[-1])
    near = allowed_items(world.item_vectors, clean.items[0, place], threat.min_cosine).nonzero()[:, 0].tolist()
    alone = moves_of((DELETE, place, 0), *((REPLACE, place, item) for item in near[:3]))
    found = elsewhere(alone, clean, threat, world.item_vectors, 3)
    chosen = found.possible[0].nonzero()[:, 0]
    after = clean.select(chosen * 0).moved(found.operation[0, chosen], found.place[0, chosen], found.item[0, chosen])
    made = {tuple(shown) for shown in after.shown(len(row)).tolist()}
    every = every_edit(row, world.item_vectors, threat)
    first = {tuple(clean.moved(*(part[:, k] for part in alone[:3])).shown(len(row))[0].tolist()) for k in (1, 2)}
    assert made == {edit for edit in every if {*near[:2]} & set(edit) - set(row)} - first
    assert len(made) > 2
    assert not any(history_fault(world.item_vectors, threat, 1, row, list(edit)) for edit in made)


@pytest.mark.parametrize("kept", [2**24, 4])
def test_neighbours_are_the_allowed_items_whatever_is_kept(
    world: AttackerKnowledge, monkeypatch: pytest.MonkeyPatch, kept: int
) -> None:
    monkeypatch.setattr("recgauntlet.attacks.history.neighbours._ELEMENTS", kept)
    neighbours = Neighbours(world.item_vectors, 0.1)
    for items in (torch.tensor([3, 1, 3]), torch.tensor([1, 5, 0, 2]), torch.tensor([], dtype=torch.int64)):
        expected = allowed_items(world.item_vectors, items, 0.1).nonzero()
        assert torch.stack(neighbours.of(items), dim=1).tolist() == expected.tolist()
        assert len(expected) or not len(items)


@pytest.mark.parametrize("min_cosine", [0.1, -1.0])
def test_moves_are_ranked_by_what_they_promise_and_leave_out_barred_items(
    world: AttackerKnowledge, min_cosine: float
) -> None:
    threat, public = history_threat(min_cosine=min_cosine), world.item_vectors
    clean = Histories.of(torch.tensor([[PAD, 2, 3, 5], [7, 1, 4, 6]]), threat.window)
    slopes = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0))
    values = torch.randn(len(public), 3, generator=torch.Generator().manual_seed(1))

    def best(barred: Tensor | None) -> Moves:
        near = Neighbours(public, threat.min_cosine)
        many = torch.tensor([40, 40])
        return best_moves(clean, threat, near, slopes, values, many, 40, 4, len(public), barred)

    def promise(b: int, place: int, item: int) -> float:
        return float(slopes[b, place] @ (values[item] - values[clean.items[b, place]]))

    near = allowed_items(public, clean.items, threat.min_cosine)
    for barred in (None, torch.tensor([[9, 8], [3, 2]])):
        moves = best(barred)
        for b in range(2):
            replaced = moves.possible[b] & (moves.operation[b] == REPLACE)
            found = list(zip(moves.place[b, replaced].tolist(), moves.item[b, replaced].tolist(), strict=True))
            out = set() if barred is None else set(barred[b].tolist())
            every = [(int(h), int(i)) for h, i in near[b].nonzero() if clean.fresh[b, h] and int(i) not in out]
            every.sort(key=lambda move: -promise(b, *move))
            assert found == every[: len(found)]
            assert len(found) == min(len(every), round(40 * 5 / 8))


@pytest.mark.parametrize("kind", GREEDY)
def test_what_is_tried_on_an_example_does_not_depend_on_the_others(
    run: Run, batch: Batch, kind: type[HistoryGradient | HistoryQuery]
) -> None:
    budget = Budget.of(history_threat(queries=200), "high")
    rows = torch.arange(12)
    together, damage = run(kind(beam=4), budget, batch.select(rows))
    apart = [run(kind(beam=4), budget, batch.select(row)) for row in torch.split(rows, 1)]
    same = torch.cat([(found.histories() == together.histories()[k]).all(dim=1) for k, (found, _) in enumerate(apart)])
    assert same.float().mean() > 0.9  # edits worth the same but for rounding may be chosen either way
    torch.testing.assert_close(torch.cat([own for _, own in apart]), damage, rtol=0, atol=1e-4)


def test_greedy_attacks_do_more_damage_than_random_edits_at_equal_budget(run: Run) -> None:
    budget = Budget.of(history_threat(), "standard")
    random = run(RandomHistory(trials=20), budget)[1]
    for kind in GREEDY:
        damage = run(kind(stop_when_fallen=False), budget)[1]
        assert damage.mean() > random.mean()
    gradient = run(HistoryGradient(), budget)[1]
    assert (gradient > 0).sum() >= (random > 0).sum()


def test_one_edit_comes_close_to_exhaustive_search(
    run: Run, victim: Victim, batch: Batch, world: AttackerKnowledge
) -> None:
    threat = history_threat()
    budget = Budget.of(threat, "low")
    examples = batch.select(torch.arange(0, 40))
    clean = Histories.of(examples.histories(), threat.window)
    near = allowed_items(world.item_vectors, clean.items, threat.min_cosine)
    best = torch.full((len(examples),), -torch.inf)
    for b in range(len(examples)):
        rows = []
        for h, operation in itertools.product(range(clean.items.shape[1]), (REPLACE, INSERT, DELETE)):
            items = [0] if operation == DELETE else torch.nonzero(near[b, h]).flatten().tolist()
            if clean.fresh[b, h]:
                rows += [(operation, h, item) for item in items]
        moves = torch.tensor(rows)
        tried = clean.select(torch.full((len(rows),), b)).moved(moves[:, 0], moves[:, 1], moves[:, 2])
        one = examples.select(torch.full((len(rows),), b)).with_histories(tried.items)
        best[b] = ((1 - 2 * one.labels) * victim.scores(one)).max()
    clean_damage = (1 - 2 * examples.labels) * victim.scores(examples)
    _, reached = run(HistoryGradient(stop_when_fallen=False), budget, examples)
    assert (reached <= best + 1e-4).all()
    assert ((reached - clean_damage) / (best - clean_damage)).mean() > 0.95


def test_the_query_attack_needs_no_gradient(model: ToyRecommender, world: AttackerKnowledge, batch: Batch) -> None:
    class Blind(ToyRecommender):
        """The same scores, and no gradient to the history."""

        def encode_user(self, users, embeddings=None):  # type: ignore[no-untyped-def]
            used = self.embed_history(users) if embeddings is None else embeddings
            return super().encode_user(users, used.detach())

    blind = Blind(world.catalog)
    blind.load_state_dict(model.state_dict())
    target = make_victim(blind.eval(), world, batch)
    budget = Budget.of(history_threat(), "standard")
    damage = {}
    for kind in GREEDY:
        found = kind().perturb(target, batch, budget, Randomness(0, "test"))
        damage[kind.name] = (1 - 2 * batch.labels) * target.scores(found)
    clean = (1 - 2 * batch.labels) * target.scores(batch)
    assert torch.allclose(damage["history-gradient"], clean, atol=1e-5)
    assert (damage["history-query"] > 0).sum() > (clean > 0).sum() + 3


def test_a_single_item_is_never_deleted(run: Run, batch: Batch) -> None:
    alone = batch.histories().clone()
    alone[:, :-1] = PAD
    single = batch.with_histories(alone)
    for kind in ALL:
        found, _ = run(kind(), Budget.of(history_threat(operations=("delete",)), "high"), single)
        assert torch.equal(found.histories(), alone)


def every_edit(items: list[int], vectors: torch.Tensor, threat: HistoryThreat) -> set[tuple[int, ...]]:
    """All histories one legal edit away, by brute force and without the attacks' code."""
    width, real = len(items), [item for item in items if item != PAD]
    near = vectors @ vectors.T >= threat.min_cosine
    found: set[tuple[int, ...]] = set()
    for place in range(max(0, len(real) - threat.window), len(real)):
        if len(real) > 1:
            found.add((*real[:place], *real[place + 1 :]))
        for item in torch.nonzero(near[real[place]]).flatten().tolist():
            if item != real[place]:
                found.add((*real[:place], item, *real[place + 1 :]))
                found.add((*real[: place + 1], item, *real[place + 1 :]))
    return {tuple([PAD] * (width - len(edit)) + list(edit[-width:])) for edit in found}


@pytest.mark.parametrize("beam", [1, 4])
def test_robust_accuracy_after_one_edit_is_within_a_point_of_exhaustive_search(
    model: ToyRecommender, world: AttackerKnowledge, beam: int
) -> None:
    """200 examples, each against all of its legal edits (179 on average), with queries for about half of them."""
    examples = make_batch(world.catalog, users=100, seed=77, first_id=5000)
    victim = make_victim(model, world, examples)
    budget = Budget.of(history_threat(queries=100), "low")
    assert isinstance(budget.threat, HistoryThreat)
    falls, tried = torch.zeros(len(examples), dtype=torch.bool), 0
    for b in range(len(examples)):
        edits = sorted(every_edit(examples.histories()[b].tolist(), world.item_vectors, budget.threat))
        one = examples.select(torch.full((len(edits),), b)).with_histories(torch.tensor(edits))
        falls[b] = ((1 - 2 * one.labels) * victim.scores(one) > 0).any()
        tried += len(edits)
    assert tried > 1.5 * budget.queries * len(examples), "the attack must not be able to try them all"
    victim.reset(budget.queries)
    found = HistoryGradient(beam=beam).perturb(victim, examples, budget, Randomness(0, "test"))
    victim.reset(None)
    reached = (1 - 2 * examples.labels) * victim.scores(found) > 0
    clean = (1 - 2 * examples.labels) * victim.scores(examples) > 0
    gap = falls.float().mean() - (reached | clean).float().mean()
    assert falls.float().mean() > clean.float().mean() + 0.05, "one edit must be able to do something"
    assert 0 <= gap <= 0.01


@pytest.mark.parametrize("kind", GREEDY)
def test_a_wider_beam_does_at_least_as_much_damage(run: Run, kind: type[HistoryGradient | HistoryQuery]) -> None:
    budget = Budget.of(history_threat(queries=2000), "high")
    greedy = run(kind(stop_when_fallen=False), budget)[1]
    wide = run(kind(beam=6, stop_when_fallen=False), budget)[1]
    assert wide.mean() > greedy.mean()
    assert (wide >= greedy - 1e-4).float().mean() > 0.9


@pytest.mark.parametrize("kind", GREEDY)
def test_how_many_histories_fit_the_memory_changes_no_result(
    run: Run, monkeypatch: pytest.MonkeyPatch, kind: type[HistoryGradient | HistoryQuery]
) -> None:
    budget = Budget.of(history_threat(queries=300), "high")
    at_once, damage = run(kind(beam=6), budget)
    monkeypatch.setattr("recgauntlet.attacks.history.greedy._ELEMENTS", 1)  # every history is a group of its own
    one_by_one, other = run(kind(beam=6), budget)
    # edits that are worth the same but for rounding, which the size of a product decides, may be chosen either way
    same = (one_by_one.histories() == at_once.histories()).all(dim=1)
    assert same.float().mean() > 0.95
    torch.testing.assert_close(other, damage, rtol=0, atol=1e-4)


def test_histories_that_come_out_alike_are_scored_once(victim: Victim, batch: Batch) -> None:
    asked: list[tuple[int, ...]] = []
    score = victim.scores

    def listen(shown: Batch) -> torch.Tensor:
        histories = shown.histories().tolist()
        asked.extend((int(i), *items) for i, items in zip(shown.example_ids, histories, strict=True))
        return score(shown)

    victim.scores = listen  # type: ignore[method-assign]
    budget = Budget.of(history_threat(queries=2000, operations=("delete",)), "standard")
    victim.reset(budget.queries)
    HistoryQuery(beam=8, stop_when_fallen=False).perturb(victim, batch, budget, Randomness(0, "test"))
    assert len(set(asked)) == len(asked) > 15 * len(batch)


def test_the_best_of_each_example_is_kept() -> None:
    rows, damage = torch.tensor([2, 0, 2, 0, 2]), torch.tensor([1.0, 3.0, 5.0, 4.0, 5.0])
    order = worst_first(rows, damage)
    assert order.tolist() == [3, 1, 2, 4, 0]
    assert rank_within(rows[order]).tolist() == [0, 1, 0, 1, 2]
    keys = torch.tensor([[1, -1], [1, 2], [1, -1], [0, 2], [1, 2]])
    assert first_of_each(keys).tolist() == [0, 1, 3]
    assert first_of_each(keys[:0]).tolist() == rank_within(rows[:0]).tolist() == []
