"""Which checks a plugin of each kind must pass: explicit tuples, in the order in which they run."""

from __future__ import annotations

from typing import Any, Literal, get_args

from recgauntlet.testing import (
    attack_checks,
    defense_checks,
    defense_isolation,
    model_contract,
    model_training,
    task_checks,
)
from recgauntlet.testing.attack_subject import AttackSubject
from recgauntlet.testing.check import Rule
from recgauntlet.testing.defense_subject import DefenseSubject
from recgauntlet.testing.model_subject import ModelSubject
from recgauntlet.testing.task_subject import TaskSubject

Kind = Literal["defenses", "models", "tasks", "attacks"]
KINDS: tuple[Kind, ...] = get_args(Kind)

_DEFENSE_RUNS: Rule[DefenseSubject] = Rule(
    "runs", defense_checks.runs, "mend the error: the last place that is named is where it was raised"
)

DEFENSES: tuple[Rule[DefenseSubject], ...] = (
    Rule(
        "constructor",
        defense_checks.constructor,
        "see docs/extend/defense.md: one class, keyword-only arguments with plain defaults",
    ),
    _DEFENSE_RUNS,
    Rule(
        "hyper-parameters",
        defense_checks.hyperparameters,
        "write self.NAME = NAME for every argument",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "constant-hyper-parameters",
        defense_checks.constant_hyperparameters,
        "compute a value that changes from context.progress and keep it in a local variable",
        needs=_DEFENSE_RUNS,
    ),
    Rule("search-space", defense_checks.search_space, "see docs/extend/defense.md for search_space"),
    Rule(
        "returns", defense_checks.returns, "see docs/extend/defense.md for what each method gives", needs=_DEFENSE_RUNS
    ),
    Rule("filter", defense_checks.filter_, "return whole pairs of those that were given", needs=_DEFENSE_RUNS),
    Rule("wrap", defense_checks.wrap, "return a recgauntlet.Recommender", needs=_DEFENSE_RUNS),
    Rule(
        "gradient-flow",
        defense_checks.gradient_flow,
        "compute the loss from the model's scores; detach the perturbation alone, not states or embeddings",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "any-model",
        defense_checks.any_model,
        "use recgauntlet.core.recommender.embedding_mask instead of the tokens' mask; shapes are those of embed",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "precision",
        defense_checks.precision,
        "compute norms and divisions in .float(), and clamp what you divide by",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "devices",
        defense_checks.devices,
        "make tensors with device and dtype of the embeddings (torch.zeros_like, .new_zeros, .to(embedded))",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "determinism",
        defense_isolation.determinism,
        "draw from context.rng.torch(context.step) and from nothing else; do not use the clock",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "own-randomness",
        defense_isolation.own_randomness,
        "pass generator=context.rng.torch(context.step) to every draw, and never call torch.manual_seed",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "no-test-data",
        defense_isolation.no_test_data,
        "use the batch and the pairs that you are given",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "imports",
        defense_isolation.imports,
        "write the perturbation that you train on yourself: a defense may not call the attacks it is judged by",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "no-leaks",
        defense_isolation.no_leaks,
        "keep state on the object; what depends on nothing of a cell may be kept with functools.cache",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "data-unchanged", defense_isolation.data_unchanged, "copy an array before you write to it", needs=_DEFENSE_RUNS
    ),
    Rule(
        "save-and-load",
        defense_isolation.save_and_load,
        "what wrap needs must be in the model's weights or buffers: the object that trained is gone by then",
        needs=_DEFENSE_RUNS,
    ),
    Rule(
        "leaves-nothing",
        defense_isolation.leaves_nothing,
        "close files and pools, and put settings back, before a method returns",
        needs=_DEFENSE_RUNS,
    ),
    Rule("resources", defense_isolation.resources, "do less in a step", needs=_DEFENSE_RUNS),
)

_MODEL_RUNS: Rule[ModelSubject] = Rule(
    "runs", model_training.runs, "mend the error: the last place that is named is where it was raised"
)

