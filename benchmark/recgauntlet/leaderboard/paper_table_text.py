"""Paper tables as LaTeX (booktabs), Markdown and HTML. Every text in them is escaped."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby

from recgauntlet.core import escape as escaping
from recgauntlet.leaderboard.paper_table import Heading, PaperTable, TableCell, TableLine

_NAME = 40
"""Characters of a name in a table that has to fit a page."""


def to_latex(tables: Sequence[PaperTable]) -> str:
    r"""A `table` environment each, which needs `\usepackage{booktabs}` alone.

    Best entries are bold, tied ones underlined; the interval stands below its value. With more than six columns of
    numbers a table is wider than the text of a usual page: choose fewer (`--columns`, `--select`), or a wider page.
    """
    return "\n".join(_latex_table(table) for table in tables)


def to_markdown(tables: Sequence[PaperTable]) -> str:
    """A table of GitHub's Markdown each, its caption above it. Best entries are bold, tied ones italic."""
    return "\n".join(_markdown_table(table) for table in tables)


def to_html(tables: Sequence[PaperTable]) -> str:
    """A `table` element each, without any style. Best entries are `strong`, tied ones `em`."""
    return "\n".join(_html_table(table) for table in tables)


def _latex_table(table: PaperTable) -> str:
    caption = f"{escaping.latex(table.title)}. {_notes(table, escaping.latex, 'bold', 'underlined')}"
    lines = [
        r"% needs \usepackage{booktabs}",
        f"% RecGauntlet, {escaping.latex(_short(table.release))}, SHA-256 {escaping.latex(table.digest)}",
        r"\begin{table}",
        r"\centering",
        r"\small",
        r"\setlength{\tabcolsep}{3pt}",
        rf"\caption{{{caption}}}",
        rf"\label{{{escaping.label(table.label)}}}",
        rf"\begin{{tabular}}{{@{{}}ll{'r' * len(table.heads)}@{{}}}}",
        r"\toprule",
        *_latex_heads(table.heads),
        r"\midrule",
    ]
    for place, line in enumerate(table.lines):
        lines += [*([r"\addlinespace"] if place else []), *_latex_rows(line)]
    return "\n".join([*lines, r"\bottomrule", r"\end{tabular}", r"\end{table}", ""])


def _latex_heads(heads: Sequence[Heading]) -> list[str]:
    """One line of headings, or two where threats have several columns: the threats above their tiers."""
    groups = [(group, len(list(part))) for group, part in groupby(heads, key=lambda head: head.group)]
    if all(size == 1 for group, size in groups if group):
        return [" & ".join(["model", "defense", *(_stacked(head.group or head.title) for head in heads)]) + r" \\"]
    above, rules, place = ["", ""], [], 3
    for group, size in groups:
        above.append(rf"\multicolumn{{{size}}}{{c}}{{{escaping.latex(_short(group))}}}")
        if group:
            rules.append(rf"\cmidrule(lr){{{place}-{place + size - 1}}}")
        place += size
    below = " & ".join(["model", "defense", *(_stacked(head.title) for head in heads)])
    return [" & ".join(above) + r" \\", " ".join(rules), below + r" \\"]


def _stacked(title: str) -> str:
    """A heading broken at its hyphens and blanks, so that it is no wider than the numbers below it."""
    parts = _short(title).replace("-", "-\n").replace(" ", "\n").split("\n")
    lines = r"\\".join(escaping.latex(part) for part in parts if part)
    return rf"\shortstack[r]{{{lines}}}"


def _latex_rows(line: TableLine) -> list[str]:
    mark = r"$^\dagger$" if line.unranked else ""
    first = [escaping.latex(_short(line.model)), escaping.latex(_short(line.defense)) + mark]
    options = escaping.latex(_short(line.options))
    second = [rf"\multicolumn{{2}}{{@{{}}l}}{{\scriptsize {options}}}"] if options else ["", ""]
    for entry in line.entries:
        value = escaping.latex(entry.text)
        value = rf"\textbf{{{value}}}" if entry.best else rf"\underline{{{value}}}" if entry.tied else value
        # marks hang to the right, so that the digits stay in line
        first.append(value + (rf"\rlap{{$^{{{entry.stars}}}$}}" if entry.stars else ""))
        second.append(rf"{{\scriptsize {escaping.latex(f'{entry.low}–{entry.high}')}}}" if entry.low else "")
    return [" & ".join(first) + r" \\", " & ".join(second) + r" \\"]


def _markdown_table(table: PaperTable) -> str:
    titles = ["model", "defense", *(f"{head.group} {head.title}".strip() for head in table.heads)]
    rows = [
        [
            escaping.markdown(_short(line.model)) + _options(line, escaping.markdown),
            escaping.markdown(_short(line.defense)) + (" †" if line.unranked else ""),
            *(_entry(entry, escaping.markdown, "**{}**", "*{}*", "[{}, {}]") for entry in line.entries),
        ]
        for line in table.lines
    ]
    caption = f"**{escaping.markdown(table.title)}.** {_notes(table, escaping.markdown, 'bold', 'italic')}"
    return "\n".join(
        [
            caption,
            "",
            f"| {' | '.join(escaping.markdown(_short(title)) for title in titles)} |",
            f"|---|---|{'---:|' * len(table.heads)}",
            *(f"| {' | '.join(row)} |" for row in rows),
            "",
        ]
    )


def _html_table(table: PaperTable) -> str:
    heads = "".join(f'<th scope="col">{_bdi(f"{head.group} {head.title}".strip())}</th>' for head in table.heads)
    marks = ("<strong>{}</strong>", "<em>{}</em>", "<small>[{}, {}]</small>")
    rows = "\n".join(
        f'<tr><th scope="row">{_bdi(line.model)}{_options(line, escaping.html)}</th>'
        f"<td>{_bdi(line.defense)}{' †' if line.unranked else ''}</td>"
        f"{''.join(f'<td>{_entry(entry, escaping.html, *marks)}</td>' for entry in line.entries)}</tr>"
        for line in table.lines
    )
    notes = _notes(table, escaping.html, "bold", "italic")
    return (
        f'<table id="{escaping.html(escaping.label(table.label))}">\n'
        f"<caption><bdi>{escaping.html(table.title)}</bdi>. {notes}</caption>\n"
        f'<thead><tr><th scope="col">model</th><th scope="col">defense</th>{heads}</tr></thead>\n'
        f"<tbody>\n{rows}\n</tbody>\n</table>\n"
    )


def _entry(entry: TableCell, escape: Callable[[str], str], best: str, tied: str, interval: str) -> str:
    """A cell of Markdown or HTML; `best`, `tied` and `interval` are templates."""
    value = (best if entry.best else tied if entry.tied else "{}").format(escape(entry.text))
    raised = f"<sup>{escape(entry.stars)}</sup>" if entry.stars else ""
    return f"{value}{raised} {interval.format(entry.low, entry.high)}" if entry.low else value


def _bdi(text: str) -> str:
    return f"<bdi>{escaping.html(_short(text))}</bdi>"


def _options(line: TableLine, escape: Callable[[str], str]) -> str:
    return f" ({escape(_short(line.options))})" if line.options else ""


def _notes(table: PaperTable, escape: Callable[[str], str], best: str, tied: str) -> str:
    return " ".join(escape(note.replace("@best", best.capitalize()).replace("@tied", tied)) for note in table.notes)


def _short(text: str) -> str:
    return escaping.shortened(text, _NAME)
