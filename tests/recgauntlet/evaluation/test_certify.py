"""The certificate: no legal input turns what it certifies, tried on every legal input of small tasks."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from small_data import small_data
from tiny_task import make_spec
from torch import Tensor, nn
from toy_recommender import ToyRecommender, headline_threat, history_threat, stuffing_threat, tiers, train

from recgauntlet.core.batch import Candidates, Tokens, Users, UserState
from recgauntlet.core.card import TIERS, TextThreat
from recgauntlet.core.dataset import Catalog, Impressions, Pairs, TaskData
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.scoring import score_batch
from recgauntlet.core.types import PAD, Surface
from recgauntlet.evaluation.certify import (
    certificate_check,
    certify,
    guaranteed,
    right_votes,
)
from recgauntlet.evaluation.robustness import run_threat
from recgauntlet.evaluation.setup import Trial, is_right
from recgauntlet.records.io import read_record
from recgauntlet.records.validate import check_record
from recgauntlet.runner.cell import run_cell
from recgauntlet.testing.tiny import SHORT
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.history import HistoryThreatModel, history_fault
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.registry import threat_model
from recgauntlet.threats.smoothing import SMOOTHED, HistorySmoothed, TextSmoothed, left_of
from recgauntlet.threats.text import TextThreatModel, text_fault

PRIME = 99991


class Lottery(Recommender):
    """Any function at all: a logit drawn from a checksum of the whole history and the whole text, leaning to "clicked"
    for items of even index. Nothing about it is smooth, so no near input tells anything of another."""

    surfaces = frozenset({"candidate-text", "history"})
    recipe = SHORT

    def __init__(self, catalog: Catalog, *, token_length: int = 8, lean: float = 0.3, seed: int = 0) -> None:
        super().__init__(catalog, token_length=token_length)
        self.lean = lean
        self.seed = seed
        self.unused = nn.Parameter(torch.zeros(()))

    def tokenize(self, texts: Sequence[str]) -> Tokens:
        ids = torch.tensor([[zlib.crc32(text.encode()) % PRIME] for text in texts])
        return Tokens(ids, torch.ones_like(ids, dtype=torch.bool), torch.zeros_like(ids))

    def embed_history(self, users: Users) -> Tensor:
        return torch.zeros(*users.histories.shape, 1)

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        left = [[i for i in row if i != PAD] for row in users.histories.tolist()]
        return UserState((torch.tensor([zlib.crc32(f"{self.seed}{row}".encode()) % PRIME for row in left]),))

    def embed(self, candidates: Candidates) -> Tensor:
        return torch.zeros(len(candidates), 1, 1)

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        mixed = (user.tensors[0] * 7919 + candidates.tokens.ids[:, 0] * 104_729 + candidates.items * 31) % PRIME
        drawn = ((mixed * mixed) % PRIME).double() / PRIME - 0.5
        return drawn + self.lean * torch.where(candidates.items % 2 == 0, 1.0, -1.0)


class Memory(Lottery):
    """The worst that a model can do: right, as a rule, on what its votes see of each clean history, and wrong on
    anything else."""

    def __init__(self, catalog: Catalog, *, token_length: int = 8, seed: int = 0) -> None:
        super().__init__(catalog, token_length=token_length, seed=seed)
        self.known: dict[tuple[int, tuple[int, ...]], float] = {}

    def learn(self, users: Users, left: Tensor) -> None:
        """`left [U, K, W]`: what each vote sees."""
        draw = np.random.default_rng(self.seed)
        for user, votes in zip(users.ids.tolist(), left.tolist(), strict=True):
            for vote in votes:
                self.known[user, tuple(i for i in vote if i != PAD)] = 1.0 if draw.random() < 0.9 else -1.0

    def encode_user(self, users: Users, embeddings: Tensor | None = None) -> UserState:
        left = [tuple(i for i in row if i != PAD) for row in users.histories.tolist()]
        pairs = zip(users.ids.tolist(), left, strict=True)
        return UserState((torch.tensor([self.known.get(pair, -1.0) for pair in pairs], dtype=torch.float64),))

    def score(self, user: UserState, candidates: Candidates, embeddings: Tensor | None = None) -> Tensor:
        return user.tensors[0] * torch.where(candidates.items % 2 == 0, 1.0, -1.0)


def lottery_data(catalog: Catalog, histories: Sequence[Sequence[int]], width: int) -> TaskData:
    """A pair for each history, an item of even index clicked and one of odd index not."""
    count = len(histories)
    rows = np.array([[PAD] * (width - len(row)) + list(row) for row in histories], dtype=np.int64)
    users = np.arange(count, dtype=np.int64)
    half = len(catalog) // 2
    pairs = Pairs(users, rows, 2 * (users % half), 2 * (users % half) + 1)
    items = np.stack([pairs.clicked, pairs.unclicked], axis=1).reshape(-1)
    lists = Impressions(users, rows, items, np.tile([True, False], count), np.arange(0, 2 * count + 1, 2))
    return TaskData("0" * 64, catalog, count, pairs, pairs, pairs, lists)


def catalog_of(texts: Sequence[str]) -> Catalog:
    return Catalog(tuple(f"i{n}" for n in range(len(texts))), tuple(texts), ("",) * len(texts))


def trial_of(inner: Recommender, surface: Surface, data: TaskData, votes: int, kept: int) -> Trial:
    model = SMOOTHED[surface](inner, votes=votes, kept=kept, sharpness=8.0).eval().requires_grad_(False)
    vectors = torch.ones(len(data.catalog), 1)  # every item is near every other
    return Trial.of(model, data, AttackerKnowledge(data.catalog, vectors))


ITEMS, WIDTH = 5, 4
HISTORIES = [row for size in range(1, WIDTH + 1) for row in itertools.product(range(ITEMS), repeat=size)]


@pytest.mark.parametrize(("votes", "kept", "seed"), [(5, 1, 3), (8, 1, 1), (11, 2, 2)])
@pytest.mark.parametrize("kind", [Lottery, Memory])
def test_no_legal_history_turns_what_is_certified(kind: type[Lottery], votes: int, kept: int, seed: int) -> None:
    catalog = catalog_of([f"w{n}" for n in range(ITEMS + 1)])
    chosen = [HISTORIES[n] for n in np.random.default_rng(seed).choice(len(HISTORIES), 7, replace=False)]
    chosen += [(0, 1, 2, 3), (1, 1, 1, 1), (2,)]
    data = lottery_data(catalog, chosen, WIDTH)
    inner = kind(catalog, seed=seed)
    if isinstance(inner, Memory):
        users = Users(torch.from_numpy(data.test.users), torch.from_numpy(data.test.histories))
        votes_of = HistorySmoothed(inner, votes=votes, kept=kept, sharpness=8.0)
        inner.learn(users, left_of(users.histories, votes_of.seen_items(users.histories))[0])
    trial = trial_of(inner, "history", data, votes, kept)
    threat = history_threat(min_cosine=-1.0).model_copy(update={"edits": tiers(1, 2, 3)})
    rows = [[PAD] * (WIDTH - len(row)) + list(row) for row in HISTORIES]
    right = _right_under(trial, torch.tensor(rows))
    bits = np.stack([one.certified for one in certify(trial, threat, TIERS)])
    assert bits.any(), "nothing is certified: the test means nothing"
    legal = np.zeros((len(TIERS), len(chosen), len(rows)), dtype=np.bool_)
    vectors = trial.world.item_vectors
    for user, clean in enumerate(trial.batch.users.histories.tolist()):
        for level in range(2):
            legal[level, user] = [not history_fault(vectors, threat, level + 1, clean, row) for row in rows]
    assert legal[0].sum() < legal[1].sum()
    fallen = (legal[:, np.arange(len(bits[0])) // 2] & ~right).any(axis=2)
    assert not (bits & fallen).any()
    assert fallen[1].any(), "no history turns anything: the test means nothing"
    if kind is Memory and votes == 5:  # one vote less, and the proof would be wrong
        reached = kept * threat_model(threat).touched(trial.world.catalog, trial.batch, Budget.of(threat, "low"))
        votes_right = right_votes(trial.model, trial.batch)  # type: ignore[arg-type]
        bold = (guaranteed(votes_right, reached - 1) > 0.5).numpy()
        assert (bold & fallen[0]).any()


def _right_under(trial: Trial, histories: Tensor) -> np.ndarray:
    """`[B, N]`: whether each example is answered right with each history of `histories [N, H]`."""
    count = len(histories)
    rows = torch.arange(len(trial.batch)).repeat_interleave(count)
    shown = trial.batch.select(rows).with_histories(histories.repeat(len(trial.batch), 1))
    return is_right(score_batch(trial.model, shown), shown).view(-1, count).numpy()


WORDS = ("aa", "ab", "ba", "b")
TEXTS = [" ".join(row) for size in range(1, 6) for row in itertools.product(WORDS, repeat=size)]


@pytest.mark.parametrize(("votes", "kept", "seed"), [(4, 1, 0), (6, 1, 1), (9, 2, 2)])
def test_no_legal_text_turns_what_is_certified(votes: int, kept: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    catalog = catalog_of([str(text) for text in draw.choice(TEXTS[:84], 16, replace=False)])
    data = lottery_data(catalog, [(0,)] * 8, 2)
    trial = trial_of(Lottery(catalog, seed=seed), "candidate-text", data, votes, kept)
    stuffing = stuffing_threat().model_copy(update={"goal": "flip", "max_repeats": None, "words": tiers(1, 2, 3)})
    letters = headline_threat().model_copy(
        update={"characters": tiers(1, 2, 3), "words": tiers(0, 0, 0), "operations": ("replace-character",)}
    )
    assert isinstance(stuffing, TextThreat)
    assert isinstance(letters, TextThreat)
    turned = 0
    for threat in (stuffing, letters):
        for one in certify(trial, threat, TIERS):
            bits = one.certified
            budget = Budget.of(threat, one.tier)
            for row in range(len(trial.batch)):
                clean = catalog.texts[int(trial.batch.items[row])]
                legal = [text for text in TEXTS if not text_fault(trial.world.lexicon, threat, budget, clean, text)]
                shown = trial.batch.select(torch.full((len(legal),), row)).with_texts(legal)
                stands = bool(is_right(score_batch(trial.model, shown), shown).all())
                assert stands or not bits[row], (threat.id, one.tier, clean)
                turned += not stands
            assert bits.any() or one.tier != "low", (threat.id, one.tier)
    assert turned, "no text turns anything: the test means nothing"


def test_the_guarantee_is_the_worst_choice_of_the_reached_votes() -> None:
    votes = torch.rand(20, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for reached in range(8):
        choices = list(itertools.combinations(range(6), min(reached, 6)))
        worst = torch.stack(
            [votes.index_fill(1, torch.tensor(gone, dtype=torch.int64), 0.0).mean(1) for gone in choices]
        )
        torch.testing.assert_close(guaranteed(votes, torch.full((20,), reached)), worst.amin(dim=0))
    broken = guaranteed(torch.tensor([[0.9, float("nan"), 0.9]]), torch.tensor([0]))
    assert not bool((broken > 0.5).any())


@pytest.mark.parametrize(
    ("operations", "edits", "length", "most"),
    [
        (("replace",), 2, 3, 4),
        (("insert",), 2, 3, 2),  # two places are empty
        (("insert",), 2, 4, 3),  # one is, so the second pushes an item out
        (("insert",), 2, 5, 4),
        (("delete",), 2, 5, 2),
        (("insert", "delete"), 2, 5, 4),
        (("replace", "insert", "delete"), 3, 5, 6),
        (("replace", "insert", "delete"), 1, 1, 2),
        (("replace", "insert", "delete"), 0, 5, 0),
    ],
)
def test_edits_of_a_history_touch_what_goes_and_what_comes(
    operations: tuple[str, ...], edits: int, length: int, most: int
) -> None:
    assert HistoryThreatModel(history_threat(operations=operations)).most_touched(edits, length, width=5) == most


def test_words_are_touched_within_words_characters_and_share() -> None:
    tampering, stuffing = headline_threat(), stuffing_threat()
    found = {
        (threat.id, tier, count): TextThreatModel(threat).most_touched(Budget.of(threat, tier), count)
        for threat in (tampering, stuffing)
        for tier in TIERS
        for count in (1, 3, 10, 60)
    }
    assert [found["headline-tampering", "low", count] for count in (1, 3, 10, 60)] == [1, 1, 3, 4]
    assert [found["headline-tampering", "high", count] for count in (1, 3, 10, 60)] == [1, 1, 3, 16]
    assert [found["title-stuffing", tier, 1] for tier in TIERS] == [1, 2, 4]
    replacing = stuffing.model_copy(update={"operations": ("replace-word",)})
    assert TextThreatModel(replacing).most_touched(Budget.of(replacing, "high"), 3) == 3


@pytest.fixture(scope="module")
def data() -> TaskData:
    return small_data()


@pytest.fixture(scope="module")
def inner(data: TaskData) -> ToyRecommender:
    torch.manual_seed(0)
    return train(ToyRecommender(data.catalog), steps=60)


def test_no_attack_breaks_what_is_certified_and_the_gate_says_so(data: TaskData, inner: ToyRecommender) -> None:
    model = HistorySmoothed(inner, votes=8, kept=1, sharpness=4.0).eval().requires_grad_(False)
    trial = Trial.of(model, data, AttackerKnowledge(data.catalog))
    threat = history_threat(queries=30)
    proved = certify(trial, threat, TIERS)
    result = run_threat(trial, threat, Randomness(0, "test")).model_copy(update={"certified": proved})
    shares = [one.certified.mean() for one in proved]
    assert shares[0] > 0.2
    assert shares == sorted(shares, reverse=True)
    gate = certificate_check(result)
    assert gate.passed, gate.explanation
    everything = [one.model_copy(update={"certified": trial.right.numpy()}) for one in proved]
    failed = certificate_check(result.model_copy(update={"certified": tuple(everything)}))
    assert not failed.passed
    assert failed.value > 0
    assert "certificate" in failed.remedy


def test_only_unclicked_candidates_need_a_proof_where_the_threat_promotes(
    data: TaskData, inner: ToyRecommender
) -> None:
    model = TextSmoothed(inner, votes=3, kept=2, sharpness=4.0).eval()
    trial = Trial.of(model, data, AttackerKnowledge(data.catalog))
    (promoting,) = certify(trial, stuffing_threat(), ("high",))
    assert promoting.reached == promoting.votes == 3, "every vote is reached, so nothing can be proved"
    clicked = trial.batch.labels > 0.5
    np.testing.assert_array_equal(promoting.certified, (trial.right & clicked).numpy())
    flipping = stuffing_threat().model_copy(update={"goal": "flip"})
    (found,) = certify(trial, flipping, ("high",))
    assert not found.certified.any()


def test_only_the_harness_own_smoothing_of_the_threats_surface_is_certified(
    data: TaskData, inner: ToyRecommender
) -> None:
    class Own(HistorySmoothed):
        """What a plugin might make of it."""

    world = AttackerKnowledge(data.catalog)
    threat = history_threat()
    smoothed = Trial.of(HistorySmoothed(inner, votes=4, kept=1, sharpness=1.0).eval(), data, world)
    assert certify(smoothed, threat, ("low",))
    assert certify(smoothed, headline_threat(), ("low",)) == ()
    assert certify(replace(smoothed, samples=8), threat, ("low",)) == ()
    assert certify(Trial.of(inner, data, world), threat, ("low",)) == ()
    own = Trial.of(Own(inner, votes=4, kept=1, sharpness=1.0).eval(), data, world)
    assert certify(own, threat, ("low",)) == ()


def test_a_cell_of_the_defense_leaves_what_is_proved_in_its_record(
    tiny_card: Path, tiny_cache: Path, tmp_path: Path
) -> None:
    spec = make_spec(tiny_card, tmp_path, tiny_cache, "randomized-smoothing")
    spec = replace(spec, defense_options=(("votes", 6), ("p_delete", 0.8)))
    record = run_cell(spec)
    assert record.failure is None, record.failure
    check_record(record)
    assert [(one.threat, one.tier) for one in record.certified] == [("history-perturbation", tier) for tier in TIERS]
    assert read_record(spec.record_path).certified == record.certified
    (gate,) = [gate for gate in record.gates if gate.name == "certificate-holds"]
    assert gate.passed
    assert {(one.votes, one.reached) for one in record.certified} == {(6, 2), (6, 4)}
