"""The card of an exported or served model: what its row on the leaderboard says of it."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel, ConfigDict

from recgauntlet.core.card import RANKING_TIER, Source, Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.names import shown
from recgauntlet.core.types import Scalar
from recgauntlet.leaderboard.address import RowAt, open_board
from recgauntlet.leaderboard.citation import budget_in_words
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.schema import RunRecord
from recgauntlet.training.checkpoint import CheckpointInfo

RESTRICTED = (
    "The licence of the data does not allow to pass it on. The file holds what was learned from it, and no texts or "
    "users' names. Read the licence before you publish the file."
)


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class DataNotice(_Part):
    """The data behind a model, and what its licence allows."""

    name: str
    licence: str
    url: str
    redistributable: bool
    simulated: bool
    notice: str

    @classmethod
    def of(cls, source: Source) -> DataNotice:
        """Of a track's data."""
        return cls(
            name=source.name,
            licence=source.licence,
            url=source.url,
            redistributable=source.redistributable,
            simulated=source.simulated,
            notice="" if source.redistributable else RESTRICTED,
        )


class Kept(_Part):
    """Accuracy under attack at one tier: the row's, over all its seeds, and that of the seed of these weights."""

    tier: Tier
    budget: str
    robust: Estimate
    retained: Estimate
    robust_of_these_weights: float


class UnderThreat(_Part):
    """What a row keeps under one threat; not applicable where the model does not read what the threat changes."""

    threat: str
    surface: str
    ranked: bool
    applicable: bool
    tiers: tuple[Kept, ...]


class FlagOfRow(_Part):
    """A mark on the row, and whether it keeps the row from being ranked."""

    title: str
    explanation: str
    blocks_rank: bool


class RowCard(_Part):
    """The row of a model on the leaderboard of the directory it lies in; every number comes from the records."""

    address: str
    seeds: tuple[int, ...]
    examples: int
    rank: int | None
    clean: Estimate
    clean_of_these_weights: float
    threats: tuple[UnderThreat, ...]
    worst: str | None
    flags: tuple[FlagOfRow, ...]
    policy: str
    record: str
    """The digest of the record of these weights."""

    @classmethod
    def of(cls, at: RowAt, record: RunRecord) -> RowCard:
        """The row `at`, and the seed of `record` in it."""
        row, place = at.row, at.row.seeds.index(record.seed)
        threats = []
        for column in at.table.threats:
            under = row.under(column.id)
            budgets = {budget.tier: budget for budget in column.budgets}
            kept = tuple(
                Kept(
                    tier=cell.tier,
                    budget=budget_in_words(column.surface, budgets[cell.tier]),
                    robust=cell.robust,
                    retained=cell.retained,
                    robust_of_these_weights=cell.by_seed[place],
                )
                for cell in (under.cells if under else ())
            )
            applicable = under is not None and under.applicable
            threats.append(
                UnderThreat(
                    threat=column.id, surface=column.surface, ranked=column.ranked, applicable=applicable, tiers=kept
                )
            )
        return cls(
            # without the directory's path, which is of this machine
            address=f"{at.board.name}{at.address.removeprefix(at.board.where)}/{record.seed}",
            seeds=row.seeds,
            examples=at.table.examples_of(row),
            rank=row.rank,
            clean=row.clean,
            clean_of_these_weights=row.clean_by_seed[place],
            threats=tuple(threats),
            worst=row.worst,
            flags=tuple(
                FlagOfRow(title=flag.title, explanation=flag.explanation, blocks_rank=flag.blocks_rank)
                for flag in row.flags
            ),
            policy=row.policy.statement if row.policy else "",
            record=record.digest,
        )

    @property
    def in_short(self) -> str:
        """One sentence: clean accuracy and what the worst ranked threat leaves of it."""
        clean = f"{self.clean.value:.1%} of the test examples are right"
        worst = next((one for one in self.threats if one.threat == self.worst), None)
        kept = next((one for one in worst.tiers if one.tier == RANKING_TIER), None) if worst else None
        if worst is None or kept is None:
            return f"{clean}; there is no result under a ranked threat."
        where = f"under {worst.threat} ({shown('tier', kept.tier)} tier: {kept.budget})"
        return f"{clean}, and {kept.robust.value:.1%} stay right {where}."


class ModelCard(_Part):
    """Which model this is, what it was trained on, and its row."""

    task: str
    track: str
    task_fingerprint: str
    data_fingerprint: str
    data: DataNotice
    model: str
    model_options: dict[str, Scalar]
    defense: str
    defense_options: dict[str, Scalar]
    seed: int
    items: int
    history_length: int
    weights_sha256: str
    row: RowCard | None
    """None where no record of these weights is at hand."""


def model_card(
    info: CheckpointInfo, weights: str, source: Source, *, items: int, history_length: int, row: RowCard | None
) -> ModelCard:
    """The card of the weights with the hash `weights` and the header `info`, trained on the data of `source`."""
    return ModelCard(
        task=info.task,
        track=info.track,
        task_fingerprint=info.task_fingerprint,
        data_fingerprint=info.data_fingerprint,
        data=DataNotice.of(source),
        model=info.model,
        model_options=info.model_options,
        defense=shown("defense", info.defense),
        defense_options=info.defense_options,
        seed=info.seed,
        items=items,
        history_length=history_length,
        weights_sha256=weights,
        row=row,
    )


def find_row(directory: Path, weights: str) -> RowCard:
    """The row of the trained weights with the hash `weights` in a results directory or release.

    Raises
    ------
    RecordError
        Where no finished record in it is of these weights.
    """
    board = open_board(directory)
    for table in board.tables:
        for row in table.rows:
            at = RowAt(board, table, row)
            for record in at.records:
                if record.weights_sha256 == weights:
                    return RowCard.of(at, record)
    raise RecordError(
        "has no record of these weights, so what they keep under attack is not known",
        where=directory,
        field="weights_sha256",
        remedy="name the results directory in which they were trained and attacked (--results), or run the cell again "
        "with recgauntlet run",
    )
