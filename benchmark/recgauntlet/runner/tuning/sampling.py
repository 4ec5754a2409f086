"""The values of a method's trials: its defaults, then a low-discrepancy sequence in its search space."""

from __future__ import annotations

import math
import warnings
from typing import Any

from recgauntlet.core.errors import PluginError
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.recommender import constructor_defaults
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.core.types import Scalar

Values = dict[str, Scalar]


def space_of(plugin: Plugin) -> SearchSpace:
    """The search space that a method names, checked.

    Raises
    ------
    PluginError
        Where it names none, an argument that the constructor does not have, or a range that its default is not in.
    """
    space: SearchSpace = plugin.value.search_space
    if not space:
        raise PluginError(
            f"{plugin.name} names nothing that could be tuned",
            field="search_space",
            remedy="leave it out, or give its class a search_space (docs/reference/tuning.md)",
        )
    defaults = constructor_defaults(plugin.value)
    for name, part in space.items():
        if name not in defaults:
            raise PluginError(
                f"{plugin.name} has no argument {name!r}",
                field="search_space",
                remedy=f"choose among: {', '.join(defaults) or 'none'}",
            )
        _check(plugin, name, part, defaults[name])
    return space


def drawn(space: SearchSpace, defaults: Values, trials: int, seed: int) -> tuple[Values, ...]:
    """The values of `trials` trials: the defaults first, then a scrambled Sobol sequence.

    With a handful of trials nothing can be learned from the earlier ones (TPE draws its first ten at random), and a
    sequence covers the space more evenly than chance. It depends on no result: trials may run in any order, a study
    that was stopped goes on as if it had not been, and more trials go on where fewer ended.

    Raises
    ------
    PluginError
        Where optuna is not installed.
    """
    optuna = _optuna()
    distributions = {name: _distribution(optuna, part) for name, part in space.items()}
    loud = optuna.logging.get_verbosity()
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the sampler is marked as experimental
            sampler = optuna.samplers.QMCSampler(qmc_type="sobol", scramble=True, seed=seed)
            study = optuna.create_study(direction="maximize", sampler=sampler)
            study.enqueue_trial({name: _coded(part, defaults[name]) for name, part in space.items()})
            out = []
            for _ in range(trials):
                trial = study.ask(distributions)
                out.append({name: _decoded(space[name], trial.params[name]) for name in space})
                study.tell(trial, 0.0)  # the sequence does not ask for results
    finally:
        optuna.logging.set_verbosity(loud)
    every = ({name: defaults[name] for name in space}, *out[1:])
    return tuple(values for number, values in enumerate(every) if values not in every[:number])


def _optuna() -> Any:
    try:
        import optuna
    except ImportError as error:
        raise PluginError(
            "optuna is not installed, which draws the trials", remedy="pip install 'recgauntlet[tune]'"
        ) from error
    return optuna


def _check(plugin: Plugin, name: str, part: Between | OneOf, default: Scalar) -> None:
    if isinstance(part, OneOf):
        good = default in part.values and all(isinstance(value, (bool, int, float, str)) for value in part.values)
    else:
        number = isinstance(default, (int, float)) and not isinstance(default, bool)
        finite = math.isfinite(part.low) and math.isfinite(part.high) and part.low < part.high
        good = finite and number and part.low <= float(default or 0) <= part.high and not (part.log and part.low <= 0)
        good = good and (_is_whole(part) or isinstance(default, float))
    if not good:
        raise PluginError(
            f"{plugin.name}: {name} = {default!r} by default, which {part} does not hold",
            field=f"search_space.{name}",
            remedy="let the space hold the default: the first trial is the method as it comes. Ends are whole numbers "
            "where the argument is one, and above 0 where they are logarithmic",
        )


def _is_whole(part: Between) -> bool:
    return isinstance(part.low, int) and isinstance(part.high, int)


def _distribution(optuna: Any, part: Between | OneOf) -> Any:
    if isinstance(part, OneOf):  # a place among the values, so that they are covered evenly too
        return optuna.distributions.FloatDistribution(0.0, float(len(part.values)))
    if _is_whole(part):
        return optuna.distributions.IntDistribution(int(part.low), int(part.high), log=part.log)
    return optuna.distributions.FloatDistribution(float(part.low), float(part.high), log=part.log)


def _coded(part: Between | OneOf, value: Scalar) -> Scalar:
    return part.values.index(value) + 0.5 if isinstance(part, OneOf) else value


def _decoded(part: Between | OneOf, value: Any) -> Scalar:
    if isinstance(part, OneOf):
        return part.values[min(int(value), len(part.values) - 1)]
    # few digits: the values are read, and typed again
    return int(value) if _is_whole(part) else min(max(float(f"{value:.3g}"), part.low), part.high)
