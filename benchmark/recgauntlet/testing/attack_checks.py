"""Checks of an attack: budget, queries, independence of the batch, and inputs as the only output."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, get_args

import torch
from torch import Tensor

from recgauntlet.attacks.base import Attack
from recgauntlet.core.batch import Batch
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.core.rng import Randomness
from recgauntlet.core.types import Surface
from recgauntlet.testing.check import require, require_nothing_left, rule
from recgauntlet.testing.constructor import require_constructor, require_hyperparameters, require_name, require_subclass
from recgauntlet.testing.process import Globals, apart, live_tensors, scramble
from recgauntlet.testing.subjects import AttackSubject
from recgauntlet.threats.budget import Budget
from recgauntlet.threats.verifier import verify
from recgauntlet.threats.victim import Victim
from recgauntlet.training.cost import count_passes

SURFACES = get_args(Surface)
NEAR = 1e-3
"""Largest difference of two embedding changes that are meant to be one, relative to the radius."""


@rule("see docs/extend/attack.md", needs_run=False)
def constructor(subject: AttackSubject) -> None:
    """A subclass of Attack with its registered name and a known surface; keyword-only arguments with plain
    defaults, no **kwargs.
    """
    plugin: Any = subject.plugin
    require_subclass(plugin, Attack)
    require_constructor(plugin)
    require_name(subject.make(), subject.name)
    require(
        getattr(plugin, "surface", None) in SURFACES,
        f"its surface is {getattr(plugin, 'surface', None)!r}",
        f"write surface = ... with one of: {', '.join(SURFACES)}",
    )


@rule("let supports return True for budgets that the attack has moves in", needs_run=False)
def supports(subject: AttackSubject) -> str:
    """`supports` returns a bool for every budget of the surface, and True for at least one."""
    attack = subject.make()
    for budget in subject.budgets:
        answer: Any = attack.supports(budget)
        require(isinstance(answer, bool), f"supports gives {answer!r}", "return True or False")
    require(bool(subject.budgets), f"the attack supports none of the threats on {subject.plugin.surface}")
    return f"tried on {', '.join(dict.fromkeys(budget.threat.id for budget in subject.budgets))}"


@rule("mend the error: the last place that is named is where it was raised", needs_run=False)
def runs(subject: AttackSubject) -> None:
    """The attack runs on every threat that it supports, at the medium tier, without an error."""
    if subject.failure is not None:
        raise subject.failure


@rule("write self.NAME = NAME for every argument")
def hyper_parameters(subject: AttackSubject) -> None:
    """Every constructor argument is an attribute of the same name with the given value; the evidence names it."""
    require_hyperparameters(subject.make, constructor_defaults(subject.plugin) | dict(subject.options))


@rule("return the batch with changed inputs, nothing else")
def returns_inputs(subject: AttackSubject) -> None:
    """`perturb` returns a Batch of the same examples in the same order: inputs, not verdicts."""
    for budget in subject.at("standard"):
        found, victim = subject.ask(budget)
        require(isinstance(found, Batch), f"perturb gives {type(found).__name__}", "return a recgauntlet.Batch")
        require(
            torch.equal(found.example_ids, victim.clean.example_ids) and torch.equal(found.items, victim.clean.items),
            f"{budget.threat.id}: the examples are not those that were given, in their order",
            "change the batch with with_texts, with_histories or with_delta, and drop and sort nothing",
        )


@rule(
    "see docs/protocol.md for what is legal; budget.amount is the number of words or edits, or the radius relative to "
    "victim.scale"
)
def budget(subject: AttackSubject) -> str:
    """Every input is legal for the independent verifier, in every tier of every threat."""
    count = 0
    for each in subject.budgets:
        found, victim = subject.perturb(each)
        verdict = verify(subject.world, victim.scale, each, victim.clean, found)
        bad = [reason for reason in verdict.reasons if reason]
        require(
            not bad,
            f"{each.threat.id}, {each.tier} tier: {len(bad)} of {len(verdict.reasons)} inputs are illegal "
            f"({'; '.join(sorted(set(bad))[:2])})",
        )
        count += len(verdict.reasons)
    return f"{count} inputs verified"


@rule("stop when victim.remaining(batch.example_ids) says 0")
def query_limit(subject: AttackSubject) -> str:
    """The attack never exceeds the budget's queries: 1, 2, 7, or those of the tier."""
    most = 0
    for each in subject.at("standard"):
        for queries in (1, 2, 7, each.queries):
            found, victim = subject.perturb(replace(each, queries=queries))
            most = max(most, queries - int(victim.remaining(found.example_ids).min()))
    return f"at most {most} queries an example"


