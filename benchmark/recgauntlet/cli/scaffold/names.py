"""The name of a new plugin, and the names that follow from it: those of its module, its class and its package."""

from __future__ import annotations

import builtins
import importlib.util
import keyword
import re
import sys
from dataclasses import dataclass
from typing import Literal

import recgauntlet
from recgauntlet.core import plugins
from recgauntlet.core.errors import PluginError

Kind = Literal["defense", "model", "task", "attack", "poisoning"]
KINDS: dict[Kind, plugins.Kind] = {
    "defense": "defenses",
    "model": "models",
    "task": "tasks",
    "attack": "attacks",
    "poisoning": "poisoning",
}
LONGEST = 40
_FORM = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_TAKEN_MODULES = {"tests", "test", "conftest", "setup"}
_TAKEN_CLASSES = {*recgauntlet.__all__, *dir(builtins), *keyword.kwlist, "ClassVar", "Path", "Sequence", "Tensor"}


@dataclass(frozen=True)
class Names:
    """What a plugin `name` (as it is registered) is called elsewhere."""

    kind: Kind
    name: str
    module: str
    class_name: str
    package: str

    @property
    def group(self) -> plugins.Kind:
        """The kind in the plural, as in the entry point `recgauntlet.GROUP`."""
        return KINDS[self.kind]


def names_of(kind: Kind, name: str) -> Names:
    """Every name of a new plugin.

    Raises
    ------
    PluginError
        Where the name is not allowed, or something else has it already.
    """
    if len(name) > LONGEST or not _FORM.fullmatch(name):
        remedy = f"use at most {LONGEST} lower-case letters, digits and single hyphens, a letter first: my-defense"
        raise _refused(name, "is no name for a plugin", remedy)
    from recgauntlet.attacks.poisoning.suite import poisoning_attacks
    from recgauntlet.attacks.suite import suite_attacks

    module = name.replace("-", "_")
    if keyword.iskeyword(module) or keyword.issoftkeyword(module):
        raise _refused(name, "is a word of Python's own", f"take another name, for example my-{name}")
    if module in _TAKEN_MODULES or module in sys.stdlib_module_names or importlib.util.find_spec(module) is not None:
        raise _refused(name, f"would hide the module {module}", f"take another name, like my-{name}")
    suites = {
        "attack": {attack.name for attack in suite_attacks()},
        "poisoning": {attack.name for attack in poisoning_attacks()},
    }
    for word, group in KINDS.items():
        if name in plugins.names(group) or name in suites.get(word, set()):
            raise _refused(name, f"is the name of an installed {word}", "choose a name that is not taken")
    class_name = "".join(part.capitalize() for part in name.split("-"))
    if class_name in _TAKEN_CLASSES:
        class_name += kind.capitalize()
    return Names(kind, name, module, class_name, f"recgauntlet-{name}")


def _refused(name: str, problem: str, remedy: str) -> PluginError:
    return PluginError(f"{name!r} {problem}", field="NAME", remedy=remedy)
