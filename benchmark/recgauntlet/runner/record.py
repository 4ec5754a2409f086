"""Making a cell's record from what was measured: the one place where arrays become columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch

from recgauntlet.attacks.suite import suite_ref
from recgauntlet.core.card import TaskCard
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.files import twins
from recgauntlet.core.plugins import Kind, Plugin, whose
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.source import source_of
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Scalar, Surface
from recgauntlet.data.custom import find_task_or_card
from recgauntlet.data.user_attributes import UserCodes
from recgauntlet.evaluation.evidence import with_inputs
from recgauntlet.evaluation.first_pairs import described
from recgauntlet.evaluation.gauntlet import GauntletResult
from recgauntlet.evaluation.groups import groups_of
from recgauntlet.evaluation.setup import Trial
from recgauntlet.evaluation.user_groups import user_groups_of
from recgauntlet.records.poisoning import TrainingDataOutcome
from recgauntlet.records.references import Environment, PluginRef, TaskRef
from recgauntlet.records.schema import Evidence, Failure, RunRecord, TrainingCost
from recgauntlet.training.build import OpenCell
from recgauntlet.training.checkpoint import CheckpointInfo
from recgauntlet.training.cost import inference_latency
from recgauntlet.training.device import choose_device, describe, now


@dataclass(frozen=True)
class Machine:
    """Where and since when a cell runs."""

    device: torch.device
    precision: str
    started: str

    @classmethod
    def of(cls, spec: CellSpec, model: Plugin, started: str = "") -> Machine:
        """The device that the spec asks for, with its threads set; `started` is now where it is not given."""
        torch.set_num_threads(spec.threads)
        device = choose_device(spec.device)
        return cls(device, precision_of(spec.precision, device, model), started or now())

    @property
    def environment(self) -> Environment:
        """What the record repeats of it."""
        return describe(self.device, self.precision)


def precision_of(wanted: str, device: torch.device, model: Plugin) -> str:
    """`auto` is bf16 on CUDA for models whose class allows it (`trains_in_bf16`), fp32 everywhere else."""
    if wanted != "auto":
        return wanted
    return "bf16" if device.type == "cuda" and model.value.trains_in_bf16 else "fp32"


class Header(NamedTuple):
    """What a record repeats of its cell, whatever became of it."""

    spec: CellSpec
    card: TaskCard
    model: PluginRef
    defense: PluginRef
    environment: Environment
    started: str

    @classmethod
    def of(cls, cell: OpenCell, machine: Machine, info: CheckpointInfo | None = None) -> Header:
        """The header of an open cell; with `info`, that of its weights, the sources are those that trained them."""
        sources = info.sources if info else (cell.refs[0].source, cell.refs[1].source)
        model, defense = (
            ref.model_copy(update={"source": source}) for ref, source in zip(cell.refs, sources, strict=True)
        )
        return cls(cell.spec, cell.task.card, model, defense, machine.environment, machine.started)


def make_record(
    header: Header,
    data: TaskData | None = None,
    *,
    result: GauntletResult | None = None,
    weights: str = "",
    info: CheckpointInfo | None = None,
    cost: TrainingCost | None = None,
    failure: Failure | None = None,
    poisoning: tuple[TrainingDataOutcome, ...] = (),
    attributes: Sequence[UserCodes] = (),
) -> RunRecord:
    """The record of a cell that was evaluated (`result`) or failed (`failure`).

    `data` is None where reading it failed, and has all test pairs, whichever were attacked; `weights` is the hash of
    the trained weights, and `info` what their checkpoint states (None: training is not part of the record).
    `attributes` are those of the data's users.
    """
    spec, card = header.spec, header.card
    source = card.track(spec.track).source
    threats = result.threats if result else ()
    record = RunRecord(
        status="failed" if failure else "ok",
        task=TaskRef(
            id=card.id,
            version=card.version,
            track=spec.track,
            fingerprint=card.fingerprint(spec.track),
            data_fingerprint=data.fingerprint if data else card.track(spec.track).fingerprint,
            simulated=source.simulated,
            redistributable=source.redistributable,
            card=card if spec.task.endswith(".toml") else None,
        ),
        model=header.model,
        defense=header.defense,
        seed=spec.seed,
        suite=suite_ref(),
        environment=header.environment,
        started=header.started,
        finished=now(),
        clean=result.clean.to_record() if result else None,
        threats=tuple(threat.to_record() for threat in threats),
        ranking=tuple(threat.ranking.to_record() for threat in threats if threat.ranking),
        promotion=tuple(threat.promotion.to_record() for threat in threats if threat.promotion),
        certified=tuple(one.to_record() for threat in threats for one in threat.certified),
        ads=tuple(one.to_record() for one in result.ads) if result else (),
        poisoning=poisoning,
        first_pairs=described(spec.test_pairs, card.track(spec.track), data),
        groups=groups_of(data, result.clean) if result and data else (),
        naturalness=result.naturalness if result else None,
        gates=result.gates if result else (),
        cost=cost,
        epochs=info.epochs if info else (),
        recipe=info.recipe if info else {},
        weights_sha256=weights,
        training_commit=info.commit if info else "",
        evidence=_evidence(result, shows_text=source.redistributable) if result else (),
        failure=failure,
    )
    if result is None or data is None:
        return record
    users = data.test.users[: len(result.clean.labels) // 2]
    return record.model_copy(update={"user_groups": user_groups_of(record, attributes, users)})


def record_dead_cell(
    spec: CellSpec, failure: Failure, model: dict[str, Scalar], defense: dict[str, Scalar]
) -> RunRecord:
    """The record of a cell whose process could not write its own; its plugins are not loaded. `model` and `defense`
    are their hyper-parameters, as far as they are known."""

    def unloaded(kind: Kind, name: str, hyperparameters: dict[str, Scalar]) -> PluginRef:
        distribution, version = whose(kind, name)
        return PluginRef(
            name=name,
            distribution=distribution,
            version=version,
            hyperparameters=hyperparameters,
            source=source_of(kind, name),
        )

    header = Header(
        spec,
        find_task_or_card(spec.task).card,
        unloaded("models", spec.model, model),
        unloaded("defenses", spec.defense, defense),
        describe(choose_device(spec.device), "fp32" if spec.precision == "auto" else spec.precision),
        now(),
    )
    return make_record(header, failure=failure)


def cost_of(
    info: CheckpointInfo, model: Recommender, trial: Trial, device: torch.device, twin: CheckpointInfo | None
) -> TrainingCost:
    """What training cost, compared with the undefended twin's, and how fast the served `model` scores."""
    items = torch.arange(min(1000, len(trial.world.catalog)), device=device)
    return TrainingCost(
        seconds=info.seconds,
        steps=info.steps,
        forwards=info.forwards,
        backwards=info.backwards,
        flops=info.flops,
        peak_memory_bytes=info.peak_memory_bytes,
        parameters=sum(p.numel() for p in model.parameters()),
        # seconds of different machines cannot be compared
        seconds_ratio=info.seconds / twin.seconds if twin and twin.processor == info.processor else None,
        flops_ratio=info.flops / twin.flops if twin and twin.flops else None,
        inference_ms_per_1000=inference_latency(model, trial.batch.users, items),
        devices=info.devices,
    )


def twin_directory(source: SourceOptions) -> Path:
    """Where inputs that fool the undefended twins are kept."""
    return twins(source.cache)


def _evidence(result: GauntletResult, *, shows_text: bool) -> tuple[Evidence, ...]:
    """The perturbed inputs that are kept, some with their clean inputs where the licence lets text be shown."""
    evidence = tuple(found for threat in result.threats for found in threat.evidence)
    if not shows_text:
        return evidence
    surfaces: dict[str, Surface] = {threat.threat.id: threat.threat.surface for threat in result.threats}
    return with_inputs(evidence, result.trial.world.catalog, result.trial.batch, surfaces)
