"""The trained weights behind the rows of a release: found, checked against their records, and loaded."""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from recgauntlet.core.errors import DataError, PluginError, RecordError
from recgauntlet.core.escape import markdown
from recgauntlet.core.files import cache_root, write_atomically
from recgauntlet.core.names import shown
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.spec import CellSpec
from recgauntlet.core.task import SourceOptions
from recgauntlet.core.types import Scalar
from recgauntlet.leaderboard.address import RowAt, locate, locate_rows, open_board
from recgauntlet.records.manifest import Finding, Weights, WeightsFile
from recgauntlet.records.release import ROOT, open_manifest
from recgauntlet.records.schema import RunRecord
from recgauntlet.runner.hub import fetch, sha256_of, wrong_content
from recgauntlet.runner.trained import Setup, load_cell
from recgauntlet.training.build import needs_plugins, sources_of
from recgauntlet.training.checkpoint import hash_of_file, read_info

CHECKPOINTS = "checkpoints"
"""The directory of a results directory in which weights lie (`CellSpec.checkpoint_path`)."""


@dataclass(frozen=True)
class Trained:
    """A finished cell of a row, and where its weights are: in a local file, or as `file` of the repository `place`.

    `path` is where the weights lie below `checkpoints`, locally and in a repository.
    """

    at: RowAt
    record: RunRecord
    path: str
    local: Path | None
    place: Weights | None = None
    file: WeightsFile | None = None

    @property
    def address(self) -> str:
        """RELEASE/TASK/MODEL/DEFENSE/SEED."""
        return f"{self.at.address}/{self.record.seed}"

    def weights(self, *, offline: bool = False) -> Path:
        """The file with the weights, downloaded where it must be, and checked against the record.

        Raises
        ------
        RecordError, DataError
            Where there are none, they cannot be downloaded, or they are not those of the record.
        """
        if self.local is not None:
            found = self.local
        elif self.place is not None and self.file is not None:
            found = fetch(self.place, self.file, offline=offline)
        else:
            raise RecordError(
                "has no weights: none lie beside the record, and no manifest names a repository with them",
                where=self.address,
                field="weights",
                remedy="name the results directory in which it was trained, or train it again with recgauntlet run",
            )
        self._check(found)
        return found

    def _check(self, path: Path) -> None:
        """RecordError where the weights or their header are not those of the record."""
        if problem := wrong_content(path):
            raise RecordError(
                f"is {problem} instead of weights", where=path, remedy="fetch the file itself, or train the cell again"
            )
        info, record = read_info(path), self.record
        options = info.model_options, info.defense_options
        for field, here, there in (
            ("weights_sha256", hash_of_file(path), record.weights_sha256),
            ("task", (info.task, info.track), (record.task.id, record.task.track)),
            ("task.data_fingerprint", info.data_fingerprint, record.task.data_fingerprint),
            ("model.name", info.model, record.model.name),
            ("defense.name", info.defense, record.defense.name),
            ("seed", info.seed, record.seed),
            ("hyperparameters", options, (record.model.hyperparameters, record.defense.hyperparameters)),
        ):
            if here != there:
                raise RecordError(
                    f"is not of the record {self.address}: {here} here, {there} there",
                    where=path,
                    field=field,
                    remedy="name the weights that belong to this record, or train the cell again",
                )


def trained_cells(rows: Sequence[RowAt]) -> list[Trained]:
    """Every finished cell of the rows, one a seed, with or without weights."""
    found = []
    manifests = {at.board.directory: open_manifest(at.board.directory) for at in rows}
    for at in rows:
        manifest = manifests[at.board.directory]
        paths = {record.digest: path for path, record in at.board.results.records}
        place = manifest.weights if manifest else None
        sources = {file.record: file.source for file in manifest.files} if manifest else {}
        files = {file.record: file for file in place.files} if place else {}
        for record in at.records:
            where, file = paths[record.digest], files.get(sources.get(record.digest, ""))
            name = where.name.removesuffix(".xz").removesuffix(".json")
            path = file.path if file else f"{record.task.id}/{record.task.track}/{name}.safetensors"
            local = where.absolute().parent.parent.parent / CHECKPOINTS / path  # above TASK/TRACK
            found.append(Trained(at, record, path, local if local.is_file() else None, place if file else None, file))
    return found


