"""Every check can fail: for each there is a plugin that breaks one rule, fails this check, and passes all others."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import broken_attacks
import broken_defenses
import broken_models
import broken_poisoning
import broken_tasks
import nosy_defense
import pytest

from recgauntlet.testing import KINDS, Kind, checks_for, run_checks
from recgauntlet.testing.registry import rules

BROKEN: tuple[tuple[Kind, Any, str, str], ...] = (
    ("defenses", broken_defenses.Positional, "constructor", "takes epsilon by position"),
    ("defenses", broken_defenses.Crashes, "runs", "RuntimeError"),
    ("defenses", broken_defenses.LosesEverything, "runs", "filter left no training pairs"),
    ("defenses", broken_defenses.Clips, "hyper-parameters", "epsilon=0.25 became the attribute 0.2"),
    ("defenses", broken_defenses.Anneals, "constant-hyper-parameters", "training changed epsilon"),
    ("defenses", broken_defenses.TunesWhatIsNotThere, "search-space", "names rate"),
    ("defenses", broken_defenses.TunesAnotherType, "search-space", "gives a int, its default is 0.25"),
    ("defenses", broken_defenses.FiltersOnce, "filter", "other pairs the second time"),
    ("defenses", broken_defenses.NeverReady, "returns", "ready is false at the end"),
    ("defenses", broken_defenses.CutsHistories, "filter", "histories of shape (32, 5)"),
    ("defenses", broken_defenses.InventsASurface, "wrap", "price"),
    ("defenses", broken_defenses.DetachesTheUser, "gradient-flow", "taste.weight"),
    ("defenses", broken_defenses.TakesTheTokensMask, "any-model", "IndexError"),
    ("defenses", broken_defenses.NeedsSinglePrecision, "precision", "TypeError"),
    ("defenses", broken_defenses.StaysInSinglePrecision, "devices", "RuntimeError"),
    ("defenses", broken_defenses.RollsDice, "determinism", "two trainings with one seed differ"),
    ("defenses", broken_defenses.GlobalNoise, "own-randomness", "the global generator of torch"),
    ("defenses", broken_defenses.Peeks, "no-test-data", "the defense has seen them"),
    ("defenses", nosy_defense.Nosy, "imports", "nosy_defense imports recgauntlet.attacks.embedding.pgd.FGM"),
    ("defenses", broken_defenses.Remembers, "no-leaks", "Remembers.steps"),
    ("defenses", broken_defenses.ComparesSeeds, "no-leaks", "after another cell"),
    ("defenses", broken_defenses.WritesToTheData, "data-unchanged", "changed in place"),
    ("defenses", broken_defenses.KeepsItToItself, "save-and-load", "after saving and loading"),
    ("defenses", broken_defenses.WritesALog, "leaves-nothing", "the file training.log was written"),
    ("defenses", broken_defenses.SetsTheEnvironment, "leaves-nothing", "RECGAUNTLET_BROKEN_DEFENSE changed"),
    ("defenses", broken_defenses.KeepsLosses, "resources", "every step leaves"),
    ("defenses", broken_defenses.NeverStops, "resources", "251 x the forward"),
    ("models", broken_models.TakesAnything, "constructor", "**kwargs (more)"),
    ("models", broken_models.LacksTwoMethods, "constructor", "does not define encode_user and score"),
    ("models", broken_models.CrashesInTraining, "runs", "expected more than one value"),
    ("models", broken_models.CountsWordsFromOne, "tokens", "name the words [1, 2"),
    ("models", broken_models.DividesByNothing, "shapes", "for a user without history"),
    ("models", broken_models.TreatsHandedEmbeddingsOtherwise, "consistent", "encode_user with embeddings"),
    ("models", broken_models.CentresTheBatch, "rows-independent", "in a batch and alone"),
    ("models", broken_models.SumsItsLoss, "parts", "the gradient on 12 pairs"),
    ("models", broken_models.CountsEmptyPlaces, "padding", "where the history is empty"),
    ("models", broken_models.DividesByTheHiddenId, "new-listings", "a new listing is not finite"),
    ("models", broken_models.HidesASurface, "surfaces", "candidate-text is not declared"),
    ("models", broken_models.WritesToEmbeddings, "inputs-unchanged", "the candidates' embeddings changed in place"),
    ("models", broken_models.CutsTheGradient, "gradient-flow", "the candidate's embeddings is zero"),
    ("models", broken_models.NeedsPairs, "losses", "one example"),
    ("models", broken_models.DrawsItsOwnNegatives, "losses", "although its generator was the same"),
    ("models", broken_models.TunesBackwards, "search-space", "the range of size is 16 to 8"),
    ("models", broken_models.DrawsWithNumpy, "determinism", "built twice with one seed, words.weight differ"),
    ("models", broken_models.KeepsALooseTensor, "devices", "popularity is a tensor that .to does not move"),
    ("models", broken_models.SaysBfloat16, "precision", "TypeError"),
    ("models", broken_models.ForgetsANumber, "save-and-load", "after loading"),
    ("models", broken_models.SharesAVocabulary, "no-leaks", "SharesAVocabulary.vocabulary"),
    ("models", broken_models.SetsTheEnvironment, "leaves-nothing", "RECGAUNTLET_BROKEN_MODEL changed"),
    ("models", broken_models.KeepsScores, "resources", "every batch leaves"),
    ("tasks", broken_tasks.task(question=" "), "card", "question is empty"),
    ("tasks", broken_tasks.task(citation="Smith 2020"), "licence", "no BibTeX entry"),
    ("tasks", broken_tasks.task(broken_tasks.calls_home), "offline", "tried to connect"),
    ("tasks", broken_tasks.task(broken_tasks.crashes), "offline", "KeyError"),
    ("tasks", broken_tasks.task(broken_tasks.empty_texts), "tables", "empty text"),
    ("tasks", broken_tasks.task(fingerprint="1" * 64), "fingerprint", "the card's fingerprint is 1111"),
    ("tasks", broken_tasks.task(broken_tasks.other_every_time), "fingerprint", "two fingerprints"),
    ("tasks", broken_tasks.task(train_pairs=10_000), "examples", "the card asks for 10000"),
    (
        "tasks",
        broken_tasks.task(negatives=broken_tasks.POPULAR | {"popular_per_click": 29}),
        "examples",
        "are left to draw, where an impression needs 29",
    ),
    (
        "tasks",
        broken_tasks.task(lambda: broken_tasks.impressions(broken_tasks.past_and_present), "impression"),
        "no-leakage",
        "stands in its own history",
    ),
    (
        "tasks",
        broken_tasks.task(lambda: broken_tasks.impressions(broken_tasks.whole_life), "impression"),
        "no-leakage",
        "took only in the test period",
    ),
    ("tasks", broken_tasks.task(broken_tasks.copied_users, train_pairs=200), "no-leakage", "are training examples too"),
    ("tasks", broken_tasks.task(broken_tasks.writes_a_log), "leaves-nothing", "the file loading.log was written"),
    ("attacks", broken_attacks.Nameless, "constructor", "its name is ''"),
    ("attacks", broken_attacks.DoesNothing, "constructor", "does not define perturb"),
    ("attacks", broken_attacks.SaysOne, "supports", "supports gives 1"),
    ("attacks", broken_attacks.Crashes, "runs", "IndexError"),
    ("attacks", broken_attacks.Clips, "hyper-parameters", "length=1.0 became the attribute 0.9"),
    ("attacks", broken_attacks.Reverses, "returns-inputs", "in their order"),
    ("attacks", broken_attacks.GivesVerdicts, "returns-inputs", "perturb gives Tensor"),
    ("attacks", broken_attacks.TwiceAsFar, "budget", "24 of 24 inputs are illegal"),
    ("attacks", broken_attacks.AsksThrice, "query-limit", "1 queries: it asks for more"),
    ("attacks", broken_attacks.GoesBehind, "no-back-door", "the model scored 72 inputs, the victim counted 24"),
    ("attacks", broken_attacks.RollsDice, "determinism", "asked twice with one seed"),
    ("attacks", broken_attacks.TouchesTheGenerator, "determinism", "the global generator of torch"),
    ("attacks", broken_attacks.ScalesByTheBatch, "batch-order", "at a time"),
    ("attacks", broken_attacks.WritesToTheBatch, "unchanged", "the batch's histories changed in place"),
    ("attacks", broken_attacks.SwitchesTheModel, "unchanged", "the model's mode"),
    ("attacks", broken_attacks.PushesTheRightWay, "wrong-side", "no further on the wrong side"),
    ("attacks", broken_attacks.Remembers, "no-leaks", "Remembers.runs"),
    ("attacks", broken_attacks.SetsTheEnvironment, "leaves-nothing", "RECGAUNTLET_BROKEN_ATTACK changed"),
    ("attacks", broken_attacks.KeepsResults, "resources", "every run leaves"),
    ("poisoning", broken_poisoning.Positional, "constructor", "takes share by position"),
    ("poisoning", broken_poisoning.Crashes, "runs", "IndexError"),
    ("poisoning", broken_poisoning.Clips, "hyper-parameters", "share=1.0 became the attribute 0.9"),
    ("poisoning", broken_poisoning.GivesFractions, "returns-accounts", "flat arrays of whole numbers"),
    ("poisoning", broken_poisoning.OneTooMany, "legal", "there are 6 accounts, 5 are allowed"),
    ("poisoning", broken_poisoning.LeavesTargetsOut, "targets-inside", "4 targets are in no account"),
    ("poisoning", broken_poisoning.RollsDice, "determinism", "asked twice with one seed"),
    ("poisoning", broken_poisoning.Remembers, "no-leaks", "after another run"),
    ("poisoning", broken_poisoning.SetsTheEnvironment, "leaves-nothing", "RECGAUNTLET_BROKEN_POISONING changed"),
)
HONEST: tuple[tuple[Kind, Any], ...] = (
    ("attacks", broken_attacks.Step),
    ("poisoning", broken_poisoning.TargetsAlone),
    ("tasks", broken_tasks.task()),
    ("tasks", broken_tasks.task(negatives=broken_tasks.POPULAR | {"popular_per_click": 3})),
    ("tasks", broken_tasks.task(split={"rule": "per-user", "valid_from": "0.6", "test_from": "0.8"})),
    ("tasks", broken_tasks.task(lambda: broken_tasks.impressions(broken_tasks.past), "impression")),
)


def test_every_check_has_a_plugin_that_fails_it() -> None:
    for kind in KINDS:
        assert {rule.name for rule in rules(kind)} == {check for k, _, check, _ in BROKEN if k == kind}


@pytest.mark.parametrize(
    ("kind", "plugin", "check", "words"),
    BROKEN,
    ids=[f"{kind}-{check}-{number}" for number, (kind, _, check, _) in enumerate(BROKEN)],
)
def test_a_plugin_that_breaks_one_rule_fails_this_check_alone(
    kind: Kind, plugin: Any, check: str, words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    failed = {o.check.name: o for o in run_checks(checks_for(kind, plugin)) if o.status == "failed"}
    assert set(failed) == {check}, {name: outcome.words for name, outcome in failed.items()}
    assert words in failed[check].words
    assert failed[check].remedy


@pytest.mark.parametrize(("kind", "plugin"), HONEST)
def test_what_the_broken_ones_are_made_of_passes(kind: Kind, plugin: Any) -> None:
    assert {o.status for o in run_checks(checks_for(kind, plugin))} <= {"passed", "skipped"}


def test_a_missing_method_is_told_once_with_its_first_line() -> None:
    outcomes = run_checks(checks_for("models", broken_models.LacksTwoMethods))
    (failed,) = (outcome for outcome in outcomes if outcome.status == "failed")
    lines = "def encode_user(self, users, embeddings=None); def score(self, user, candidates, embeddings=None)"
    assert failed.remedy == f"write into the class: {lines}"
    assert {o.words for o in outcomes if o.status == "skipped"} == {"the check constructor fails"}
    assert len([o for o in outcomes if o.status == "skipped"]) == len(outcomes) - 1
