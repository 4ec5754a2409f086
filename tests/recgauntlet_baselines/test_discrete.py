"""Legal edits in training: what is drawn, that it is legal, and that the worst of it is kept."""

from __future__ import annotations

from typing import cast

import numpy as np
import pytest
import torch
from toy_recommender import ToyRecommender, make_batch, make_catalog, near_stuffing_threat, train

from recgauntlet.core.batch import Batch
from recgauntlet.core.card import HistoryThreat, TextThreat, Threat, Tier
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.errors import PluginError
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.data.encoder import sentence_vectors
from recgauntlet.testing.tiny import tiny_threats
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.history import history_fault
from recgauntlet.threats.lexicon import Lexicon
from recgauntlet.threats.text import text_fault
from recgauntlet.training.defense import TrainingContext, model_scores
from recgauntlet_baselines.defenses._adversarial_edits import item_gains, word_gains, worst_histories, worst_texts
from recgauntlet_baselines.defenses._edits import TaskEdits
from recgauntlet_baselines.defenses._history_edits import DELETE, INSERT, REPLACE, HistoryEdits
from recgauntlet_baselines.defenses._text_edits import Draft, TextEdits, WordMoves
from recgauntlet_baselines.defenses.augmentation import Augmentation
from recgauntlet_baselines.defenses.discrete import Discrete
from recgauntlet_tasks import ecommerce_purchase, news_click, video_watch

TEXT_THREATS = [
    threat
    for task in (ecommerce_purchase.task, news_click.task)
    for threat in task.card.threats
    if isinstance(threat, TextThreat) and threat.ranked
]
(HISTORY_THREAT,) = (t for t in video_watch.task.card.threats if isinstance(t, HistoryThreat))
TINY_TEXT = [threat for threat in tiny_threats() if isinstance(threat, TextThreat)]
(TINY_HISTORY,) = (threat for threat in tiny_threats() if isinstance(threat, HistoryThreat))


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    return make_catalog(60)


@pytest.fixture(scope="module")
def lexicon(catalog: Catalog) -> Lexicon:
    return Lexicon(catalog.texts)


@pytest.fixture(scope="module")
def vectors(catalog: Catalog) -> torch.Tensor:
    return torch.from_numpy(sentence_vectors(catalog.texts))


@pytest.fixture(scope="module")
def model(catalog: Catalog) -> ToyRecommender:
    torch.manual_seed(0)
    return train(ToyRecommender(catalog), steps=60)


@pytest.fixture(scope="module")
def batch(catalog: Catalog) -> Batch:
    return make_batch(catalog, users=30, seed=5)


def text_edits(lexicon: Lexicon, threat: TextThreat, tier: Tier = "standard") -> TextEdits:
    return TextEdits(lexicon, threat, Budget.of(threat, tier))


def history_edits(vectors: torch.Tensor, threat: HistoryThreat, tier: Tier = "standard") -> HistoryEdits:
    return HistoryEdits(vectors, threat, Budget.of(threat, tier))


def at(step: int = 0) -> TrainingContext:
    return TrainingContext(step, 0.5, Randomness(0, "test"))


def only(threat: TextThreat | HistoryThreat, **changes: object) -> Threat:
    return threat.model_copy(update=changes)


@pytest.mark.parametrize("tier", ["low", "standard", "high"])
@pytest.mark.parametrize("threat", [*TEXT_THREATS, *TINY_TEXT], ids=lambda threat: threat.id)
def test_every_random_text_is_legal_and_most_are_changed(
    threat: TextThreat, tier: Tier, lexicon: Lexicon, catalog: Catalog
) -> None:
    texts = list(catalog.texts)
    changed = text_edits(lexicon, threat, tier).random(texts, np.random.default_rng(0))
    budget = Budget.of(threat, tier)
    assert [text_fault(lexicon, threat, budget, *pair) for pair in zip(texts, changed, strict=True)] == [""] * 60
    # where words become near words alone, many have none
    least = 50 if budget.characters or "insert-word" in threat.operations else 20
    assert sum(a != b for a, b in zip(texts, changed, strict=True)) > least


@pytest.mark.parametrize("tier", ["low", "standard", "high"])
@pytest.mark.parametrize("threat", [HISTORY_THREAT, TINY_HISTORY], ids=lambda threat: f"window-{threat.window}")
def test_every_random_history_is_legal_and_most_are_changed(
    threat: HistoryThreat, tier: Tier, vectors: torch.Tensor, catalog: Catalog
) -> None:
    edits = history_edits(vectors, threat, tier)
    for seed in range(6):
        clean = make_batch(catalog, users=40, width=6, seed=seed).users.histories
        changed = edits.random(clean, np.random.default_rng(seed))
        pairs = zip(clean.tolist(), changed.tolist(), strict=True)
        assert {history_fault(vectors, threat, edits.rounds, *pair) for pair in pairs} == {""}
        assert (clean != changed).any(dim=1).float().mean() > 0.8