def find_trained(address: str, root: Path = ROOT) -> Trained:
    """The cell at `RELEASE/TASK/MODEL/DEFENSE/SEED`.

    Raises
    ------
    RecordError
        Where there is no such row or seed.
    """
    row, _, seed = address.rstrip("/").rpartition("/")
    if not seed.isdecimal():
        raise RecordError(
            "does not end in a seed",
            where=address,
            remedy="give RELEASE/TASK/MODEL/DEFENSE/SEED, like results/mine/video-watch/nrms/pgd/0",
        )
    (at,) = locate_rows(row, root=root)
    found = [cell for cell in trained_cells([at]) if cell.record.seed == int(seed)]
    if not found:
        raise RecordError(
            f"has no seed {seed}",
            where=row,
            field="seed",
            remedy=f"give one of: {', '.join(map(str, at.row.seeds))}",
        )
    return found[0]


def load_model(
    address: str,
    *,
    task: str | None = None,
    source: SourceOptions | None = None,
    device: str = "auto",
    trust_plugins: bool = False,
    root: Path = ROOT,
) -> Recommender:
    """The trained model of a row as it is served: with its defense, in evaluation mode, its weights frozen.

    The weights come from the results directory, or from the repository that the release's manifest names; they are
    checked against the record. The data of the task is needed too, since models are built from its catalog.

    Parameters
    ----------
    address
        RELEASE/TASK/MODEL/DEFENSE/SEED. RELEASE is a name below `root`, or the path of a results directory.
    task
        The path of the card, where the task is a user's own. [the installed task]
    source
        Where the data come from; with `offline` nothing is downloaded, no weights either. [downloads into the cache]
    trust_plugins
        Run the code of models and defenses that are not built-in in this process.

    Raises
    ------
    RecordError
        Where there is no such row, or its weights are missing or not those of the record.
    DataError
        Where weights or data cannot be downloaded.
    PluginError
        Where the model is a plugin's and `trust_plugins` is false, or the plugin is not installed.
    """
    source = source or SourceOptions(directory=None, cache=cache_root())
    cell = find_trained(address, root)
    if cell.record.task.card is not None and task is None:
        remedy = f"give the path of the card of {cell.record.task.id}: load_model(..., task=PATH)"
        raise RecordError("is of a user's own task", where=address, field="task", remedy=remedy)
    path = cell.weights(offline=source.offline)
    info, setup = read_info(path), Setup(lambda _: source, task, device)
    spec = setup.spec_of(info, path)
    if needs_plugins(spec, info) and not trust_plugins:
        raise PluginError(
            f"{spec.model} with {shown('defense', spec.defense)} needs code of a plugin in this process",
            where=address,
            remedy="read the plugin's source, then give trust_plugins=True",
        )
    record = cell.record
    trainers = (record.model.source, record.defense.source)
    if all(trainers) and trainers != sources_of(spec):
        warnings.warn(f"{address} was trained by other source code than is installed; scores may differ", stacklevel=2)
    loaded = load_cell(path, setup)
    if loaded.data.fingerprint != record.task.data_fingerprint:
        raise RecordError(
            "was trained on other data than this task has now",
            where=address,
            field="task.data_fingerprint",
            remedy="install the task in the version of the record, and the data that it names",
        )
    return loaded.served.eval().requires_grad_(False)


def check_weights(address: str, *, offline: bool = False, root: Path = ROOT) -> Iterator[tuple[str, Finding | None]]:
    """The address of every finished cell at `address` (RELEASE[/TASK[/MODEL[/DEFENSE]]]), with what is wrong with its
    weights; None where nothing is."""
    for cell in trained_cells(locate(address, root).rows):
        try:
            cell.weights(offline=offline)
        except (RecordError, DataError) as error:
            yield cell.address, Finding(error.where or "", error.field or "", error.problem)
        else:
            yield cell.address, None