@rule("ask victim.scores, victim.embedding_gradient, victim.word_slopes or victim.history_gradient")
def no_back_door(subject: AttackSubject) -> None:
    """The model is queried through the victim, which counts; `victim.model` is not scored directly."""
    for each in subject.at("standard"):
        victim = subject.victim()
        with count_passes(victim.model) as passes:
            subject.perturb(each, victim=victim)
        # word_effects scores the references' own texts too, and books only those with a word more
        unbooked = 0 if subject.world.references is None else len(subject.world.references)
        require(
            passes.forwards <= victim.effort.forwards + unbooked,
            f"{each.threat.id}: the model scored {passes.forwards} inputs, the victim counted {victim.effort.forwards}",
        )


@rule("draw from rng, keyed by example ids, and from nothing else")
def determinism(subject: AttackSubject) -> None:
    """One seed gives the same inputs: draws come from rng, and no global generator is used."""
    untouched = torch.Generator().manual_seed(0).get_state()  # as `AttackSubject.perturb` leaves it to an attack
    for each in subject.at("standard"):
        scramble(1)
        first, _ = subject.perturb(each)
        scramble(2)
        second, _ = subject.perturb(each)
        _require_equal(subject, each, first, second, 0.0, "asked twice with one seed")
        require(
            torch.equal(untouched, torch.get_rng_state()),
            f"{each.threat.id}: the global generator of torch was drawn from or seeded",
            "pass generator=rng.torch(example_id), or use rng.normal(batch.example_ids, shape)",
        )


