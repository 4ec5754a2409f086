"""`recgauntlet cite`: references and a sentence for the software, a release, a task or a row."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from recgauntlet.leaderboard.citation import Citation


@click.command(short_help="Cite the software, a release or a row: BibTeX and a sentence.")
@click.argument("address", required=False)
@click.option("--format", "form", type=click.Choice(["text", "bibtex", "json"]), default="text")
@click.option("--attacks", is_flag=True, help="The papers of the suite's attacks too.")
@click.option("--site", help="The address of the published leaderboard. [what the package's metadata says]")
def cite(address: str | None, form: str, attacks: bool, site: str | None) -> None:
    """Print what to cite for ADDRESS: RELEASE, RELEASE/TASK, RELEASE/TASK/MODEL or RELEASE/TASK/MODEL/DEFENSE.

    Without an address: the software. With one: the release by its name and hash, the data sets, the papers of the
    models and the defenses, and for every row a sentence to paste with its numbers and its permanent place on the
    leaderboard. Missing references are reported, not guessed.

    \b
    Examples:
      recgauntlet cite
      recgauntlet cite 2026.5/video-watch/nrms/trades
      recgauntlet cite 2026.5 --format bibtex > recgauntlet.bib
    """
    from recgauntlet.core.escape import terminal
    from recgauntlet.leaderboard import citation
    from recgauntlet.leaderboard.address import locate

    if address is None:
        found = citation.cite_software()
    else:
        where = citation.leaderboard_url() if site is None else site
        found = citation.cite(locate(address), site=where.rstrip("/#"), attacks=attacks)
    if form == "json":
        click.echo(json.dumps(_content(found), indent=1))
        return
    for caution in found.cautions:
        click.echo(f"note: {terminal(caution)}", err=True)
    if form == "text":
        _print(found)
    click.echo("\n".join(map(str, found.entries)), nl=False)


def _print(found: Citation) -> None:
    from recgauntlet.core.escape import terminal

    for row in found.rows:
        click.echo(terminal(row.sentence))
        where = " on the leaderboard's page" if row.page.startswith("#") else ""
        click.echo(f"  {terminal(row.page)}{where}")
        click.echo()
    for reason in found.reasons:
        click.echo(f"{terminal(reason.what)}: {', '.join(entry.key for entry in reason.entries)}")
    click.echo()


def _content(found: Citation) -> dict[str, Any]:
    return {
        "cautions": list(found.cautions),
        "rows": [{"address": row.address, "sentence": row.sentence, "page": row.page} for row in found.rows],
        "references": [
            {"for": reason.what, "keys": [entry.key for entry in reason.entries]} for reason in found.reasons
        ],
        "bibtex": [
            {"type": entry.kind, "key": entry.key, "fields": dict(entry.fields), "text": str(entry)}
            for entry in found.entries
        ],
    }
