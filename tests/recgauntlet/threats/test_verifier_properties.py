"""The verifier on generated worlds: no attack's input breaks its budget, no legal input is refused, no illegal one
passes.

Legal inputs come from walks over the written rules (docs/protocol.md), by code of its own: neither the attacks' moves
nor the verifier's alignment.
"""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import pytest
import torch
from generated import (
    batches,
    embedding_threats,
    history_threats,
    repeatable,
    text_threats,
    worlds,
)
from hypothesis import assume, given
from hypothesis import strategies as st
from toy_recommender import ToyRecommender, make_twin, make_victim

from recgauntlet.attacks.suite import suite_attacks, transfer_for
from recgauntlet.core.batch import Batch
from recgauntlet.core.card import HistoryThreat, TextThreat, Threat, Tier
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import PAD
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.embedding_scale import EmbeddingScale
from recgauntlet.threats.history import history_fault
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.lexicon import Lexicon
from recgauntlet.threats.text import text_fault
from recgauntlet.threats.verifier import Verdict, verify

TIER = st.sampled_from(["low", "standard", "high"])
THREATS: dict[str, st.SearchStrategy[Threat]] = {
    "candidate-text": text_threats(),
    "history": history_threats(),
    "embedding": embedding_threats(),
}
EXAMPLES = {"candidate-text": 30, "history": 20, "embedding": 12}
SCALE = EmbeddingScale(norm=3.0, rms=0.7)


def unchanged_but(surface: str, clean: Batch, found: Batch) -> None:
    """Everything but the threat's surface is as it was."""
    assert torch.equal(found.example_ids, clean.example_ids)
    assert torch.equal(found.items, clean.items)
    assert torch.equal(found.labels, clean.labels)
    assert torch.equal(found.users.ids[found.rows], clean.users.ids[clean.rows])
    assert surface == "history" or torch.equal(found.histories(), clean.histories())
    assert surface == "candidate-text" or found.texts == clean.texts
    assert surface == "embedding" or found.delta is None


def no_attack_breaks_the_budget(surface: str, data: st.DataObject) -> None:
    world = data.draw(worlds())
    batch, budget = data.draw(batches(world)), Budget.of(data.draw(THREATS[surface]), data.draw(TIER))
    torch.manual_seed(0)
    model = ToyRecommender(world.catalog, token_length=6).eval()
    victim, twin = make_victim(model, world, batch), make_twin(model, world, batch)
    for attack in (*suite_attacks(), transfer_for(budget.threat, twin)):
        if attack.surface != surface or not attack.supports(budget):
            continue
        victim.reset(budget.queries)
        found = attack.perturb(victim, batch, budget, Randomness(0, "test"))
        verdict = verify(world, victim.scale, budget, batch, found)
        assert verdict.legal.all(), (attack.name, verdict.reasons, found)
        unchanged_but(surface, batch, found)
        assert (victim.remaining(batch.example_ids) >= 0).all(), attack.name


@pytest.mark.parametrize("surface", THREATS)
def test_no_input_of_any_attack_breaks_its_budget(surface: str) -> None:
    given(st.data())(repeatable(EXAMPLES[surface])(lambda data: no_attack_breaks_the_budget(surface, data)))()


def test_every_surface_of_the_suite_is_tried() -> None:
    assert {attack.surface for attack in suite_attacks()} == set(THREATS)