def test_all_kinds_of_edits_are_drawn(lexicon: Lexicon, vectors: torch.Tensor, catalog: Catalog, batch: Batch) -> None:
    generator = np.random.default_rng(0)
    drafts = [Draft.of(text) for text in catalog.texts]
    ends = np.array([len(draft.words) for draft in drafts])[:, None]
    stuffing = text_edits(lexicon, TINY_TEXT[0]).draw(drafts, generator, 32)
    assert 0.4 < (stuffing.place == ends).mean() < 0.6, "half of the words come behind the text, half replace"
    tampering = text_edits(lexicon, TINY_TEXT[1]).draw(drafts, generator, 32)
    known = {word for text in catalog.texts for word in text.split()}
    assert (tampering.place < ends).all()
    assert any("\u200b" in word for word in tampering.words), "misspellings"
    assert any(word.isalpha() and word.isascii() and len(word) > 3 and word not in known for word in tampering.words)
    histories = history_edits(vectors, TINY_HISTORY)
    moves = histories.draw(histories.start(batch.users.histories), generator, 32)
    shares = torch.bincount(moves.operation.flatten(), minlength=3) / moves.operation.numel()
    assert (shares > 0.25).all()


def test_where_words_of_near_items_are_legal_no_others_are_drawn(lexicon: Lexicon, catalog: Catalog) -> None:
    threat = near_stuffing_threat()
    drafts = [Draft.of(text) for text in catalog.texts]
    moves = text_edits(lexicon, threat, "low").draw(drafts, np.random.default_rng(0), 16)
    for draft, places, words in zip(drafts, moves.place.tolist(), moves.word.tolist(), strict=True):
        drawn = {moves.words[word] for place, word in zip(places, words, strict=True) if place >= 0}
        assert {place for place in places if place >= 0} == {len(draft.words)}
        assert drawn
        assert drawn <= set(lexicon.stuffing(threat, "low", draft.clean))


def test_names_and_numbers_are_never_proposed_for_a_change(lexicon: Lexicon) -> None:
    edits = text_edits(lexicon, TINY_TEXT[1])
    moves = edits.draw([Draft.of("Zorblat 5th boat of harbor")] * 4, np.random.default_rng(0), 64)
    assert {*moves.place.ravel().tolist(), -1} == {-1, 2, 3, 4}


def test_an_illegal_word_is_not_put(lexicon: Lexicon) -> None:
    edits = text_edits(lexicon, TINY_TEXT[0])
    draft = Draft.of("boat ship harbor")
    assert edits.put(draft, 3, "helicopter") is None, "not in the catalog"
    assert edits.put(draft, 3, "guitar") is not None
    assert edits.first_legal(draft, [(-1, "guitar"), (3, "helicopter"), (3, "opera")]) == Draft(
        "boat ship harbor", ("boat", "ship", "harbor", "opera"), frozenset({3})
    )


def test_history_operations_do_what_they_say(vectors: torch.Tensor) -> None:
    edits = history_edits(vectors, TINY_HISTORY)
    histories = edits.start(torch.tensor([[PAD, 1, 2, 3], [4, 1, 2, 3], [4, 1, 2, 3], [4, 1, 2, 3]]))
    operation, place = torch.tensor([DELETE, INSERT, REPLACE, INSERT]), torch.tensor([2, 1, 3, -1])
    once = histories.after(operation, place, torch.tensor([0, 9, 9, 9]))
    assert once.shown.tolist() == [[PAD, PAD, 1, 3], [1, 9, 2, 3], [4, 1, 2, 9], [4, 1, 2, 3]]
    back = once.after(torch.full((4,), DELETE), torch.full((4,), 2), torch.zeros(4, dtype=torch.long))
    assert back.shown[1].tolist() == [4, 1, 9, 3], "what an insertion pushed out comes back"
    assert once.fresh[1, once.reserve :].tolist() == [True, False, True, True]


def test_the_last_item_is_never_deleted(vectors: torch.Tensor) -> None:
    edits = history_edits(vectors, cast("HistoryThreat", only(TINY_HISTORY, operations=("delete",))), "high")
    assert edits.random(torch.tensor([[PAD, PAD, 7]]), np.random.default_rng(0)).tolist() == [[PAD, PAD, 7]]