def checkpoint_at(where: Path, *, offline: bool = False) -> Path:
    """The file of weights `where`, or of the cell with this address (RELEASE/TASK/MODEL/DEFENSE/SEED).

    Raises
    ------
    RecordError, DataError
        Where it is an address, as `find_trained` and `Trained.weights`.
    """
    if where.suffix == ".safetensors" or where.is_file():
        return where
    return find_trained(where.as_posix()).weights(offline=offline)


def weights_for(
    spec: CellSpec, options: tuple[dict[str, Scalar], dict[str, Scalar]] | None, cells: Sequence[Trained]
) -> Trained | None:
    """That of `cells` whose weights `spec` may attack in place of training: the same task, model, defense, seed and
    `options` of both; None where there is none."""
    wanted = (spec.task_id, spec.track, spec.model, spec.defense, spec.seed, options)
    for cell in cells:
        record = cell.record
        names = (record.task.id, record.task.track, record.model.name, record.defense.name, record.seed)
        if (*names, (record.model.hyperparameters, record.defense.hyperparameters)) == wanted and (
            cell.local is not None or cell.file is not None
        ):
            return cell
    return None


def bring(cell: Trained, spec: CellSpec, *, offline: bool = False) -> None:
    """Put the weights of `cell` where `spec` looks for its own.

    Raises
    ------
    RecordError, DataError, OutputError
        Where they cannot be had, are not those of the record, or the place cannot be written.
    """
    write_atomically(spec.checkpoint_path, cell.weights(offline=offline).read_bytes())


def local_cells(directories: Sequence[Path]) -> list[Trained]:
    """The finished cells of results directories whose weights lie beside their records.

    Raises
    ------
    RecordError
        Where there are none.
    """
    found = []
    for directory in directories:
        board = open_board(directory)
        rows = [RowAt(board, table, row) for table in board.tables for row in table.rows]
        found += [cell for cell in trained_cells(rows) if cell.local is not None]
    if not found:
        raise RecordError(
            "has no weights beside its records",
            where=", ".join(map(str, directories)),
            field=CHECKPOINTS,
            remedy="name the directory into which recgauntlet run wrote (--out)",
        )
    return found


def published(text: str, directories: Sequence[Path]) -> Weights:
    """What a manifest states of the weights of `directories`, which were pushed to `text`: OWNER/NAME@COMMIT.

    Raises
    ------
    RecordError
        Where `text` is not of that form, or there are no weights, or some are not those of their record.
    """
    repository, _, revision = text.partition("@")
    files = []
    for cell in local_cells(directories):
        path = cell.weights()
        size = path.stat().st_size
        files.append({"path": cell.path, "sha256": sha256_of(path), "bytes": size, "record": cell.record.digest})
    try:
        return Weights.model_validate({"repository": repository, "revision": revision, "files": files})
    except ValidationError as error:
        raise RecordError(
            f"{text!r} names no commit of a repository",
            field="--weights",
            remedy="give OWNER/NAME@COMMIT with the commit's full hash, as recgauntlet weights push prints it",
        ) from error


def readme(cells: Sequence[Trained]) -> str:
    """The page of a repository with the weights of `cells`."""
    lines = [
        "---",
        "library_name: recgauntlet",
        "tags: [recommender-systems, adversarial-robustness]",
        "---",
        "",
        "# Weights of recommenders, attacked by RecGauntlet",
        "",
        "`recgauntlet.load_model` loads them by the name of a release that names this repository and a commit.",
        "",
        "| file | task | model | defense | seed | weights (SHA-256) |",
        "|---|---|---|---|---|---|",
    ]
    for cell in cells:
        record = cell.record
        names = (cell.path, record.task.id, record.model.name, shown("defense", record.defense.name), str(record.seed))
        lines.append("| " + " | ".join(map(markdown, (*names, record.weights_sha256[:12]))) + " |")
    return "\n".join(lines) + "\n"
