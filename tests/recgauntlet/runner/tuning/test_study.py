"""Tuning: which trials a method gets, what they are judged by, and what a killed study leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from multiprocessing import forkserver
from pathlib import Path

import numpy as np
import pytest
import torch
from poison_task import write_active_task
from tiny_task import make_spec

from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.protocol import REFERENCES
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.rng import Randomness
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.core.spec import CellSpec
from recgauntlet.data import cache as store
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.interactions import load_interactions
from recgauntlet.data.prepare import prepare, ready
from recgauntlet.runner.tuning import objective
from recgauntlet.runner.tuning.objective import ATTACKS, Judged, judge, judged_on, pairs_right, standing, threats_of
from recgauntlet.runner.tuning.poison import cheap_attacks, tuning_poison
from recgauntlet.runner.tuning.sampling import drawn, space_of
from recgauntlet.runner.tuning.study import Study, chosen, run_studies
from recgauntlet.runner.tuning.trial import TrialJob, TrialResult, run_trial
from recgauntlet.threats.knowledge import AttackerKnowledge
from recgauntlet.threats.training_data import draw_targets
from recgauntlet.training.build import open_cell, train_cell
from recgauntlet.training.defense import find_defense
from recgauntlet.training.tuned import Value

SPACE: SearchSpace = {
    "epsilon": Between(0.01, 1.0, log=True),
    "steps": Between(1, 4),
    "mode": OneOf(("soft", "hard", "none")),
}
DEFAULTS = {"epsilon": 0.25, "steps": 3, "mode": "hard", "lam": 1.0}


class Notes:
    """A watcher that keeps the number and the failure of each finished trial."""

    def __init__(self) -> None:
        self.trials: list[int] = []
        self.failures: list[str] = []

    def started(self, name: str) -> None: ...

    def progress(self, name: str, what: str, share: float) -> None:
        assert 0.0 <= share <= 1.0

    def finished(self, name: str, result: str, failure: str) -> None:
        self.trials.append(int(name.split()[-1]))
        self.failures.append(failure)


@pytest.fixture
def spec(tiny_card: Path, tiny_cache: Path, tmp_path: Path) -> CellSpec:
    return make_spec(tiny_card, tmp_path / "out", tiny_cache, "pgd")


@pytest.fixture
def data(spec: CellSpec) -> TaskData:
    return prepare(find_task_or_card(spec.task), "standard", spec.source)


def place(spec: CellSpec) -> Path:
    return ready(find_task_or_card(spec.task), "standard", spec.source)


@pytest.fixture(scope="module")
def trained(tiny_card: Path, tiny_cache: Path, tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    spec = make_spec(tiny_card, tmp_path_factory.mktemp("trained"), tiny_cache)
    cell = open_cell(spec)
    data = prepare(cell.task, "standard", spec.source)
    deterministic = torch.are_deterministic_algorithms_enabled()
    model, _ = train_cell(cell, data, torch.device("cpu"), "fp32", lambda what, share: None)
    torch.use_deterministic_algorithms(deterministic)
    return model.eval().requires_grad_(False)


def plugin(space: SearchSpace, **defaults: object) -> Plugin:
    code = f"class Method:\n    def __init__(self, *, {', '.join(f'{k}={v!r}' for k, v in defaults.items())}): ..."
    names: dict[str, type] = {}
    exec(code, names)
    names["Method"].search_space = space  # type: ignore[attr-defined]
    return Plugin("method", names["Method"], "", "")


@pytest.mark.filterwarnings("error")
def test_the_first_trial_is_the_method_as_it_comes_and_the_rest_cover_the_space() -> None:
    trials = drawn(SPACE, DEFAULTS, 9, seed=0)
    assert trials[0] == {"epsilon": 0.25, "steps": 3, "mode": "hard"}
    rest = trials[1:]
    assert all(0.01 <= t["epsilon"] <= 1.0 for t in rest)  # type: ignore[operator]
    assert all(isinstance(t["steps"], int) and 1 <= t["steps"] <= 4 for t in rest)
    assert {t["mode"] for t in rest} == {"soft", "hard", "none"}
    # a Sobol sequence: of eight points two lie in each quarter of a range
    quarters = [int(np.clip(np.log(t["epsilon"] / 0.01) / np.log(100) * 4, 0, 3)) for t in rest]  # type: ignore
    assert np.bincount(quarters, minlength=4).tolist() == [2, 2, 2, 2]


def test_more_trials_go_on_where_fewer_ended_and_seeds_differ() -> None:
    assert drawn(SPACE, DEFAULTS, 8, seed=0)[:3] == drawn(SPACE, DEFAULTS, 3, seed=0)
    assert drawn(SPACE, DEFAULTS, 3, seed=0) != drawn(SPACE, DEFAULTS, 3, seed=1)
    assert drawn(SPACE, DEFAULTS, 1, seed=5) == ({"epsilon": 0.25, "steps": 3, "mode": "hard"},)


@pytest.mark.parametrize(
    ("space", "defaults"),
    [
        ({}, {"a": 1}),
        ({"b": Between(0.0, 1.0)}, {"a": 1}),
        ({"a": Between(0.5, 1.0)}, {"a": 0.25}),
        ({"a": Between(0.0, 1.0, log=True)}, {"a": 0.25}),
        ({"a": Between(0.5, 4.0)}, {"a": 2}),
        ({"a": Between(1.0, float("inf"))}, {"a": 2.0}),
        ({"a": Between(0, 1)}, {"a": True}),
        ({"a": OneOf((1, 2))}, {"a": 3}),
        ({"a": OneOf((None, 2))}, {"a": None}),
    ],
)
def test_a_space_must_hold_the_defaults_of_real_arguments(space: SearchSpace, defaults: dict[str, object]) -> None:
    with pytest.raises(PluginError) as caught:
        space_of(plugin(space, **defaults))
    assert (caught.value.field or "").startswith("search_space")


def test_a_good_space_is_given_back() -> None:
    space: SearchSpace = {"a": Between(1, 4), "b": Between(1, 4), "c": OneOf((1, 2))}
    assert space_of(plugin(space, a=2, b=2.0, c=1)) == space


def test_trials_are_judged_on_validation_pairs_of_which_the_attacker_knows_none(data: TaskData) -> None:
    parts = judged_on(data)
    assert (len(parts.valid), len(parts.test), len(parts.impressions)) == (15, 15, 0)
    together = np.concatenate([parts.valid.clicked, parts.test.clicked])
    assert together.tolist() == data.valid.clicked.tolist()
    assert parts.test.histories.tolist() == data.valid.histories[15:].tolist()
    many = replace(data, valid=_repeated(data, 40))
    assert (len(judged_on(many).valid), len(judged_on(many).test)) == (REFERENCES, objective.PAIRS)


def _repeated(data: TaskData, times: int) -> Pairs:
    valid = data.valid
    return type(valid)(
        *(np.concatenate([getattr(valid, n)] * times) for n in ("users", "histories", "clicked", "unclicked"))
    )


def test_a_trial_is_trained_again_on_poison_of_other_targets(tmp_path: Path) -> None:
    card = write_active_task(tmp_path)
    spec = replace(make_spec(card, tmp_path / "out", tmp_path / "cache"), model="most-popular", model_options=())
    task = find_task_or_card(spec.task)
    (poison,) = tuning_poison(task, "standard", spec.source, place(spec))
    assert poison.threat == "brushing"
    assert [attack.name for attack in cheap_attacks(task.card.poisoning[0])] == ["coattails", "random"]
    genuine = load_interactions(task, "standard", spec.source)
    evaluated = draw_targets(task.card.poisoning[0], genuine, task.card.track("standard").sampling_seed)
    assert set(poison.targets.tolist()) != set(evaluated.items.tolist())
    data, poisoned = store.load_training(place(spec)), [store.load_training(path) for path in poison.files]
    assert [each.user_count - data.user_count for each in poisoned] == [6, 6]
    assert all(len(each.test) == len(each.impressions) == 0 for each in poisoned)
    # eligible by what is taken before the test period
    taken = set(zip(genuine.training.users.tolist(), genuine.training.items.tolist(), strict=True))
    taken |= set(zip(data.valid.users.tolist(), data.valid.clicked.tolist(), strict=True))
    users, targets = data.valid.users.tolist(), poison.targets.tolist()
    assert poison.eligible.tolist() == [[(user, item) not in taken for item in targets] for user in users]
    result = tried(replace(job(replace(spec, defense="suspicious-users"), share=0.1), poison=(poison,)), data)
    assert result.status == "ok", result.reason
    cell = open_cell(spec)
    outcomes = []
    for each in (data, *poisoned):
        model, _ = train_cell(cell, each, torch.device("cpu"), "fp32", lambda what, share: None)
        outcomes.append(pairs_right(model.eval(), each, poison))
    plain = tried(replace(job(spec), poison=(poison,)), data)
    expected = outcomes[0].and_right_under(outcomes[1:]).accuracy()
    assert plain.robust["brushing"] == pytest.approx(expected)
    assert expected < outcomes[0].accuracy()


def test_what_a_trial_reads_has_no_test_period(spec: CellSpec, data: TaskData) -> None:
    loaded = store.load_training(place(spec))
    assert len(loaded.test) == len(loaded.impressions) == 0
    first, second = judged_on(loaded), judged_on(data)
    assert first.test.clicked.tolist() == second.test.clicked.tolist()
    assert len(second.impressions.items) == 0


def test_robust_accuracy_is_what_stands_after_every_attack(
    trained: Recommender, data: TaskData, spec: CellSpec
) -> None:
    from recgauntlet.evaluation.robustness import run_attack
    from recgauntlet.evaluation.setup import Trial
    from recgauntlet.threats.budget import Budget

    card = find_task_or_card(spec.task).card
    parts = judged_on(data)
    judged = judge(trained, card, parts, 0)
    assert judged.robust.keys() == {"history-perturbation", "title-rewrite", "embedding"}
    trial = Trial.of(trained, parts, AttackerKnowledge.of(card, parts))
    assert judged.clean == pytest.approx(float(trial.right.float().mean()))
    for threat in threats_of(card, trained):
        left = standing(trial, threat, Randomness(0, "tuning"))
        assert judged.robust[threat.id] == pytest.approx(float(left.float().mean()))
        assert not (left & ~trial.right).any()
        index = torch.nonzero(trial.right).squeeze(1)
        first = next(attack for attack in ATTACKS if attack.surface == threat.surface)
        rng = Randomness(0, "tuning").child(f"{threat.id}/{first.name}")
        broken = run_attack(trial, first, Budget.of(threat, "standard"), index, rng).broken
        assert broken.any()
        assert not left[index[broken]].any()


def test_the_objective_is_the_mean_of_clean_and_robust_accuracy() -> None:
    assert Judged(0.8, {"a": 0.5, "b": 0.3}, 0.5).objective == pytest.approx(0.6)
    assert Judged(0.8, {}, 0.5).objective == 0.8


def test_a_model_near_a_constant_is_worth_nothing() -> None:
    assert Judged(0.5, {"a": 0.5}, 0.81).objective == 0.0
    assert Judged(0.5, {"a": 0.5}, 0.8).objective == 0.5


def job(spec: CellSpec, **values: Value) -> TrialJob:
    return TrialJob(replace(spec, defense_options=tuple(sorted(values.items()))), 1, values, 1, place(spec))


def tried(job: TrialJob, data: TaskData) -> TrialResult:
    parts = judged_on(data)
    threads, deterministic = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    card = find_task_or_card(job.spec.task).card
    poisoned = [[store.load_training(path) for path in each.files] for each in job.poison]
    result = run_trial(job, data, poisoned, AttackerKnowledge.of(card, parts), lambda what, share: None)
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(deterministic)
    return result


def test_a_trial_trains_for_its_epochs_and_says_what_its_objective_is_made_of(spec: CellSpec, data: TaskData) -> None:
    result = tried(job(spec, epsilon=0.5), data)
    assert (result.status, result.number, result.values) == ("ok", 1, {"epsilon": 0.5})
    assert result.clean is not None
    assert result.one_sided is not None
    assert result.objective == Judged(result.clean, dict(result.robust), result.one_sided).objective
    assert tried(job(spec, epsilon=0.5), data).objective == result.objective


def test_a_trial_that_fails_is_a_failed_one(spec: CellSpec, data: TaskData, test_plugins: Path) -> None:
    result = tried(job(replace(spec, defense="nan-loss")), data)
    assert result.status == "failed"
    assert result.objective is None
    assert "nan" in result.reason


@pytest.fixture
def study(spec: CellSpec) -> Callable[..., Study]:
    def make(*trials: dict[str, Value], defense: str = "pgd") -> Study:
        whole = replace(spec, defense=defense)
        return Study(whole, "defense", defense, tuple(trials), 1, place(spec), {"data": "x"})

    return make


def test_trials_run_in_processes_of_their_own_and_a_study_goes_on_where_it_stopped(
    study: Callable[..., Study],
) -> None:
    values: list[dict[str, Value]] = [{"epsilon": 0.25}, {"epsilon": 0.5}]
    first, notes = study(values[0]), Notes()
    run_studies([first], notes)
    assert notes.failures == [""]
    assert not first.spec_of(values[0]).workplace.exists()
    torn = first.path.read_text()
    first.path.write_text(torn + '["half')
    again, more = study(*values), Notes()
    assert again.path == first.path
    run_studies([again], more, workers=2)
    assert more.trials == [1]
    results = again.results()
    best = chosen(again, results)
    assert best is not None
    assert best.objective == max(r.objective or 0.0 for r in results if r)
    assert len(best.trials) == 2


@pytest.fixture
def offenders(test_plugins: Path, tiny_cache: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The test plugins know where the data of the test period lies."""
    monkeypatch.setenv("TEST_CACHE", str(tiny_cache))
    forkserver._forkserver._stop()  # type: ignore[attr-defined]  # it keeps the environment that it was started in
    yield
    forkserver._forkserver._stop()  # type: ignore[attr-defined]


