"""Threats whose words become synonyms: the verifier accepts exactly what the attacks enumerate, on generated texts over
a small WordNet; and cards without that rule are as they were."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from generated import batches, repeatable
from hypothesis import given
from hypothesis import strategies as st
from toy_recommender import ToyRecommender, make_twin, make_victim

from recgauntlet.attacks.suite import suite_attacks, transfer_for
from recgauntlet.attacks.text.edits import Draft, Rules
from recgauntlet.core.card import TextThreat, Tier
from recgauntlet.core.dataset import Catalog
from recgauntlet.core.rng import Randomness
from recgauntlet.data.synonyms import synonyms
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.edits import apply_text_edits, text_edits
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.lexicon import Lexicon, core_of
from recgauntlet.threats.text import TextThreatModel, text_fault
from recgauntlet.threats.verifier import verify
from recgauntlet_baselines.defenses._text_edits import TextEdits

PLAIN = "boat Boat BOAT boat, ships plants bought (cars) queen Queen large larger won 7 plant2 Zorblat the"
OTHER = "ship Ship SHIP ship, vessel Vessel VESSEL vessel, vessels boats factories purchased (autos) king big bigger"
WORDS = tuple(PLAIN.split())
POOL = tuple(f"{PLAIN} {OTHER} triumphed".split())
THREE = {"low": 1, "standard": 2, "high": 3}


@pytest.fixture(autouse=True)
def _tiny(tiny_synonyms: None) -> None:
    """Synonyms of `tiny_wordnet`."""


def threat_with(**changes: object) -> TextThreat:
    content = {
        "id": "tampering",
        "surface": "candidate-text",
        "goal": "flip",
        "ranked": True,
        "operations": ["replace-word"],
        "words": THREE,
        "queries": {"low": 40, "standard": 80, "high": 160},
        "source": "ours",
        "synonyms": "wordnet",
        "synonym_cosine": 0.3,
    }
    return TextThreat.model_validate(content | changes)


@st.composite
def threats(draw: st.DrawFn) -> TextThreat:
    return threat_with(
        synonym_cosine=draw(st.sampled_from([0.0, 0.0, 0.4, 0.6])),
        max_changed_share=draw(st.sampled_from([None, 0.3, 0.7])),
        max_repeats=draw(st.sampled_from([None, 1])),
        banned_characters=draw(st.sampled_from(["", "v"])),
        max_length=draw(st.sampled_from([1, 20, 200, 200])),
        keep_numbers=draw(st.booleans()),
        keep_names=draw(st.booleans()),
    )


TEXTS = st.lists(st.sampled_from(WORDS), min_size=1, max_size=4).map(" ".join)


def enumerated(rules: Rules, draft: Draft) -> Iterator[str]:
    """All texts that the attacks' moves lead to, one edit after the other."""
    if rules.edits_left(draft) < 1:
        return
    moves = [(p, new) for p in rules.open_places(draft) for new in rules.replacements(draft, p)]
    for found in rules.word_moves(draft, moves, most=len(moves)):
        yield found.text
        yield from enumerated(rules, found)


def accepted(lexicon: Lexicon, budget: Budget, clean: str) -> Iterator[str]:
    """All texts that the verifier accepts among those whose words are clean or of POOL."""
    assert isinstance(budget.threat, TextThreat)
    for words in itertools.product(*[(word, *POOL) for word in clean.split()]):
        text = " ".join(words)
        if text != clean and not text_fault(lexicon, budget.threat, budget, clean, text):
            yield text


def test_the_pool_has_all_synonyms_of_the_words() -> None:
    assert {new for word in WORDS for new in synonyms(core_of(word))} <= set(map(core_of, POOL))


