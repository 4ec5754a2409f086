"""What a record refers to: its task, plugins and attack suite, and the environment of the run."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field

from recgauntlet.core.card import TaskCard, Track
from recgauntlet.core.plugins import Plugin
from recgauntlet.core.types import Scalar


class Part(BaseModel):
    """A part of a record: frozen, without unknown fields."""

    model_config = ConfigDict(extra="forbid", frozen=True, ser_json_inf_nan="constants")


class TaskRef(Part):
    """Which task this is, and the hashes of its card and its data."""

    id: str
    version: int
    track: Track
    fingerprint: str
    data_fingerprint: str
    simulated: bool
    redistributable: bool
    card: TaskCard | None = Field(default=None, exclude_if=lambda card: card is None)
    """The card, where it is a user's own: no package has it. Not written where it is that of an installed task."""


class PluginKey(Part):
    """Which plugin: its registered name, who ships it, its hyper-parameters in full, and its source. Equal keys, same
    plugin."""

    name: str
    distribution: str
    version: str
    hyperparameters: dict[str, Scalar]
    source: str = Field(default="", pattern="^([0-9a-f]{64})?$", exclude_if=lambda text: not text)
    """SHA-256 over the files of its package or module (`recgauntlet.core.source`). Empty, and not written, in records
    from before it was there, and of a class that is not registered."""


class PluginRef(PluginKey):
    """A plugin as a record names it, with its own description. Fields without text are not written, so that records
    from before they existed keep their digests."""

    summary: str = Field(default="", exclude_if=lambda text: not text)
    """The first paragraph of the docstring of its module, on one line."""
    citation: str = Field(default="", exclude_if=lambda text: not text)
    """The BibTeX entries of its attribute `citation`."""
    policy: str = Field(default="", exclude_if=lambda text: not text)
    """What a defense refuses as such (its attribute `policy`)."""

    @classmethod
    def of(cls, plugin: Plugin, hyperparameters: dict[str, Scalar], source: str = "") -> PluginRef:
        """The loaded `plugin` with the hash of its source."""
        return cls(
            name=plugin.name,
            distribution=plugin.distribution,
            version=plugin.version,
            hyperparameters=hyperparameters,
            source=source,
            summary=plugin.summary,
            citation=plugin.citation,
            policy=plugin.policy,
        )

    @property
    def key(self) -> PluginKey:
        """The plugin without its description."""
        return PluginKey(**{name: getattr(self, name) for name in PluginKey.model_fields})


class SuiteRef(Part):
    """The attack suite and the evaluator: name, version and a hash of all parameters."""

    id: str
    version: str
    fingerprint: str


class Environment(Part):
    """Where the cell ran. `device` is a description; `commit` is empty outside a checkout."""

    recgauntlet: str
    commit: str
    python: str
    torch: str
    transformers: str
    platform: str
    processor: str
    device: str
    threads: int
    precision: str
