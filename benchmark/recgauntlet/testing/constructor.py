"""The contract of a plugin's constructor: hyper-parameters are its keyword-only arguments."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

from recgauntlet.core.plugins import abstract_methods
from recgauntlet.core.search_space import Between, OneOf
from recgauntlet.core.types import Scalar
from recgauntlet.testing.check import require

PLAIN = (bool, int, float, str, type(None))


def require_constructor(plugin: type, positional: tuple[str, ...] = (), given: tuple[str, ...] = ()) -> None:
    """ConformanceError unless the class is complete and its constructor takes `positional`, the keywords `given`, and
    others with plain defaults.

    `given` are the keyword-only arguments that the harness passes and that need no default.
    """
    left = abstract_methods(plugin)
    names = " and ".join(line.split("(")[0].removeprefix("def ") for line in left)
    require(not left, f"the class does not define {names}", f"write into the class: {'; '.join(left)}")
    found = list(inspect.signature(plugin).parameters.values())
    in_order = [p.name for p in found if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    require(
        len(in_order) == len(positional),
        f"the constructor takes {', '.join(in_order) or 'nothing'} by position, {', '.join(positional) or 'nothing'} "
        "is expected",
        f"write def __init__(self, {''.join(name + ', ' for name in positional)}*, ...): hyper-parameters stand behind "
        "the star",
    )
    for parameter in found:
        require(
            parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD),
            f"the constructor takes *args or **kwargs ({parameter.name}): a misspelt option would be taken in silence",
            "name every hyper-parameter",
        )
    for parameter in (p for p in found if p.kind is p.KEYWORD_ONLY and p.name not in given):
        require(
            parameter.default is not parameter.empty,
            f"the hyper-parameter {parameter.name} has no default",
            "give every hyper-parameter the default that you publish",
        )
        value = parameter.default
        require(
            type(value) in PLAIN and not (isinstance(value, float) and not math.isfinite(value)),
            f"the default of {parameter.name} is {value!r} ({type(value).__name__}): a record cannot hold it",
            "use a text, a finite number, true or false, or None",
        )


def require_subclass(plugin: Any, base: type) -> None:
    """ConformanceError unless the plugin is a class that inherits from `base`."""
    require(
        isinstance(plugin, type) and issubclass(plugin, base),
        f"{plugin!r} is no subclass of {base.__name__}",
        f"let the class inherit from recgauntlet.{base.__name__}, and the entry point name the class",
    )


def require_name(made: Any, registered: str) -> None:
    """ConformanceError unless an object of the plugin has the name that it is registered with, where it is."""
    name = getattr(made, "name", None)
    require(
        isinstance(name, str) and bool(name) and registered in ("", name),
        f"its name is {name!r}, it is registered as {registered!r}",
        "write the registered name into the class: name = ...",
    )


def require_hyperparameters(make: Callable[..., Any], defaults: Mapping[str, Scalar]) -> None:
    """ConformanceError unless every argument of `defaults` is an attribute of what `make` makes, and read by its
    `hyperparameters()`."""
    plain = make()
    for name, value in defaults.items():
        require(
            hasattr(plain, name),
            f"the argument {name} is no attribute of the object",
            f"write self.{name} = {name} in the constructor",
        )
        require(
            _same(getattr(plain, name), value),
            f"the argument {name}={value!r} became the attribute {getattr(plain, name)!r}",
            f"keep self.{name} as it was given; put what you compute from it under another name",
        )
    found = plain.hyperparameters()
    require(
        found == dict(defaults) and all(type(value) in PLAIN for value in found.values()),
        f"hyperparameters() gives {found}, the arguments are {dict(defaults)}",
        "do not override hyperparameters(); it repeats the constructor's arguments",
    )
    for name, value in defaults.items():
        other = _other(value)
        with suppress(ValueError, TypeError):  # a constructor may refuse a value: then there is nothing to compare
            changed = make(**{name: other})
            require(
                _same(getattr(changed, name), other) and _same(changed.hyperparameters().get(name), other),
                f"an object made with {name}={other!r} has {name}={getattr(changed, name)!r} and records "
                f"{changed.hyperparameters().get(name)!r}",
                f"write self.{name} = {name} in the constructor",
            )
        with suppress(AttributeError, TypeError):  # a frozen object cannot be changed: nothing to compare either
            setattr(plain, name, other)
            require(
                _same(told := plain.hyperparameters().get(name), other),
                f"after {name} was set to {other!r}, hyperparameters() still says {told!r}",
                "let hyperparameters() read the attributes when it is called",
            )
    again = make().hyperparameters()
    require(
        again == dict(defaults),
        f"after another object was changed, a new one has {again}",
        "keep hyper-parameters on the object, not on the class",
    )


def require_search_space(plugin: Any, defaults: Mapping[str, Scalar]) -> str:
    """ConformanceError unless `search_space` names constructor arguments, with values of the defaults' types."""
    for name, choice in plugin.search_space.items():
        require(name in defaults, f"the search space names {name}, which the constructor does not take")
        default = defaults[name]
        require(
            isinstance(choice, Between | OneOf),
            f"the search space of {name} is {choice!r}",
            "use recgauntlet.Between or recgauntlet.OneOf",
        )
        if isinstance(choice, Between):
            require(
                choice.low < choice.high
                and math.isfinite(choice.high - choice.low)
                and (choice.low > 0 or not choice.log),
                f"the range of {name} is {choice.low} to {choice.high}",
                "let low be below high, both finite; a logarithmic range begins above 0",
            )
            whole = isinstance(choice.low, int) and isinstance(choice.high, int)
            wanted: type = int if whole else float
        else:
            require(len(choice.values) > 1, f"the search space of {name} has nothing to choose from")
            wanted = type(default)
            whole = all(type(value) is wanted for value in choice.values)
            require(whole, f"the search space of {name} mixes types: {choice.values}")
        require(
            type(default) is wanted,
            f"the search space of {name} gives a {wanted.__name__}, its default is {default!r}",
            "let the default and what may be chosen be of one type",
        )
    return f"{len(plugin.search_space)} of {len(defaults)} may be tuned"


def _same(found: object, expected: object) -> bool:
    return type(found) is type(expected) and found == expected


def _other(value: Scalar) -> Scalar:
    """Another value of the same type, near by; texts and None stay."""
    if isinstance(value, bool):
        return not value
    if isinstance(value, int):
        return value + 1
    if isinstance(value, float):
        return value / 2 if value else 0.5
    return value