@pytest.mark.usefixtures("offenders")
def test_a_trial_that_reads_the_test_period_or_dies_is_a_failed_one(study: Callable[..., Study]) -> None:
    studies, notes = [study({}, defense="reads-test-data"), study({}, defense="killed")], Notes()
    run_studies(studies, notes, workers=2)
    fence, died = sorted(notes.failures)
    assert fence.startswith("FenceError")
    assert "killed by signal 9" in died
    assert [chosen(each, each.results()) for each in studies] == [None, None]


def test_results_of_other_data_or_options_are_not_mixed(study: Callable[..., Study]) -> None:
    one = study({})
    others = [
        replace(one, belonging={"data": "y"}),
        replace(one, epochs=2),
        replace(one, spec=replace(one.spec, defense_options=(("steps", 1),))),
    ]
    assert len({each.path for each in (one, *others)}) == 4


def test_the_best_trial_is_chosen_and_the_earliest_of_equals(study: Callable[..., Study]) -> None:
    values: list[dict[str, Value]] = [{"epsilon": e} for e in (0.25, 0.5, 0.75, 1.0)]
    scores = (0.5, None, 0.6, 0.6)
    results = [
        TrialResult(number=n, values=v, status="ok" if s else "failed", objective=s)
        for n, (v, s) in enumerate(zip(values, scores, strict=True))
    ]
    best = chosen(study(*values), results)
    assert best is not None
    assert (best.values, best.trial, best.objective) == ({"epsilon": 0.75}, 2, 0.6)
    assert [trial.objective for trial in best.trials] == [0.5, None, 0.6, 0.6]
    nothing = [r.model_copy(update={"objective": 0.0}) for r in results]
    assert chosen(study(*values), nothing) is None


def test_every_method_that_names_a_space_names_a_good_one() -> None:
    from recgauntlet.core.plugins import names, whose
    from recgauntlet.core.recommender import find_model

    for name in names("defenses"):
        if whose("defenses", name)[0] == "recgauntlet" and find_defense(name).value.search_space:
            assert space_of(find_defense(name))
    for name in names("models"):
        if whose("models", name)[0] == "recgauntlet" and find_model(name).value.search_space:
            assert space_of(find_model(name))


def test_values_that_come_again_are_tried_once() -> None:
    trials = drawn({"distance": OneOf((1, 2))}, {"distance": 2}, 8, seed=0)
    assert trials == ({"distance": 2}, {"distance": 1})
