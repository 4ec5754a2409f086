"""Checks of a defense's isolation: data access, randomness, state and resources."""

from __future__ import annotations

import ast
import inspect
import sys

import numpy as np
import torch

from recgauntlet.core.dataset import Pairs, TaskData
from recgauntlet.testing.check import require, require_nothing_left, rule
from recgauntlet.testing.process import Globals, apart, live_tensors
from recgauntlet.testing.subjects import DefenseSubject, scores
from recgauntlet.testing.tiny import tiny_data, with_other_test
from recgauntlet.testing.tiny_models import TinyTitles, differing, reload, tiny_model, trainer_at, weights_of
from recgauntlet.training.cost import Passes, count_passes
from recgauntlet.training.defense import Defense

MOST_PASSES = 200
"""A step may score this many times the candidates that a step of plain training scores: no cost is forbidden, an
endless loop is."""
FORBIDDEN = ("attacks", "evaluation", "leaderboard", "records", "runner")
"""Rooms of recgauntlet that a defense may not import from."""
FORBIDDEN_NAMES = {"RunRecord", "read_record", "run_cell"}


@rule("draw from context.rng.torch(context.step) and from nothing else; do not use the clock")
def determinism(subject: DefenseSubject) -> None:
    """One seed gives the same weights, bit for bit: no clock, no unseeded draws."""
    different = subject.unlike_again
    require(not different, f"two trainings with one seed differ in {', '.join(different)}")


@rule("pass generator=context.rng.torch(context.step) to every draw, and never call torch.manual_seed")
def own_randomness(subject: DefenseSubject) -> None:
    """Draws come from context.rng; torch's global generator, which drives dropout, is not used."""
    model, defense, batch = subject.model(), subject.make(), subject.train_batch
    trainer = trainer_at(model)
    before = torch.get_rng_state()
    defense.filter(subject.data.train)
    trainer.advance(defense, batch)
    defense.wrap(model)
    require(torch.equal(before, torch.get_rng_state()), "the global generator of torch was drawn from or seeded")


@rule("use the batch and the pairs that you are given")
def no_test_data(subject: DefenseSubject) -> None:
    """The weights do not depend on the test period."""
    subject.require_repeatable()
    other = weights_of(subject.train(0, data=with_other_test(subject.data)))
    different = differing(subject.weights, other)
    require(not different, f"with other test examples {', '.join(different)} differ: the defense has seen them")


@rule("write the perturbation that you train on yourself: a defense may not call the attacks it is judged by")
def imports(subject: DefenseSubject) -> None:
    """Its module imports nothing of the evaluation: no attacks, records or sanity checks."""
    modules = {base.__module__ for base in subject.plugin.__mro__ if not base.__module__.startswith("recgauntlet.")}
    found = []
    for name in sorted(modules - {"builtins"}):
        try:
            tree = ast.parse(inspect.getsource(sys.modules[name]))
        except (OSError, TypeError, KeyError, SyntaxError):
            continue  # no source (a compiled module): nothing to look at
        found += [f"{name} imports {what}" for what in _imported(tree) if _is_forbidden(what)]
    require(not found, "; ".join(found))


def _imported(tree: ast.AST) -> list[str]:
    out = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            out += [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            out += [f"{node.module}.{alias.name}" for alias in node.names]
    return out


def _is_forbidden(name: str) -> bool:
    parts = name.split(".")
    return parts[0] == "recgauntlet" and len(parts) > 1 and (parts[1] in FORBIDDEN or parts[-1] in FORBIDDEN_NAMES)


@rule("keep state on the object; what depends on nothing of a cell may be kept with functools.cache")
def no_leaks(subject: DefenseSubject) -> None:
    """Training another cell in the same process does not change the weights, class attributes or module variables."""
    alone, repeatable = subject.weights, not subject.unlike_again
    subject.train(1, data=tiny_data(seed=1))
    after = weights_of(subject.train(0))
    changed = subject.globals_before.changed(Globals.of(subject.plugin))
    require(not changed, f"training changed {', '.join(changed)}, which the next cell will find")
    different = differing(alone, after) if repeatable else []  # else the check `determinism` says so
    require(not different, f"after another cell {', '.join(different)} differ from those of the cell alone")


@rule("copy an array before you write to it")
def data_unchanged(subject: DefenseSubject) -> None:
    """Training data is not written to."""
    data = tiny_data()
    kept = [array.copy() for array in _arrays(data)]
    subject.train(0, data=data)
    same = all(np.array_equal(before, now) for before, now in zip(kept, _arrays(data), strict=True))
    require(same, "the arrays of the data were changed in place")


def _arrays(data: TaskData) -> list[np.ndarray[tuple[int, ...], np.dtype[np.generic]]]:
    parts: tuple[Pairs, ...] = (data.train, data.valid, data.test)
    return [getattr(pairs, name) for pairs in parts for name in ("users", "histories", "clicked", "unclicked")]


@rule("what wrap needs must be in the model's weights or buffers: the object that trained is gone by then")
def save_and_load(subject: DefenseSubject) -> None:
    """Weights from a safetensors file, served by a new object, give the same scores, bit for bit."""
    model, defense = subject.model(), subject.make()
    subject.take_steps(defense, model)
    before = scores(defense.wrap(model.eval()).eval(), subject.batch)
    loaded = reload(model, tiny_model(TinyTitles, subject.data, seed=1))
    after = scores(subject.make().wrap(loaded).eval(), subject.batch)
    worst = float((before - after).abs().max())
    require(torch.equal(before, after), f"scores differ by up to {worst:.3g} after saving and loading")


@rule("close files and pools, and put settings back, before a method returns")
def leaves_nothing(subject: DefenseSubject) -> None:
    """Settings, environment, threads, open files and the working directory are unchanged afterwards."""
    require_nothing_left(lambda: subject.train(0))


@rule("do less in a step")
def resources(subject: DefenseSubject) -> str:
    """Passes per step relative to plain training (at most 200 times as many); memory does not grow with every step."""
    plain, _ = _passes(subject, Defense(), 2)
    used, growth = _passes(subject, subject.make(), 8)
    forwards, backwards = used.forwards / 4 / plain.forwards, used.backwards / 4 / max(1, plain.backwards)
    require(
        forwards <= MOST_PASSES and backwards <= MOST_PASSES,
        f"a step takes {forwards:.0f} x the forward and {backwards:.0f} x the backward passes of plain training",
        f"stay below {MOST_PASSES} times: more cannot be run in practice",
    )
    require(
        growth < 1,
        f"every step leaves {growth:.1f} tensors or graph nodes behind",
        "detach what you keep from step to step (loss.detach(), float(loss)), and keep one value, not a list",
    )
    return f"{forwards:.1f} x the forward and {backwards:.1f} x the backward passes of plain training"


def _passes(subject: DefenseSubject, defense: Defense, steps: int) -> tuple[Passes, float]:
    """Passes of `steps` steps, and how many tensors each of the second half of them leaves alive."""
    model, batch = subject.model(), subject.train_batch
    trainer = trainer_at(model)
    half = steps // 2
    with apart(), count_passes(model) as passes:
        for _ in range(half):
            trainer.advance(defense, batch)
        held = live_tensors()
        for _ in range(half):
            trainer.advance(defense, batch)
        grown = live_tensors() - held
    return passes, grown / half