MODELS: tuple[Rule[ModelSubject], ...] = (
    Rule("constructor", model_contract.constructor, "see docs/extend/model.md"),
    Rule("tokens", model_contract.tokens, "see docs/extend/model.md for what tokenize gives"),
    Rule("shapes", model_contract.shapes, "see docs/extend/model.md for the shapes"),
    _MODEL_RUNS,
    Rule("consistent", model_contract.consistent, "compute every part from its arguments alone", needs=_MODEL_RUNS),
    Rule(
        "rows-independent",
        model_contract.rows_independent,
        "normalize within a row (LayerNorm, not BatchNorm over the batch), and mask padding",
        needs=_MODEL_RUNS,
    ),
    Rule("padding", model_contract.padding, "mask padding wherever rows are pooled or attended to", needs=_MODEL_RUNS),
    Rule("surfaces", model_contract.surfaces, "let surfaces name exactly what the score depends on", needs=_MODEL_RUNS),
    Rule("inputs-unchanged", model_contract.inputs_unchanged, "write x = x + y instead of x += y", needs=_MODEL_RUNS),
    Rule(
        "gradient-flow",
        model_training.gradient_flow,
        "keep every step from embeddings to score differentiable",
        needs=_MODEL_RUNS,
    ),
    Rule(
        "losses", model_training.losses, "see docs/extend/model.md for click_loss and auxiliary_loss", needs=_MODEL_RUNS
    ),
    Rule("search-space", model_contract.search_space, "see docs/extend/model.md for search_space"),
    Rule(
        "determinism",
        model_training.determinism,
        "draw from torch's generator alone, and only in the constructor and in training mode",
        needs=_MODEL_RUNS,
    ),
    Rule(
        "devices",
        model_training.devices,
        "register every tensor, and make new ones where the weights are",
        needs=_MODEL_RUNS,
    ),
    Rule(
        "precision",
        model_training.precision,
        "set trains_in_bf16 to False, or compute norms in .float()",
        needs=_MODEL_RUNS,
    ),
    Rule(
        "save-and-load",
        model_training.save_and_load,
        "register what the scores depend on: nn.Parameter, or self.register_buffer(name, tensor)",
        needs=_MODEL_RUNS,
    ),
    Rule(
        "no-leaks",
        model_training.no_leaks,
        "keep vocabularies on the object; what depends on nothing of a cell may be kept with functools.cache",
        needs=_MODEL_RUNS,
    ),
    Rule(
        "leaves-nothing",
        model_training.leaves_nothing,
        "close files and pools, and put settings back, before a method returns",
        needs=_MODEL_RUNS,
    ),
    Rule("resources", model_training.resources, "keep no tensors of batches that were scored", needs=_MODEL_RUNS),
)

_ATTACK_RUNS: Rule[AttackSubject] = Rule(
    "runs", attack_checks.runs, "mend the error: the last place that is named is where it was raised"
)

ATTACKS: tuple[Rule[AttackSubject], ...] = (
    Rule("constructor", attack_checks.constructor, "see docs/extend/attack.md"),
    Rule("supports", attack_checks.supports, "let supports return True for budgets that the attack has moves in"),
    _ATTACK_RUNS,
    Rule(
        "hyper-parameters",
        attack_checks.hyperparameters,
        "write self.NAME = NAME for every argument",
        needs=_ATTACK_RUNS,
    ),
    Rule(
        "returns-inputs",
        attack_checks.returns_inputs,
        "return the batch with changed inputs, nothing else",
        needs=_ATTACK_RUNS,
    ),
    Rule(
        "budget",
        attack_checks.budget,
        "see docs/protocol.md for what is legal; budget.amount is the number of words or edits, or the radius relative "
        "to victim.scale",
        needs=_ATTACK_RUNS,
    ),
    Rule(
        "query-limit",
        attack_checks.query_limit,
        "stop when victim.remaining(batch.example_ids) says 0",
        needs=_ATTACK_RUNS,
    ),
    Rule(
        "no-back-door",
        attack_checks.no_back_door,
        "ask victim.scores, victim.embedding_gradient, victim.word_slopes or victim.history_gradient",
        needs=_ATTACK_RUNS,
    ),
    Rule(
        "determinism",
        attack_checks.determinism,
        "draw from rng, keyed by example ids, and from nothing else",
        needs=_ATTACK_RUNS,
    ),
    Rule(
        "batch-order",
        attack_checks.batch_order,
        "key draws by batch.example_ids, and compute nothing over the batch (means, maxima, early exits for all)",
        needs=_ATTACK_RUNS,
    ),
    Rule("unchanged", attack_checks.unchanged, "copy a tensor before you write to it", needs=_ATTACK_RUNS),
    Rule(
        "wrong-side", attack_checks.wrong_side, "multiply what you maximize by 1 - 2 * batch.labels", needs=_ATTACK_RUNS
    ),
    Rule(
        "no-leaks",
        attack_checks.no_leaks,
        "keep nothing on the class, in the module or on the object between runs",
        needs=_ATTACK_RUNS,
    ),
    Rule(
        "leaves-nothing",
        attack_checks.leaves_nothing,
        "close files and pools, and put settings back, before perturb returns",
        needs=_ATTACK_RUNS,
    ),
    Rule("resources", attack_checks.resources, "keep no tensors of former runs on the object", needs=_ATTACK_RUNS),
)

TASKS: tuple[Rule[TaskSubject], ...] = (
    Rule("card", task_checks.card, "see docs/extend/task.md for the card, field by field"),
    Rule("licence", task_checks.licence, "fill in [tracks.NAME.source]"),
    Rule("offline", task_checks.offline, "raise DataError where the data are not there, and open no connection"),
    Rule("tables", task_checks.tables, "see docs/extend/task.md for the tables"),
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