class Rules:
    """The rules for texts, read off the page: may `words` stand where `clean` stood, whatever the number of edits?"""

    def __init__(self, world: AttackerKnowledge, budget: Budget, clean: str) -> None:
        assert isinstance(budget.threat, TextThreat)
        self.world, self.threat, self.clean, self.before = world, budget.threat, clean, clean.split()
        self.near = None if self.threat.nearest_items is None else int(self.threat.nearest_items.at(budget.tier))
        self.tokens = sorted({word for text in world.catalog.texts for word in text.split()})

    def allow(self, words: Sequence[str]) -> bool:
        threat, text = self.threat, " ".join(words)
        had = Counter(map(bare, self.before))
        pairs = list(zip(self.before, words, strict=False))
        touched = sum(old != new for old, new in pairs) + len(words) - len(self.before)
        share = threat.max_changed_share
        return (
            (len(text) <= max(threat.max_length, len(self.clean)))
            and all(text.count(c) <= self.clean.count(c) for c in threat.banned_characters)
            and (
                threat.max_repeats is None
                or all(n <= max(threat.max_repeats, had[core]) for core, n in Counter(map(bare, words)).items())
            )
            and (not threat.keep_numbers or [*filter(digits, self.before)] == [*filter(digits, words)])
            # hundredths, as cards write them: 0.58 of 50 words are 29
            and (share is None or touched <= 1 or 100 * touched <= round(100 * share) * len(self.before))
        )

    def name(self, word: str) -> bool:
        middle = stripped(word)
        return any(c.isupper() for c in middle) and not any(
            stripped(token) == middle.lower() and not any(c.isupper() for c in token) for token in self.tokens
        )

    def vocabulary(self) -> list[str]:
        """The catalog's words of letters without a banned one, each in its most frequent form."""
        shown = Counter(stripped(word) for text in self.world.catalog.texts for word in dict.fromkeys(text.split()))
        best: dict[str, str] = {}
        for form in sorted(shown, key=lambda form: (-shown[form], form)):
            best.setdefault(form.lower(), form)
        forms = (form for form in best.values() if len(form) > 1 and form.isascii() and form.isalpha())
        fitting = sorted(form for form in forms if not set(form) & set(self.threat.banned_characters))
        texts = list(dict.fromkeys(self.world.catalog.texts))
        if self.near is None or self.near >= len(self.world.catalog.texts):
            return fitting
        bags = {text: {bare(word) for word in text.split()} for text in texts}
        weight = {
            word: math.log(len(texts) / sum(word in bag for bag in bags.values()))
            for word in set().union(*bags.values())
        }

        def dot(first: str, second: str) -> float:
            return math.fsum(weight[word] ** 2 for word in bags[first] & bags[second])

        def alike(text: str) -> float:
            norms = max(dot(text, text), 1e-12) ** 0.5 * max(dot(self.clean, self.clean) ** 0.5, 1e-12)
            return round(dot(text, self.clean) / norms, 9)

        nearest = sorted((text for text in texts if text != self.clean), key=lambda text: -alike(text))[: self.near]
        return [form for form in fitting if any(form.lower() in bags[text] for text in nearest)]


def stripped(word: str) -> str:
    """The word without the punctuation around it; a word of nothing else stays."""
    letters = [i for i, c in enumerate(word) if c.isalnum()]
    return word[letters[0] : letters[-1] + 1] if letters else word


def bare(word: str) -> str:
    return stripped(word).lower()


def digits(word: str) -> bool:
    return any(c.isdigit() for c in word)


@st.composite
def legal_texts(draw: st.DrawFn, world: AttackerKnowledge, budget: Budget, clean: str) -> str:
    """A walk of legal edits from `clean`: of words, or of characters."""
    threat = budget.threat
    assert isinstance(threat, TextThreat)
    rules, words = Rules(world, budget, clean), clean.split()
    by_characters = "replace-character" in threat.operations and draw(st.booleans())
    stuffing, vocabulary = "insert-word" in threat.operations, rules.vocabulary()
    kept = {p for p, word in enumerate(words) if threat.keep_names and rules.name(word)}
    open_places = set(range(len(words))) - (set() if by_characters else kept)
    for _ in range(budget.characters if by_characters else int(budget.amount)):
        tried, place = list(words), draw(st.sampled_from(sorted(open_places))) if open_places else -1
        if by_characters:
            new = world.lexicon.misspellings(words[place]) if open_places else ()
        elif stuffing and draw(st.booleans()):
            new, place = tuple(vocabulary), len(words)
        elif "replace-word" in threat.operations and open_places:
            other = tuple(word for word in vocabulary if word.lower() != bare(words[place]))
            new = other if stuffing else world.lexicon.neighbours(words[place], threat.synonym_cosine)
        else:
            new = ()
        if new:
            tried[place : place + 1] = [draw(st.sampled_from(new))]
            if rules.allow(tried):
                words, open_places = tried, open_places - {place}
    return clean if words == clean.split() and draw(st.booleans()) else " ".join(words)


def test_a_share_is_not_lost_in_rounding() -> None:
    """0.58 of 50 words are 29, though 0.58 * 50 is a little less in floating point."""
    threat = TextThreat.model_validate(
        {
            "id": "text",
            "goal": "flip",
            "ranked": True,
            "source": "ours",
            "surface": "candidate-text",
            "operations": ("insert-word", "replace-word"),
            "queries": {"low": 1, "standard": 1, "high": 1},
            "words": {"low": 50, "standard": 50, "high": 50},
            "max_changed_share": 0.58,
        }
    )
    lexicon, clean = Lexicon(("red tea",)), ["red"] * 50
    for changed, legal in ((29, True), (30, False)):
        text = " ".join(["tea"] * changed + clean[changed:])
        assert (text_fault(lexicon, threat, Budget.of(threat, "low"), " ".join(clean), text) == "") == legal