def test_first_order_gains_of_a_linear_reader_are_exact(catalog: Catalog, lexicon: Lexicon, batch: Batch) -> None:
    class Linear(ToyRecommender):
        """A text is the sum of its words, so the estimate is the truth."""

        def pool(self, embeddings: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
            return (embeddings * mask.unsqueeze(-1)).sum(dim=1)

    torch.manual_seed(1)
    model = Linear(catalog)
    few = batch.select(torch.arange(6))
    state = model.encode_user(few.users).select(few.rows).detach()
    drafts = [Draft.of(catalog.texts[i]) for i in few.items.tolist()]
    place = np.array([[0, len(draft.words), len(draft.words) + 5] for draft in drafts])
    moves = WordMoves(place, np.tile([0, 1, 0], (6, 1)), ("opera", "guitar"))
    sign = 1 - 2 * few.labels
    edits, generator = text_edits(lexicon, TINY_TEXT[0]), np.random.default_rng(0)
    gains = word_gains(model, state, few.items, sign, drafts, moves, edits, generator)
    with torch.no_grad():
        clean = model.score(state, model.candidates(few.items))
        replaced = [" ".join(("opera", *draft.words[1:])) for draft in drafts]
        longer = [f"{draft.text} {vocabulary_word(edits)}" for draft in drafts]
        first = sign * (model.score(state, model.candidates(few.items, replaced)) - clean)
        asked = model.score(state, model.candidates(few.items, longer))
        appended = [f"{draft.text} guitar" for draft in drafts]
        second = sign * (model.score(state, model.candidates(few.items, appended)) - asked)
    torch.testing.assert_close(gains[:, 0], first, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(gains[:, 1], second, rtol=1e-4, atol=1e-5)
    assert (gains[:, 2] == -torch.inf).all(), "a place that is not there"


def vocabulary_word(edits: TextEdits) -> str:
    """The word that is asked about with the generator of seed 0."""
    return edits.vocabulary[int(np.random.default_rng(0).integers(len(edits.vocabulary)))]


def test_history_gains_are_the_first_order_of_a_mean(
    model: ToyRecommender, batch: Batch, vectors: torch.Tensor
) -> None:
    edits = history_edits(vectors, TINY_HISTORY)
    histories = edits.start(batch.histories())
    moves = edits.draw(histories, np.random.default_rng(0), 8)
    own = batch.with_histories(batch.histories())
    sign = 1 - 2 * batch.labels
    gains = item_gains(model, own.users, model.candidates(batch.items), sign, moves)
    with torch.no_grad():
        clean = model_scores(model, own)
        for m in range(8):
            operation, place, item = moves.at(torch.full((len(batch),), m))
            changed = batch.with_histories(histories.after(operation, place, item).shown)
            truth = sign * (model_scores(model, changed) - clean)
            count = (batch.histories() != PAD).sum(dim=1)
            after = count + (operation == INSERT).long() - (operation == DELETE).long()
            inside = (place >= 0) & (after <= batch.histories().shape[1])  # nothing was pushed out
            # a mean of n items moves by (new - mean) / (n + 1) or (mean - old) / (n - 1)
            expected = gains[:, m] * count / after
            torch.testing.assert_close(expected[inside], truth[inside], rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("threat", [TEXT_THREATS[0], TINY_TEXT[1]], ids=lambda threat: threat.id)
def test_the_search_does_more_damage_than_chance(
    threat: TextThreat, model: ToyRecommender, batch: Batch, lexicon: Lexicon
) -> None:
    edits = text_edits(lexicon, threat)
    state = model.encode_user(batch.users).select(batch.rows).detach()
    texts = [model.catalog.texts[i] for i in batch.items.tolist()]
    found = worst_texts(model, state, batch, edits, np.random.default_rng(0), 32, 2)
    chance = edits.random(texts, np.random.default_rng(0))
    budget = Budget.of(threat, "standard")
    assert {text_fault(lexicon, threat, budget, *pair) for pair in zip(texts, found, strict=True)} == {""}
    damage = [damage_of(model, batch, batch.with_texts(changed)) for changed in (found, chance)]
    assert damage[0] > 1.5 * max(damage[1], 0.05)


def test_the_search_on_histories_does_more_damage_than_chance(
    model: ToyRecommender, batch: Batch, vectors: torch.Tensor
) -> None:
    edits = history_edits(vectors, TINY_HISTORY)
    found = worst_histories(model, batch, edits, np.random.default_rng(0), 32)
    chance = edits.random(batch.histories(), np.random.default_rng(0))
    pairs = zip(batch.histories().tolist(), found.tolist(), strict=True)
    assert {history_fault(vectors, TINY_HISTORY, edits.rounds, *pair) for pair in pairs} == {""}
    damage = [damage_of(model, batch, batch.with_histories(changed)) for changed in (found, chance)]
    assert damage[0] > 1.5 * max(damage[1], 0.05)


@torch.no_grad()
def damage_of(model: ToyRecommender, clean: Batch, changed: Batch) -> float:
    sign = 1 - 2 * clean.labels
    return float((sign * (model_scores(model, changed) - model_scores(model, clean))).mean())


def test_loss_is_clean_plus_lam_times_the_loss_on_edited_unclicked_candidates(
    model: ToyRecommender, batch: Batch, lexicon: Lexicon
) -> None:
    defense = Discrete(lam=0.5)
    defense.prepare(TEXT_THREATS[:1], model.catalog)
    state = model.encode_user(batch.users).select(batch.rows).detach()
    unclicked = torch.nonzero(batch.labels == 0).flatten()
    edits = text_edits(lexicon, TEXT_THREATS[0])
    generator = at().rng.numpy(0)
    found = worst_texts(model, state.select(unclicked), batch.select(unclicked), edits, generator, 256, 4)
    texts = [model.catalog.texts[i] for i in batch.items.tolist()]
    for row, text in zip(unclicked.tolist(), found, strict=True):
        texts[row] = text
    with torch.no_grad():
        clean = model.click_loss(model_scores(model, batch), batch)
        edited = model.click_loss(model_scores(model, batch.with_texts(texts)), batch)
    loss = float(defense.training_loss(model, batch, at()).detach())
    assert loss == pytest.approx(float(clean + 0.5 * edited), rel=1e-5)
    assert edited > clean


def test_lam_zero_and_tasks_without_texts_and_histories_are_plain_training(model: ToyRecommender, batch: Batch) -> None:
    with torch.no_grad():
        plain = float(model.click_loss(model_scores(model, batch), batch))
    idle = Discrete(lam=0.0)
    idle.prepare(tiny_threats(), model.catalog)
    assert float(idle.training_loss(model, batch, at()).detach()) == pytest.approx(plain)
    for defense in (Discrete(), Augmentation()):
        defense.prepare([threat for threat in tiny_threats() if threat.surface == "embedding"], model.catalog)
        assert float(defense.training_loss(model, batch, at()).detach()) == pytest.approx(plain)


def test_the_search_leaves_training_mode_and_gradients_as_they_were(model: ToyRecommender, batch: Batch) -> None:
    defense = Discrete()
    defense.prepare(TEXT_THREATS[:1], model.catalog)
    model.zero_grad(set_to_none=True)
    for mode in (True, False):
        model.train(mode)
        defense.training_loss(model, batch, at())
        assert model.training is mode
    assert all(parameter.grad is None for parameter in model.parameters())


def test_ranked_threats_take_turns_and_others_fill_in(catalog: Catalog) -> None:
    stuffing, tampering = TINY_TEXT
    ranked = [only(stuffing, ranked=True), only(TINY_HISTORY, ranked=True), tampering]
    edits = TaskEdits(ranked, catalog, "standard")
    both = frozenset({"candidate-text", "history"})

    def chosen(surfaces: object, step: int) -> str:
        found = edits.at(cast("frozenset[object]", surfaces), step)  # type: ignore[arg-type]
        return found.threat.id if found else ""

    assert [chosen(both, step) for step in range(3)] == ["stuffing", "history", "stuffing"]
    assert chosen(frozenset({"history"}), 0) == "history"
    only_tampering = TaskEdits([tampering], catalog, "standard")
    assert only_tampering.at(frozenset({"candidate-text"}), 0) is not None
    assert chosen(frozenset({"embedding"}), 0) == ""


def test_augmentation_edits_a_share_of_the_texts(model: ToyRecommender, batch: Batch) -> None:
    defense = Augmentation(rate=0.5)
    defense.prepare(TEXT_THREATS[:1], model.catalog)
    texts = [model.catalog.texts[i] for i in batch.items.tolist()]
    shares = []
    for step in range(8):
        shown = defense.augmented(model, batch, at(step)).texts
        assert shown is not None
        shares.append(np.mean([a != b for a, b in zip(texts, shown, strict=True)]))
    assert np.mean(shares) == pytest.approx(0.5, abs=0.08)
    assert defense.augmented(model, batch, at(3)).texts == defense.augmented(model, batch, at(3)).texts


def test_augmentation_edits_a_share_of_the_users(model: ToyRecommender, batch: Batch) -> None:
    for rate, low, high in ((0.0, 0.0, 0.0), (1.0, 0.8, 1.0)):
        defense = Augmentation(rate=rate)
        defense.prepare([TINY_HISTORY], model.catalog)
        changed = defense.augmented(model, batch, at()).users.histories
        assert low <= (changed != batch.users.histories).any(dim=1).float().mean() <= high


def test_an_unknown_tier_is_refused() -> None:
    for kind in (Discrete, Augmentation):
        with pytest.raises(PluginError, match="standard"):
            kind(tier="hihg")
