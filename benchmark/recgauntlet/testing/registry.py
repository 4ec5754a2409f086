"""Which checks a plugin of each kind must pass: explicit tuples, in the order in which they run."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, get_args

from recgauntlet.attack import Attack
from recgauntlet.data.own import find_task_or_card
from recgauntlet.plugins import find_attack, find_defense, find_model, names
from recgauntlet.recommender import Scalar
from recgauntlet.suite import suite_attacks
from recgauntlet.testing import (
    attack_checks,
    defense_checks,
    defense_isolation,
    model_contract,
    model_training,
    task_checks,
)
from recgauntlet.testing.attack_subject import AttackSubject
from recgauntlet.testing.check import Check, Rule
from recgauntlet.testing.defense_subject import DefenseSubject
from recgauntlet.testing.model_subject import ModelSubject
from recgauntlet.testing.task_subject import TaskSubject

Kind = Literal["defenses", "models", "tasks", "attacks"]
KINDS: tuple[Kind, ...] = get_args(Kind)

DEFENSES: tuple[Rule[DefenseSubject], ...] = (
    Rule(
        "constructor",
        defense_checks.constructor,
        "see docs/add-a-defense.md: one class, keyword-only arguments with plain defaults",
    ),
    Rule("hyper-parameters", defense_checks.hyperparameters, "write self.NAME = NAME for every argument"),
    Rule(
        "constant-hyper-parameters",
        defense_checks.constant_hyperparameters,
        "compute a value that changes from context.progress and keep it in a local variable",
    ),
    Rule("returns", defense_checks.returns, "see docs/add-a-defense.md for what each method gives"),
    Rule("filter", defense_checks.filter_, "return whole pairs of those that were given"),
    Rule("wrap", defense_checks.wrap, "return a recgauntlet.Recommender"),
    Rule(
        "gradient-flow",
        defense_checks.gradient_flow,
        "compute the loss from the model's scores; detach the perturbation alone, not states or embeddings",
    ),
    Rule(
        "any-model",
        defense_checks.any_model,
        "use recgauntlet.recommender.embedding_mask instead of the tokens' mask, and take shapes from what embed gives",
    ),
    Rule(
        "precision",
        defense_checks.precision,
        "compute norms and divisions in .float(), and clamp what you divide by",
    ),
    Rule(
        "devices",
        defense_checks.devices,
        "make tensors with device and dtype of the embeddings (torch.zeros_like, .new_zeros, .to(embedded))",
    ),
    Rule(
        "determinism",
        defense_isolation.determinism,
        "draw from context.rng.torch(context.step) and from nothing else; do not use the clock",
    ),
    Rule(
        "own-randomness",
        defense_isolation.own_randomness,
        "pass generator=context.rng.torch(context.step) to every draw, and never call torch.manual_seed",
    ),
    Rule("no-test-data", defense_isolation.no_test_data, "use the batch and the pairs that you are given"),
    Rule(
        "imports",
        defense_isolation.imports,
        "write the perturbation that you train on yourself: a defense may not call the attacks it is judged by",
    ),
    Rule(
        "no-leaks",
        defense_isolation.no_leaks,
        "keep state on the object, or compute it from context; nothing on the class or in the module",
    ),
    Rule("data-unchanged", defense_isolation.data_unchanged, "copy an array before you write to it"),
    Rule(
        "save-and-load",
        defense_isolation.save_and_load,
        "what wrap needs must be in the model's weights or buffers: the object that trained is gone by then",
    ),
    Rule(
        "leaves-nothing",
        defense_isolation.leaves_nothing,
        "close files and pools, and put settings back, before a method returns",
    ),
    Rule("resources", defense_isolation.resources, "do less in a step"),
)

MODELS: tuple[Rule[ModelSubject], ...] = (
    Rule("constructor", model_contract.constructor, "see docs/add-a-model.md"),
    Rule("tokens", model_contract.tokens, "see docs/add-a-model.md for what tokenize gives"),
    Rule("shapes", model_contract.shapes, "see docs/add-a-model.md for the shapes"),
    Rule("consistent", model_contract.consistent, "compute every part from its arguments alone"),
    Rule(
        "rows-independent",
        model_contract.rows_independent,
        "normalize within a row (LayerNorm, not BatchNorm over the batch), and mask padding",
    ),
    Rule("padding", model_contract.padding, "mask padding wherever rows are pooled or attended to"),
    Rule("surfaces", model_contract.surfaces, "let surfaces name exactly what the score depends on"),
    Rule("inputs-unchanged", model_contract.inputs_unchanged, "write x = x + y instead of x += y"),
    Rule(
        "gradient-flow",
        model_training.gradient_flow,
        "keep every step from embeddings to score differentiable",
    ),
    Rule(
        "determinism",
        model_training.determinism,
        "draw from torch's generator alone, and only in the constructor and in training mode",
    ),
    Rule("devices", model_training.devices, "register every tensor, and make new ones where the weights are"),
    Rule("precision", model_training.precision, "set trains_in_bf16 to False, or compute norms in .float()"),
    Rule(
        "save-and-load",
        model_training.save_and_load,
        "register what the scores depend on: nn.Parameter, or self.register_buffer(name, tensor)",
    ),
    Rule(
        "no-leaks",
        model_training.no_leaks,
        "keep vocabularies and caches on the object, or key a shared cache by everything it depends on",
    ),
    Rule(
        "leaves-nothing",
        model_training.leaves_nothing,
        "close files and pools, and put settings back, before a method returns",
    ),
    Rule("resources", model_training.resources, "keep no tensors of batches that were scored"),
)

ATTACKS: tuple[Rule[AttackSubject], ...] = (
    Rule("constructor", attack_checks.constructor, "see docs/add-an-attack.md"),
    Rule("supports", attack_checks.supports, "let supports return True for budgets that the attack has moves in"),
    Rule("hyper-parameters", attack_checks.hyperparameters, "write self.NAME = NAME for every argument"),
    Rule("returns-inputs", attack_checks.returns_inputs, "return the batch with changed inputs, nothing else"),
    Rule(
        "budget",
        attack_checks.budget,
        "see docs/attacks.md for what is legal; budget.amount is the number of words or edits, or the radius relative "
        "to victim.scale",
    ),
    Rule("query-limit", attack_checks.query_limit, "stop when victim.remaining(batch.example_ids) says 0"),
    Rule(
        "no-back-door",
        attack_checks.no_back_door,
        "ask victim.scores, victim.embedding_gradient, victim.word_slopes or victim.history_gradient",
    ),
    Rule("determinism", attack_checks.determinism, "draw from rng, keyed by example ids, and from nothing else"),
    Rule(
        "batch-order",
        attack_checks.batch_order,
        "key draws by batch.example_ids, and compute nothing over the batch (means, maxima, early exits for all)",
    ),
    Rule("unchanged", attack_checks.unchanged, "copy a tensor before you write to it"),
    Rule("wrong-side", attack_checks.wrong_side, "multiply what you maximize by 1 - 2 * batch.labels"),
    Rule("no-leaks", attack_checks.no_leaks, "keep nothing on the class, in the module or on the object between runs"),
    Rule(
        "leaves-nothing",
        attack_checks.leaves_nothing,
        "close files and pools, and put settings back, before perturb returns",
    ),
    Rule("resources", attack_checks.resources, "keep no tensors of former runs on the object"),
)

TASKS: tuple[Rule[TaskSubject], ...] = (
    Rule("card", task_checks.card, "see docs/tasks.md for the card, field by field"),
    Rule("licence", task_checks.licence, "fill in [tracks.NAME.source]"),
    Rule("offline", task_checks.offline, "raise DataError where the data are not there, and open no connection"),
    Rule("tables", task_checks.tables, "see docs/own-data.md for the tables"),
    Rule("fingerprint", task_checks.fingerprints, "let the loader depend on the card alone"),
    Rule("examples", task_checks.examples, "change the sizes on the card, or the tables"),
    Rule("no-leakage", task_checks.no_leakage, "let everything about an example lie before it"),
    Rule(
        "leaves-nothing",
        task_checks.leaves_nothing,
        "close files and pools, put settings back, and write below options.cache alone",
    ),
)


def rules(kind: Kind) -> tuple[Rule[Any], ...]:
    """All checks of a kind."""
    every: dict[Kind, tuple[Rule[Any], ...]] = {
        "defenses": DEFENSES,
        "models": MODELS,
        "tasks": TASKS,
        "attacks": ATTACKS,
    }
    return every[kind]


def checks_for(kind: Kind, plugin: Any, *, options: Mapping[str, Scalar] | None = None) -> tuple[Check, ...]:
    """Every check of a plugin, ready to run in order.

    Parameters
    ----------
    kind
        "defenses", "models", "tasks" or "attacks".
    plugin
        A registered name, or the object itself: a class, for a task a `Task`.
    options
        Hyper-parameters other than the defaults, to check a large model in a small size.

    Raises
    ------
    PluginError
        Where there is no such plugin.
    """
    chosen = dict(options or {})
    if kind == "defenses":
        value = find_defense(plugin).value if isinstance(plugin, str) else plugin
        subject = DefenseSubject(value, chosen)
        return tuple(rule.of(subject) for rule in DEFENSES)
    if kind == "models":
        value = find_model(plugin).value if isinstance(plugin, str) else plugin
        model = ModelSubject(value, chosen)
        return tuple(rule.of(model) for rule in MODELS)
    if kind == "attacks":
        attack = _attack(plugin, chosen)
        return tuple(rule.of(attack) for rule in ATTACKS)
    task = (
        TaskSubject(find_task_or_card(plugin), Path(plugin).stem)
        if isinstance(plugin, str)
        else TaskSubject(plugin, "")
    )
    return tuple(rule.of(task) for rule in TASKS)


def _attack(plugin: str | type[Attack] | Attack, options: dict[str, Scalar]) -> AttackSubject:
    """A registered attack, or one of the suite by its name."""
    if isinstance(plugin, Attack):
        given = plugin.hyperparameters() | options
        return AttackSubject(type(plugin), plugin.name, given)
    if not isinstance(plugin, str):
        return AttackSubject(plugin, "", options)
    if plugin not in names("attacks"):
        for attack in suite_attacks():
            if attack.name == plugin:
                return _attack(attack, options)
    value = find_attack(plugin).value
    return AttackSubject(value, plugin, options)