@st.composite
def text_cases(draw: st.DrawFn) -> tuple[AttackerKnowledge, Budget, Batch]:
    world = draw(worlds())
    return world, Budget.of(draw(text_threats()), draw(TIER)), draw(batches(world))


def texts_of(world: AttackerKnowledge, batch: Batch) -> list[str]:
    return [world.catalog.texts[item] for item in batch.items.tolist()]


@repeatable(200)
@given(text_cases(), st.data())
def test_no_legal_text_is_refused(case: tuple[AttackerKnowledge, Budget, Batch], data: st.DataObject) -> None:
    world, budget, batch = case
    texts = [data.draw(legal_texts(world, budget, text)) for text in texts_of(world, batch)]
    verdict = verify(world, SCALE, budget, batch, batch.with_texts(texts))
    assert verdict.legal.all(), list(zip(texts_of(world, batch), texts, verdict.reasons, strict=True))


def test_the_walks_over_texts_go_somewhere() -> None:
    """Of the texts that are tried above, many are changed, in words and in characters."""
    changed: Counter[str] = Counter()

    @repeatable(120)
    @given(text_cases(), st.data())
    def walk(case: tuple[AttackerKnowledge, Budget, Batch], data: st.DataObject) -> None:
        world, budget, batch = case
        for clean in texts_of(world, batch):
            words = data.draw(legal_texts(world, budget, clean)).split()
            pairs = list(zip(clean.split(), words, strict=False))
            changed["longer"] += len(words) > len(clean.split())
            changed["replaced"] += any(old != new for old, new in pairs)
            changed["two"] += sum(old != new for old, new in pairs) > 1

    walk()
    assert min(changed["longer"], changed["replaced"], changed["two"]) >= 5, changed


def wrong_texts(draw: st.DrawFn, rules: Rules, budget: Budget, legal: str) -> Iterator[tuple[str, str]]:
    """Texts that break one rule each, and which."""
    threat, clean, words = rules.threat, rules.before, legal.split()
    plain = [token for token in rules.tokens if not digits(token)]
    if clean:
        yield "a word is gone", " ".join(words[: len(clean) - 1])
    if len(words) > 1:
        yield "two spaces", "  ".join(words) if "  ".join(words) != rules.clean else "   ".join(words)
    if plain:
        extra = draw(st.lists(st.sampled_from(plain), min_size=int(budget.amount) + 1, max_size=int(budget.amount) + 1))
        yield "one word too many", " ".join([*clean, *extra])
        if "insert-word" not in threat.operations:
            yield "a word is added", " ".join([*words, extra[0]])
    yield "no word of the catalog", " ".join([*clean, "qqzzxqqzzx"])
    if rules.near is not None:
        anywhere = replace(budget, threat=threat.model_copy(update={"nearest_items": None}))
        for word in set(Rules(rules.world, anywhere, rules.clean).vocabulary()) - set(rules.vocabulary()):
            yield "a word of no near item", " ".join([*clean, word])
    for character in threat.banned_characters:
        with_character = " ".join([*words[:-1], (words or [""])[-1] + character])
        if with_character.count(character) > rules.clean.count(character):  # as many as before are legal
            yield "a banned character", with_character
    for place, word in enumerate(clean):
        if threat.keep_numbers and digits(word):
            yield "a number changed", " ".join([*words[:place], word + "x", *words[place + 1 :]])
            yield "a number is gone", " ".join([*words[:place], "the", *words[place + 1 :]])
        if threat.keep_names and rules.name(word):
            yield "a name replaced", " ".join([*words[:place], "the", *words[place + 1 :]])
        if not {"replace-word", "replace-character"} & set(threat.operations):
            yield "a word changed", " ".join([*clean[:place], word + "x", *clean[place + 1 :]])
        yield "no slip and no word", " ".join([*clean[:place], word + "qq", *clean[place + 1 :]])
        if word != word.swapcase():
            yield "another case", " ".join([*clean[:place], word.swapcase(), *clean[place + 1 :]])
    if threat.keep_numbers and words:
        yield "a number came in", " ".join([*words[:-1], words[-1] + "7"])
    if words and threat.max_repeats is not None:
        times = max(threat.max_repeats, Counter(map(bare, clean))[bare(words[-1])]) + 1
        yield "repeated", " ".join([*words, *[words[-1]] * times])
    longest = max(threat.max_length, len(rules.clean))
    yield "too long", " ".join([*words, "a" * (longest + 1)])


