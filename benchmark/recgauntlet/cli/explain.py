"""`recgauntlet explain`: what turns one decision of a trained model, and what each part of the input adds to it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from recgauntlet.cli.options import PATH, DataOptions, TierName, data_options, device_option, threads_option
from recgauntlet.cli.progress import with_bar
from recgauntlet.cli.results_place import results_of, weights_of
from recgauntlet.core.card import Tier
from recgauntlet.core.errors import RecordError
from recgauntlet.core.escape import shortened, terminal
from recgauntlet.core.names import shown
from recgauntlet.core.spec import file_safe
from recgauntlet.core.types import Edit
from recgauntlet.evaluation.attribution import Attribution
from recgauntlet.evaluation.explanation import Explanation
from recgauntlet.records.explanations import FOLDER, write_explanation
from recgauntlet.records.io import read_record
from recgauntlet.records.manifest import check_not_frozen
from recgauntlet.records.schema import Evidence, RunRecord
from recgauntlet.runner.explain import explain_record, explained_evidence
from recgauntlet.runner.explanation_file import explanation_file
from recgauntlet.runner.trained import Setup

_LABEL_WIDTH = 40


@click.command(short_help="Explain what turns one decision of a trained model.")
@click.argument("record", type=PATH)
@click.argument("example", type=click.IntRange(0), required=False)
@click.option("--threat", help="A threat to texts or histories. [that of the record's edit, else the first that fits]")
@click.option("--tier", type=TierName(), help="The tier of the edit. [that of the record's edit, else medium]")
@click.option("--checkpoint", type=PATH, help="The trained weights. [where run left them]")
@click.option("--parts", "most", type=click.IntRange(1), default=20, help="Words or items to print at most.")
@click.option("--out", type=PATH, help="Write the explanation as JSON too, all parts of it.")
@click.option("--publish", is_flag=True, help="Write it below explanations/ of the results too, for the row's page.")
@click.option("--task", help="The path of your own card, where the task is your own.")
@device_option
@threads_option
@data_options
def explain(
    record: Path,
    example: int | None,
    threat: str | None,
    tier: Tier | None,
    checkpoint: Path | None,
    most: int,
    out: Path | None,
    publish: bool,
    task: str | None,
    device: str,
    threads: int,
    data: DataOptions,
) -> None:
    """Explain the decision of the model of RECORD (a JSON file of recgauntlet run) on the test example EXAMPLE.

    It prints an edit that turns the decision, the smallest such edit that was found, and what each word of the
    candidate's text (or each item of the history) adds to the score, before and after the edit: by deleting it, and by
    integrated gradients (Captum; pip install 'recgauntlet[explain]'). The edit is the record's; where the record has
    none of this example, the suite's attacks search for one. Without EXAMPLE, the edits of the record are listed.

    Even numbers are examples that the user clicked, odd numbers are not. The file of --out has no text of data that may
    not be redistributed; the terminal shows your own copy. --publish keeps the explanation of an edit of the record
    beside the records, and the row's page shows it, for data that may be redistributed. See docs/results/explaining.md.

    \b
    Examples:
      recgauntlet explain demo/ecommerce-purchase/demo/nrms-standard-0.json
      recgauntlet explain demo/ecommerce-purchase/demo/nrms-standard-0.json 17 --out why.json
      recgauntlet explain demo/ecommerce-purchase/demo/nrms-standard-0.json 17 --publish
    """
    console = Console(highlight=False)
    cell = read_record(record)
    if example is None:
        _print_evidence(console, explained_evidence(cell, threat, tier))
        return
    if publish:
        _check_publishable(record, cell, explained_evidence(cell, threat, tier), example)
    weights = weights_of(record, checkpoint)
    setup = Setup(data.sources(), task, device, threads)
    found = with_bar(
        console,
        lambda report: explain_record(cell, weights, setup, example, threat=threat, tier=tier, progress=report),
    )
    _print(console, cell, found, most)
    if out is not None:
        write_explanation(explanation_file(cell, found), out)
        without = "" if cell.task.redistributable else ", without texts: the data may not be redistributed"
        _line(console, f"explanation written to {out}{without}")
    if publish:
        made, place = explanation_file(cell, found), _place_of(record, cell, found)
        if made.evidence_in(cell) is None:
            raise RecordError(
                "has other scores as evidence than the model gives here, so no page would show the explanation",
                where=record,
                field="--publish",
                remedy="explain it on the device and at the precision of the record (recgauntlet show)",
            )
        write_explanation(made, place)
        _line(console, f"explanation for the row's page written to {place}")


def _check_publishable(record: Path, cell: RunRecord, entries: Sequence[Evidence], example: int) -> None:
    """RecordError where no page may or can show the explanation of an example."""
    check_not_frozen(results_of(record), "--publish")
    if not cell.task.redistributable:
        raise RecordError(
            f"is of {cell.task.id} ({cell.task.track}), data that may not be redistributed, so no page shows its texts",
            where=record,
            field="--publish",
            remedy="leave out --publish; --out FILE writes numbers, places and edits without texts",
        )
    known = sorted({entry.example for entry in entries})
    if example not in known:
        some = f"choose among {', '.join(map(str, known[:20]))}" if known else "choose a record that has some"
        raise RecordError(
            f"has no edit of test example {example} as evidence, which a page needs to compare",
            where=record,
            field="--publish",
            remedy=f"{some} (recgauntlet explain RECORD lists them)",
        )


def _place_of(record: Path, cell: RunRecord, found: Explanation) -> Path:
    """Below the results, beside the records: one file an example, threat and tier."""
    stem = record.name.removesuffix(".xz").removesuffix(".json")
    name = file_safe(f"{stem}-{found.example}-{found.threat.id}-{found.tier}") + ".json"
    return results_of(record).joinpath(FOLDER, file_safe(cell.task.id), cell.task.track, name)


def _line(console: Console, text: str) -> None:
    console.print(terminal(text), markup=False, soft_wrap=True)


def _print_evidence(console: Console, entries: Sequence[Evidence]) -> None:
    if not entries:
        _line(console, "the record has no edits of texts or histories that match; any test example can be searched")
        return
    table = Table("example", "threat", "tier", "attack", "edits", "score", "with edit", box=None, pad_edge=False)
    for entry in sorted(entries, key=lambda entry: entry.example):
        names = (str(entry.example), entry.threat, shown("tier", entry.tier), entry.attack, str(len(entry.edits)))
        numbers = (_number(entry.clean_score), _number(entry.score))
        table.add_row(*(escape(terminal(cell)) for cell in (*names, *numbers)))
    console.print(table)


def _print(console: Console, record: RunRecord, found: Explanation, most: int) -> None:
    cell = f"{record.task.id} ({record.task.track}) / {record.model.name} / {shown('defense', record.defense.name)}"
    console.print(
        terminal(f"{cell} / seed {record.seed}: test example {found.example}"),
        markup=False,
        style="bold",
        soft_wrap=True,
    )
    clicked = "clicked" if found.clicked else "did not click"
    _line(console, f"the user {clicked} the candidate: {found.candidate}")
    right = "right" if found.right else "wrong already, so there is nothing to turn"
    _line(console, f"score     {_decision(found.before.score)}: {right}")
    if found.flip is not None:
        where = f"{found.threat.id}, {shown('tier', found.tier)} tier; found by {found.flip.attack}"
        _line(console, f"edited    {_decision(found.flip.score)}: wrong ({where})")
        _line(console, f"edit      {_edits_text(found, found.flip.edits)}")
    elif found.right:
        _line(
            console,
            f"edited    no edit was found that turns it ({found.threat.id}, {shown('tier', found.tier)} tier; the "
            "suite's attacks on the model, every single edit, and a narrow search of two)",
        )
    if found.smallest is not None:
        count = len(found.smallest.edits)
        proof = "no smaller edit turns it" if found.smallest.is_smallest else "the smallest found, not proven"
        size = f"{count} edit{'s' if count > 1 else ''}, {_decision(found.smallest.score)}"
        _line(console, f"smallest  {size}; {proof} ({found.smallest.way})")
        if found.flip is not None and found.smallest.edits != found.flip.edits:
            _line(console, f"          {_edits_text(found, found.smallest.edits)}")
    console.print()
    _print_parts(console, found, most)


def _print_parts(console: Console, found: Explanation, most: int) -> None:
    """The edited parts and those that add most, at most `most`, in their order."""
    after = found.after
    columns = ["", "part", "deletion", "gradients", *(() if after is None else ("after: deletion", "gradients"))]
    table = Table(*columns, box=None, pad_edge=False, title="what each part adds to the score", title_justify="left")

    def weight(number: int) -> tuple[bool, float]:
        places = zip((found.before, after), found.rows[number], strict=True)
        sizes = [
            abs(value)
            for side, place in places
            if side is not None and place is not None
            for value in _values(side, place)
            if value is not None
        ]
        return _mark(found, number) != "", max(sizes, default=0.0)

    chosen = sorted(range(len(found.rows)), key=weight, reverse=True)[:most]
    for number in sorted(chosen):
        old, new = found.rows[number]
        cells = [_cells(found.before, old), *(() if after is None else (_cells(after, new),))]
        table.add_row(_mark(found, number), escape(_label(found, number)), *(cell for side in cells for cell in side))
    sides = [side for side in (found.before, after) if side is not None]
    rest = ["" if s.gradients is None else f"{s.gradients.rest:+.3f}" for s in sides]
    table.add_row("", "special tokens and padding", *(cell for value in rest for cell in ("", value)), style="dim")
    console.print(table)
    if found.change is not None and found.after is not None:
        changed, stayed, rest_of_it = found.change
        _line(
            console,
            f"the edit changes the score by {_number(found.after.score - found.before.score)}: {_number(changed)} by "
            f"parts that it changed, {_number(stayed)} by parts that stayed, {_number(rest_of_it)} by the rest "
            "(integrated gradients)",
        )
    if len(found.rows) > most:
        _line(console, f"{len(found.rows) - most} parts that add less are left out (--parts)")
    for name, side in zip(("before", "after"), sides, strict=False):
        _line(console, f"integrated gradients {name}: {_completeness(side)}")


def _completeness(side: Attribution) -> str:
    found = side.gradients
    if found is None:
        return "none, the model's scores are random"
    total = side.score - found.baseline
    verdict = "complete" if found.complete else "NOT COMPLETE, do not trust them"
    return (
        f"{verdict}: they sum to {total + found.gap:.4f}, the score {side.score:.4f} less that of the baseline "
        f"{found.baseline:.4f} is {total:.4f} ({found.steps} steps)"
    )


def _mark(found: Explanation, number: int) -> str:
    """How the edit touches a part."""
    old, new = found.rows[number]
    if found.after is None:
        return ""
    if old is None:
        return "+"
    if new is None:
        return "-"
    return "" if found.before.labels[old] == found.after.labels[new] else "*"


def _label(found: Explanation, number: int) -> str:
    old, new = found.rows[number]
    texts = [] if old is None else [found.before.labels[old]]
    if found.after is not None and new is not None and found.after.labels[new] not in texts:
        texts.append(found.after.labels[new])
    return " -> ".join(shortened(terminal(text), _LABEL_WIDTH) for text in texts)


def _values(side: Attribution, place: int) -> tuple[float | None, float | None]:
    return side.deletion[place], None if side.gradients is None else side.gradients.parts[place]


def _cells(side: Attribution, place: int | None) -> tuple[str, ...]:
    values = (None, None) if place is None else _values(side, place)
    return tuple("" if value is None else f"{value:+.3f}" for value in values)


def _edits_text(found: Explanation, edits: Sequence[Edit]) -> str:
    return "; ".join(_edit_text(found.before.labels, edit) for edit in edits)


def _edit_text(labels: Sequence[str], edit: Edit) -> str:
    at = f"{labels[edit.at]!r}" if edit.at < len(labels) else "the end"
    new = repr(edit.title or edit.new)
    return {"delete": f"delete {at}", "replace": f"replace {at} by {new}", "insert": f"insert {new} before {at}"}[
        edit.op
    ]


def _decision(score: float) -> str:
    return f"{_number(score)}, {'clicked' if score > 0 else 'not clicked'}"


def _number(score: float) -> str:
    return f"{score:+.4f}"
