"""What to cite for a release or a row: software, release, data, papers; and a sentence with the numbers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import metadata

from recgauntlet.core.card import RANKING_TIER, TaskCard
from recgauntlet.core.names import shown
from recgauntlet.core.plugins import names
from recgauntlet.core.task import find_task
from recgauntlet.core.types import Surface
from recgauntlet.leaderboard import bibtex
from recgauntlet.leaderboard.address import Board, RowAt, Scope
from recgauntlet.leaderboard.bibtex import Entry
from recgauntlet.leaderboard.flags import seed_list
from recgauntlet.leaderboard.paired import Quantity, beside, twin_of
from recgauntlet.leaderboard.schema import Row, TaskTable, TierBudget
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.records.references import PluginRef
from recgauntlet.records.release import superseded_by
from recgauntlet.records.schema import RunRecord

TITLE = "RecGauntlet: how robust is a recommender system, and what does robustness cost?"
PACKAGE = "recgauntlet"


@dataclass(frozen=True)
class Reason:
    """Entries, and what they are to be cited for."""

    what: str
    entries: tuple[Entry, ...]


@dataclass(frozen=True)
class RowText:
    """A row's sentence to paste, its address for the other commands, and where it stands on the leaderboard's page."""

    address: str
    sentence: str
    page: str


@dataclass(frozen=True)
class Citation:
    """All there is to cite: `reasons` in order, `rows` (where an address names a task at least), and `cautions`."""

    reasons: tuple[Reason, ...]
    rows: tuple[RowText, ...]
    cautions: tuple[str, ...]

    @property
    def entries(self) -> tuple[Entry, ...]:
        """Every entry once."""
        return bibtex.merged(entry for reason in self.reasons for entry in reason.entries)


def cite_software() -> Citation:
    """The package itself, by its metadata."""
    return Citation((Reason("the software", (_software(),)),), (), ())


def cite(scope: Scope, *, site: str = "", attacks: bool = False) -> Citation:
    """What to cite for all that `scope` names.

    `site` is the address of the published leaderboard (`leaderboard_url` knows the package's own). With `attacks`, the
    papers of the suite's attacks too that ran on these rows.
    """
    board, rows = scope.board, scope.rows
    what = f"the {'release' if board.frozen else 'records'} {board.name}"
    reasons = [Reason("the software", (_software(),)), Reason(what, (_release(board, site),))]
    cautions = _cautions(board)
    for table in _tables(rows):
        card = installed_card(table) or own_card(table, board.records.values())
        if card is None:
            cautions.append(f"The task {table.task} is not installed as it was measured: cite its data by hand.")
        else:
            text = card.track(table.track).source.citation
            reasons += _read(text, f"the data of {table.task} ({table.track} track)", cautions)
    reasons += _plugins("model", [at.row.model for at in rows], cautions)
    reasons += _plugins("defense", [at.row.defense for at in rows], cautions)
    if attacks:
        reasons += _attacks(rows)
    named = scope.row is not None or len(_tables(rows)) < sum(bool(table.rows) for table in board.tables)
    texts = tuple(RowText(at.address, sentence(at), f"{site}#{at.anchor}") for at in rows) if named else ()
    return Citation(tuple(reasons), texts, tuple(dict.fromkeys(cautions)))


def sentence(at: RowAt) -> str:
    """The row in one sentence or two: what was measured, clean and robust accuracy with intervals, seeds, suite and
    release; and whether the board refuses to rank it."""
    table, row = at.table, at.row
    trained = "trained plainly" if _is_nothing(row.defense) else f"trained with {row.defense.name}"
    text = (
        f"On {table.task} (version {table.version}, {table.track} track, {table.examples_of(row):,} test examples), "
        f"{row.model.name} {trained} gets {_interval(row.clean)} of clean examples right"
    )
    if row.worst_cell is not None and row.worst is not None:
        text += (
            f" and keeps {_interval(row.worst_cell.robust)} right under {row.worst} ({_budget(table, row.worst)}), "
            "the ranked threat that hurts it most"
        )
    twin = twin_of(table, row)
    if twin is not None:
        text += f"; {_against(row, twin)}"
    seeds = "one seed" if len(row.seeds) == 1 else f"{len(row.seeds)} seeds"
    state = f"release {at.board.name}" if at.board.frozen else f"unfrozen records {at.board.name}"
    text += (
        f". Means over {seeds} with 95 % intervals; RecGauntlet {state} (SHA-256 {at.board.digest[:16]}), attack suite "
        f"{table.suite.id} {table.suite.version}."
    )
    if not table.ranked:
        text += f" {'Simulated data' if table.simulated else 'Demo track'}: never ranked, and no result."
    blocked = [flag.title for flag in row.flags if flag.blocks_rank]
    return text + (f" The board does not rank this row ({'; '.join(blocked)})." if blocked else "")


def _against(row: Row, twin: Row) -> str:
    """The undefended twin's numbers on the seeds that it shares with `row`; the row's too where these are not all of
    its seeds."""
    clean = beside(row, twin)
    if clean is None:
        return "its undefended twin has no seed in common"
    shared = sorted({*row.seeds} & {*twin.seeds})
    robust = None if twin.worst is None else beside(row, twin, Quantity(twin.worst))
    under = f" under {twin.worst}"
    theirs = f"{_share(clean[1])} and keeps {'nothing that is ranked' if robust is None else _share(robust[1]) + under}"
    if {*row.seeds} == {*twin.seeds}:
        return f"its undefended twin gets {theirs}"
    ours = "" if len(shared) == len(row.seeds) else f", where it gets {_share(clean[0])}"
    if ours and robust is not None:
        ours += f" and keeps {_share(robust[0])}{under}"
    return f"its undefended twin, on {seed_list(shared)} as well{ours}, gets {theirs}"


def leaderboard_url() -> str:
    """Where the leaderboard is published, by the package's metadata (the project URL "Leaderboard"); "" where there
    is none."""
    return _urls().get("leaderboard", "")


def installed_card(table: TaskTable) -> TaskCard | None:
    """The installed task's card if it is the very card that the records were made with, else None."""
    if table.task not in names("tasks"):
        return None
    card = find_task(table.task).card
    same = table.track in card.tracks and card.fingerprint(table.track) == table.fingerprint
    return card if same else None


def own_card(table: TaskTable, records: Iterable[RunRecord]) -> TaskCard | None:
    """The card of a user's own task as the records of the table have it, else None."""
    key = table.task, table.version, table.track, table.fingerprint
    found = (record.task for record in records)
    return next((t.card for t in found if t.card and (t.id, t.version, t.track, t.fingerprint) == key), None)


def _software() -> Entry:
    found = metadata(PACKAGE)
    return bibtex.entry(
        "misc",
        PACKAGE,
        {
            "title": TITLE,
            "author": found["Author"] or "",
            "howpublished": f"Python package, version {found['Version']}",
            "note": f"License: {found['License-Expression']}" if found["License-Expression"] else "",
            "url": next(iter(_urls().values()), ""),
        },
    )


def _urls() -> dict[str, str]:
    """The project's URLs by their labels in lower case."""
    lines = (line.partition(",") for line in metadata(PACKAGE).get_all("Project-URL") or ())
    return {label.strip().lower(): url.strip() for label, _, url in lines}


def _release(board: Board, site: str) -> Entry:
    kind = "release" if board.frozen else "records (not a frozen release)"
    return bibtex.entry(
        "misc",
        f"{PACKAGE}-{board.name}",
        {
            "title": f"RecGauntlet {kind} {board.name}",
            "author": metadata(PACKAGE)["Author"] or "",
            "year": board.date[:4],
            "month": board.date[5:7],
            "day": board.date[8:10],
            "howpublished": f"{len(board.records)} run records",
            "note": f"SHA-256 {board.digest}",
            "url": site,
        },
    )


def _cautions(board: Board) -> list[str]:
    said = []
    if not board.frozen:
        said.append(
            f"{board.name} is not a frozen release: its numbers may change. The SHA-256 is over the digests of its "
            "records as they are now."
        )
    else:
        for newer in superseded_by(board.name, board.directory.parent):
            said.append(f"The release {board.name} was corrected by {newer}: cite that one.")
    if board.results.broken:
        said.append(f"{len(board.results.broken)} files of {board.name} cannot be read and are left out.")
    return said


def _read(text: str, what: str, cautions: list[str]) -> Iterator[Reason]:
    """The entries that a card or a plugin gives for itself; a caution where they are no BibTeX."""
    try:
        entries = bibtex.parse(text)
    except ValueError as error:
        cautions.append(f"The reference for {what} cannot be read ({error}): cite it by hand.")
        return
    if entries:
        yield Reason(what, entries)


def _plugins(what: str, refs: Sequence[PluginRef], cautions: list[str]) -> Iterator[Reason]:
    """The references that the plugins of `refs` gave for themselves when their cells ran."""
    for ref in {(ref.name, ref.distribution, ref.citation): ref for ref in refs}.values():
        if ref.citation:
            yield from _read(ref.citation, f"the {what} {ref.name}", cautions)
        elif not _is_nothing(ref):
            cautions.append(f"The {what} {ref.name} names no reference.")


def _attacks(rows: Sequence[RowAt]) -> Iterator[Reason]:
    from recgauntlet.attacks.suite import suite_attacks

    ran = {tally.name for at in rows for cells in at.row.threats for cell in cells.cells for tally in cell.attacks}
    for attack in suite_attacks():
        if attack.name in ran and attack.citation:
            yield Reason(f"the attack {attack.name}", bibtex.parse(attack.citation))


def _tables(rows: Sequence[RowAt]) -> list[TaskTable]:
    return list({at.table.setting: at.table for at in rows}.values())


def _is_nothing(defense: PluginRef) -> bool:
    return defense.name == "standard" and defense.distribution == PACKAGE


def _share(value: float) -> str:
    return f"{100 * value:.1f} %"


def _interval(value: Estimate) -> str:
    return f"{_share(value.value)} ({100 * value.low:.1f} to {100 * value.high:.1f})"


def _budget(table: TaskTable, threat: str) -> str:
    """What the tier of the ranking allows: "medium tier: 2 words, 500 queries"."""
    tier = f"{shown('tier', RANKING_TIER)} tier"
    column = next(column for column in table.threats if column.id == threat)
    budget = next((b for b in column.budgets if b.tier == RANKING_TIER), None)
    if budget is None:
        return tier
    return f"{tier}: {budget_in_words(column.surface, budget)}"


def budget_in_words(surface: Surface, budget: TierBudget) -> str:
    """What a tier allows: "2 words or 4 characters, 500 queries an example"."""
    unit = {"history": "edit", "candidate-text": "word"}.get(surface, "of the embeddings' norm")
    unit += "s" if surface in ("history", "candidate-text") and budget.amount != 1 else ""
    either = f" or {budget.characters} characters" if budget.characters else ""
    return f"{budget.amount:g} {unit}{either}, {budget.queries:,} queries an example"