@repeatable(120)
@given(text_cases(), st.data())
def test_a_text_that_breaks_one_rule_is_refused(
    case: tuple[AttackerKnowledge, Budget, Batch], data: st.DataObject
) -> None:
    world, budget, batch = case
    assert isinstance(budget.threat, TextThreat)
    one = batch.select(torch.tensor([0]))
    (clean,) = texts_of(world, one)
    rules = Rules(world, budget, clean)
    legal = data.draw(legal_texts(world, budget, clean))
    for rule, text in data.draw(st.composite(lambda draw: list(wrong_texts(draw, rules, budget, legal)))()):
        verdict = verify(world, SCALE, budget, one, one.with_texts([text]))
        assert not verdict.legal.any(), (rule, clean, text)


def legal_rows(close: np.ndarray, threat: HistoryThreat, edits: int, row: Sequence[int]) -> Iterator[tuple[int, ...]]:
    """Every row that the written rules allow for the clean `row`: all ways to keep, replace and delete the clean items
    and to insert others behind them, with at most `edits` edits."""
    items = [item for item in row if item != PAD]
    first = max(0, len(items) - threat.window)
    catalog = range(len(close))

    def insertions(gap: int, left: int) -> Iterator[tuple[int, ...]]:
        fitting = [item for item in catalog if gap and item != items[gap - 1] and close[item, items[gap - 1]]]
        most = left if "insert" in threat.operations and gap > first else 0
        for count in range(most + 1):
            yield from itertools.product(fitting, repeat=count)

    def onward(place: int, left: int) -> Iterator[tuple[int, ...]]:
        for inserted in insertions(place, left):
            rest = left - len(inserted)
            if place == len(items):
                yield inserted
                continue
            for tail in onward(place + 1, rest):
                yield (*inserted, items[place], *tail)
            if rest > 0 and place >= first:
                if "delete" in threat.operations:
                    yield from ((*inserted, *tail) for tail in onward(place + 1, rest - 1))
                if "replace" in threat.operations:
                    for item in catalog:
                        if close[item, items[place]]:
                            for tail in onward(place + 1, rest - 1):
                                yield (*inserted, item, *tail)

    for found in onward(0, edits):
        if found:
            newest = found[-len(row) :]
            yield (PAD,) * (len(row) - len(newest)) + newest


@repeatable(25)
@given(history_threats(), st.integers(0, 2), st.integers(0, 10**6), st.lists(st.integers(0, 3), min_size=1, max_size=4))
def test_histories_are_legal_exactly_where_the_rules_allow_them(
    threat: HistoryThreat, edits: int, seed: int, items: list[int]
) -> None:
    points = torch.randn(4, 3, generator=torch.Generator().manual_seed(seed))
    vectors = torch.nn.functional.normalize(points, dim=1)
    cosines = vectors.double() @ vectors.double().T
    assume(((cosines - threat.min_cosine).abs().fill_diagonal_(1) > 1e-3).all())
    row = [PAD] * (4 - len(items)) + items
    legal = set(legal_rows((cosines >= threat.min_cosine - 1e-5).numpy(), threat, edits, row)) | {tuple(row)}
    for other in itertools.product(range(PAD, 4), repeat=4):
        assert (history_fault(vectors, threat, edits, row, other) == "") == (other in legal), (row, other)


@repeatable(60)
@given(history_threats(), TIER, st.data())
def test_a_history_that_breaks_one_rule_is_refused(threat: HistoryThreat, tier: Tier, data: st.DataObject) -> None:
    """In a world where no two items are alike; the items of the histories are all different."""
    budget = Budget.of(threat.model_copy(update={"min_cosine": 0.9}), tier)
    vectors, edits = torch.eye(12), int(budget.amount)
    items = data.draw(st.permutations(range(10)))[: data.draw(st.integers(3, 8))]
    row, width = [PAD, PAD, *items], len(items) + 2
    place = data.draw(st.integers(0, len(items) - 3))
    one, two, three = items[place : place + 3]
    swapped = [*items[:place], three, two, one, *items[place + 3 :]]
    wrong = {
        "another order": [PAD, PAD, *swapped],
        "unlike what it replaces": [PAD, PAD, *items[:place], 10, *items[place + 1 :]],
        "unlike its neighbours": [PAD, *items[:place], 10, *items[place:]],
        "not in the catalog": [PAD, PAD, *items[:place], 12, *items[place + 1 :]],
        "a negative item": [PAD, PAD, *items[:place], -2, *items[place + 1 :]],
        "empty": [PAD] * width,
        "padding between": [PAD, items[0], PAD, *items[1:]],
        "padding behind": [PAD, *items, PAD],
    }
    if edits + 1 < len(items):
        wrong["one deletion too many"] = [PAD] * (2 + edits + 1) + list(items[edits + 1 :])
    if threat.window < len(items):
        wrong["outside the window"] = [PAD, PAD, PAD, *items[1:]]
    for rule, other in wrong.items():
        assert history_fault(vectors, budget.threat, edits, row, other), (rule, row, other)  # type: ignore[arg-type]