@rule("key draws by batch.example_ids, and compute nothing over the batch (means, maxima, early exits for all)")
def batch_order(subject: AttackSubject) -> None:
    """An example's result does not depend on the others: in reverse order, and in batches of a third."""
    subject.require_repeatable()
    for each in subject.at("standard"):
        together, victim = subject.perturb(each)
        size = len(together)
        radius = each.amount * victim.scale.norm
        order = torch.arange(size).flip(0)
        fresh = subject.victim()
        reverse, _ = subject.perturb(each, victim=fresh, on=fresh.clean.select(order))
        back = reverse.select(order)
        _require_equal(subject, each, together, back, radius, "in order and in reverse")
        for start in range(0, size, size // 3):
            index = torch.arange(start, min(start + size // 3, size))
            fresh = subject.victim()
            part, _ = subject.perturb(each, victim=fresh, on=fresh.clean.select(index))
            some = together.select(index)
            _require_equal(subject, each, some, part, radius, f"all together and {len(index)} at a time")


def _require_equal(
    subject: AttackSubject, budget: Budget, first: Batch, second: Batch, radius: float, how: str
) -> None:
    differ = subject.unlike(first, second, NEAR * radius)
    count = int(differ.sum())
    require(count == 0, f"{budget.threat.id}: {count} of {len(differ)} examples differ, {how}")


@rule("copy a tensor before you write to it")
def unchanged(subject: AttackSubject) -> None:
    """The given batch, the victim's clean batch and the model's weights are unchanged."""
    for each in subject.at("standard"):
        victim = subject.victim(subject.new_model())  # the shared one may have been changed already
        given = victim.clean.select(torch.arange(len(victim.clean)))
        given = replace(given, users=replace(given.users, histories=given.users.histories.clone()))
        kept = _copies(given, victim.clean)
        weights = {name: value.clone() for name, value in victim.model.state_dict().items()}
        subject.perturb(each, victim=victim, on=given)
        changed = [name for name, tensor in _copies(given, victim.clean).items() if not torch.equal(tensor, kept[name])]
        changed += [name for name, value in victim.model.state_dict().items() if not torch.equal(value, weights[name])]
        changed += ["the model's mode"] if victim.model.training else []
        changed += ["requires_grad"] if any(value.requires_grad for value in victim.model.parameters()) else []
        require(not changed, f"{each.threat.id}: {', '.join(changed)} changed in place")


def _copies(given: Batch, clean: Batch) -> dict[str, Tensor]:
    parts = {}
    for name, batch in (("the batch", given), ("the victim's clean batch", clean)):
        for what in ("items", "labels", "rows", "example_ids"):
            parts[f"{name}'s {what}"] = getattr(batch, what).clone()
        parts[f"{name}'s histories"] = batch.users.histories.clone()
    return parts


@rule("multiply what you maximize by 1 - 2 * batch.labels")
def wrong_side(subject: AttackSubject) -> str:
    """In the high tier the mean score moves to the wrong side: up for label 0, down for label 1."""
    told = []
    for each in subject.at("high"):
        found, victim = subject.perturb(each)
        before, after = _damage(victim, victim.clean), _damage(victim, found)
        gain = float((after - before).mean() / before.std())
        for label in (0.0, 1.0):
            of = victim.clean.labels == label
            require(
                float(after[of].mean()) > float(before[of].mean()),
                f"{each.threat.id}: examples with label {label:.0f} are no further on the wrong side of 0 than before",
            )
        told.append(f"{each.threat.id} {gain:+.1f}")
    return f"in standard deviations of the clean scores: {', '.join(told)}"


def _damage(victim: Victim, batch: Batch) -> Tensor:
    """`[B]`: how far each example is on the wrong side of 0."""
    victim.reset(None)
    return (1 - 2 * batch.labels) * victim.scores(batch)


@rule("keep nothing on the class, in the module or on the object between runs")
def no_leaks(subject: AttackSubject) -> None:
    """After a run with another seed and budget the result is the same; class attributes and module variables are
    unchanged.
    """
    runs = []
    for each in subject.at("standard"):
        first, _ = subject.perturb(each)
        subject.perturb(subject.at("high")[0], seed=1)
        second, _ = subject.perturb(each)
        runs.append((first, second, each))
    changed = subject.globals_before.changed(Globals.of(subject.plugin))
    require(not changed, f"running it changed {', '.join(changed)}, which the next run will find")
    subject.require_repeatable()
    for first, second, each in runs:
        _require_equal(subject, each, first, second, 0.0, "before and after another run")


@rule("close files and pools, and put settings back, before perturb returns")
def leaves_nothing(subject: AttackSubject) -> None:
    """Settings, environment, threads, open files and the working directory are unchanged afterwards."""
    each = subject.at("standard")[0]
    require_nothing_left(lambda: subject.perturb(each))


@rule("keep no tensors of former runs on the object")
def resources(subject: AttackSubject) -> str:
    """Passes per example; memory does not grow with every run of one object."""
    each = subject.at("standard")[0]
    attack, victim = subject.make(), subject.victim()
    held = []
    with apart():
        for run in range(4):
            victim.reset(each.queries)
            attack.perturb(victim, victim.clean, each, Randomness(0, "conformance"))
            if run in (1, 3):
                held.append(live_tensors())
    growth = (held[1] - held[0]) / 2
    require(growth < 1, f"every run leaves {growth:.1f} tensors behind")
    size = len(victim.clean)
    forwards, backwards = victim.effort.forwards / size, victim.effort.backwards / size
    return f"{forwards:.0f} forward and {backwards:.0f} backward passes an example"