def test_the_verifier_accepts_what_the_attacks_enumerate_and_nothing_else() -> None:
    sizes: list[int] = []

    @repeatable(24)
    @given(st.sampled_from(WORDS), st.sampled_from(WORDS), TEXTS, threats(), st.sampled_from(["low", "standard"]))
    def check(first: str, second: str, other: str, threat: TextThreat, tier: Tier) -> None:
        clean = f"{first} {second}"
        lexicon, budget = Lexicon([clean, other]), Budget.of(threat, tier)
        found = set(enumerated(Rules(lexicon, threat, budget), Draft.of(clean)))
        assert found == set(accepted(lexicon, budget, clean))
        sizes.append(len(found))

    check()
    assert sum(size > 1 for size in sizes) >= 5, sorted(sizes)


@st.composite
def worlds(draw: st.DrawFn) -> AttackerKnowledge:
    texts = tuple(draw(st.lists(TEXTS, min_size=3, max_size=5)))
    vectors = torch.nn.functional.normalize(torch.ones(len(texts), 384), dim=1)
    return AttackerKnowledge(Catalog(tuple(map(str, range(len(texts)))), texts, ("",) * len(texts)), vectors)


def test_attacks_and_the_defense_put_synonyms_and_stay_inside_the_budget() -> None:
    changed = {"attack": 0, "defense": 0}

    @repeatable(12)
    @given(worlds(), threats(), st.data())
    def check(world: AttackerKnowledge, threat: TextThreat, data: st.DataObject) -> None:
        batch, budget = data.draw(batches(world)), Budget.of(threat, "high")
        model = ToyRecommender(world.catalog, token_length=6).eval()
        victim, twin = make_victim(model, world, batch), make_twin(model, world, batch)
        clean = [world.catalog.texts[item] for item in batch.items.tolist()]
        for attack in (*suite_attacks(), transfer_for(threat, twin)):
            if attack.surface != threat.surface or not attack.supports(budget):
                continue
            victim.reset(budget.queries)
            found = attack.perturb(victim, batch, budget, Randomness(0, "test"))
            verdict = verify(world, victim.scale, budget, batch, found)
            assert verdict.legal.all(), (attack.name, verdict.reasons)
            changed["attack"] += sum(a != b for a, b in zip(clean, found.texts or clean, strict=True))
        edits = TextEdits(world.lexicon, threat, budget).random(clean, np.random.default_rng(0))
        assert not any(text_fault(world.lexicon, threat, budget, *pair) for pair in zip(clean, edits, strict=True))
        changed["defense"] += sum(a != b for a, b in zip(clean, edits, strict=True))

    check()
    assert min(changed.values()) >= 10, changed


def test_synonyms_keep_case_and_punctuation_and_the_nearest_comes_first() -> None:
    lexicon = Lexicon(["boat"])
    assert set(lexicon.synonyms("boat", 0.0)) == {"ship", "vessel"}
    assert [word.strip("(,)") for word in lexicon.synonyms("(BOAT,", 0.0)] == [
        word.upper() for word in lexicon.synonyms("boat", 0.0)
    ]
    assert lexicon.synonyms("Bought,", 0.0) == ("Purchased,",)
    assert lexicon.synonyms("boat", 1.0) == ()
    assert lexicon.replacements("queen", threat_with(synonym_cosine=0.0)) == (), "a king is the opposite"


def test_no_synonym_is_said_and_edits_are_kept_as_words() -> None:
    threat, lexicon = threat_with(), Lexicon(["the boat"])
    budget = Budget.of(threat, "low")
    assert text_fault(lexicon, threat, budget, "the boat", "the ship") == ""
    assert "no synonym" in text_fault(lexicon, threat, budget, "the boat", "the car")
    assert apply_text_edits("the boat", text_edits("the boat", "the ship")) == "the ship"
    assert "words become synonyms in WordNet" in TextThreatModel(threat).limits()


@pytest.mark.parametrize("operations", [["insert-word", "replace-word"], ["insert-word"]])
def test_synonyms_are_for_threats_that_replace_words_and_add_none(operations: list[str]) -> None:
    with pytest.raises(ValueError, match='"synonyms" is for threats'):
        threat_with(operations=operations)


def test_the_default_is_no_part_of_a_card() -> None:
    assert "synonyms" not in threat_with(synonyms="neighbours").model_dump()
    assert threat_with().model_dump()["synonyms"] == "wordnet"