@st.composite
def deltas(draw: st.DrawFn, size: int, norm: str, radius: float) -> torch.Tensor:
    """`[size, L, D]` changes of exactly `radius`, spread over all elements or in one."""
    shape = (size, draw(st.integers(1, 5)), draw(st.integers(1, 4)))
    moved = torch.randn(
        shape, generator=torch.Generator().manual_seed(draw(st.integers(0, 10**6))), dtype=torch.float64
    )
    if draw(st.booleans()):
        moved[:, 1:] = 0
    flat = moved.flatten(1)
    length = flat.norm(dim=1) if norm == "l2" else flat.abs().amax(dim=1)
    return (moved / length.clamp(min=1e-9)[:, None, None] * radius).float()


@repeatable(80)
@given(worlds(), embedding_threats(), TIER, st.floats(0, 1), st.data())
def test_changes_of_embeddings_are_legal_up_to_the_radius_and_not_beyond(
    world: AttackerKnowledge, threat: Threat, tier: Tier, share: float, data: st.DataObject
) -> None:
    budget, batch = Budget.of(threat, tier), data.draw(batches(world))
    norm = threat.norm  # type: ignore[union-attr]
    radius = budget.amount * (SCALE.norm if norm == "l2" else SCALE.rms)
    border = data.draw(deltas(len(batch), norm, radius))

    def check(delta: torch.Tensor) -> Verdict:
        return verify(world, SCALE, budget, batch, batch.with_delta(delta))

    assert check(border).legal.all()
    assert check(share * border).legal.all()
    if radius > 0:
        assert not check(1.01 * border).legal.any()
    beyond = border.clone()
    beyond[1, 0, 0] = data.draw(st.sampled_from([torch.nan, torch.inf, -torch.inf, 2 * radius + 1]))
    assert check(beyond).legal.tolist() == [True, False, True, True, True]


def test_nothing_but_the_surface_may_change_in_any_world() -> None:
    @repeatable(60)
    @given(worlds(), st.sampled_from(sorted(THREATS)), TIER, st.data())
    def check(world: AttackerKnowledge, surface: str, tier: Tier, data: st.DataObject) -> None:
        batch, budget = data.draw(batches(world)), Budget.of(data.draw(THREATS[surface]), tier)
        at, size, count = data.draw(st.integers(0, len(batch) - 1)), len(batch), len(world.catalog)
        here = torch.arange(size) == at
        texts = texts_of(world, batch)
        longer = [f"{text} boat" if n == at else text for n, text in enumerate(texts)]
        histories = batch.histories().clone()
        histories[at, -1] = (histories[at, -1] + 1) % count
        changes = {
            "another example's id": replace(batch, example_ids=batch.example_ids + here * 1),
            "another candidate": replace(batch, items=(batch.items + here * 1) % count),
            "another label": replace(batch, labels=torch.where(here, 1 - batch.labels, batch.labels)),
            "another user": replace(
                batch.with_histories(batch.histories()),
                users=replace(batch.users, ids=batch.users.ids[batch.rows] + here * 9, histories=batch.histories()),
            ),
        }
        if surface != "candidate-text":
            changes["another text"] = batch.with_texts(longer)
        if surface != "history":
            changes["another history"] = batch.with_histories(histories)
        if surface != "embedding":
            changes["a change of embeddings"] = batch.with_delta(here[:, None, None] * 1e-3)
        for rule, changed in changes.items():
            legal = verify(world, SCALE, budget, batch, changed).legal.tolist()
            assert legal == [n != at for n in range(size)], (rule, legal)
        for part in (batch.select(torch.arange(size - 1)), batch.select(torch.arange(size) % size).with_texts(["x"])):
            assert not verify(world, SCALE, budget, batch, part).legal.any()

    check()
