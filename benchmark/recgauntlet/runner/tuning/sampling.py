"""The values of a method's trials: its defaults, then a low-discrepancy sequence in its search space."""

from __future__ import annotations

import math
import warnings

from scipy.stats import qmc

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
        if not _holds(part, defaults[name]):
            raise PluginError(
                f"{plugin.name}: {name} = {defaults[name]!r} by default, which {part} does not hold",
                field=f"search_space.{name}",
                remedy="let the space hold the default, which is the first trial. Ends are whole numbers where the "
                "argument is one, and above 0 where they are logarithmic",
            )
    return space


def drawn(space: SearchSpace, defaults: Values, trials: int, seed: int) -> tuple[Values, ...]:
    """The values of `trials` trials: the defaults first, then a scrambled Sobol sequence; equal ones once.

    With a handful of trials nothing can be learned from the earlier ones, and a sequence covers the space more evenly
    than chance. It depends on no result: trials may run in any order, a study that was stopped goes on as if it had not
    been, and more trials go on where fewer ended.
    """
    out: list[Values] = [{name: defaults[name] for name in space}]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # the sequence is balanced at powers of two only
        sequence = qmc.Sobol(len(space), seed=seed)  # pyright: ignore[reportCallIssue]  # `rng` draws other points
        points = sequence.random(trials - 1)
    for point in points:
        values = {name: _value(part, share) for (name, part), share in zip(space.items(), point.tolist(), strict=True)}
        if values not in out:
            out.append(values)
    return tuple(out)


def _holds(part: Between | OneOf, default: Scalar) -> bool:
    if isinstance(part, OneOf):
        return default in part.values and all(isinstance(value, (bool, int, float, str)) for value in part.values)
    if isinstance(default, bool) or not isinstance(default, (int, float)):
        return False
    good = math.isfinite(part.low) and math.isfinite(part.high) and part.low < part.high
    good = good and part.low <= default <= part.high and not (part.log and part.low <= 0)
    return good and (_is_whole(part) or isinstance(default, float))


def _is_whole(part: Between) -> bool:
    return isinstance(part.low, int) and isinstance(part.high, int)


def _value(part: Between | OneOf, share: float) -> Scalar:
    """The value at `share` of the way through `part`."""
    if isinstance(part, OneOf):
        return part.values[int(share * len(part.values))]
    half = 0.5 if _is_whole(part) else 0.0  # the end values have a whole interval each, as the others do
    low, high = part.low - half, part.high + half
    if part.log:
        low, high = math.log(low), math.log(high)
    value = low + share * (high - low)
    value = math.exp(value) if part.log else value
    value = round(value) if half else float(f"{value:.3g}")  # few digits: the values are read, and typed again
    return min(max(value, part.low), part.high)
