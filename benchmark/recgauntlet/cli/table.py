"""`recgauntlet table`: chosen rows of a release as LaTeX, Markdown, HTML or CSV."""

from __future__ import annotations

from pathlib import Path

import click

from recgauntlet.core.files import CURRENT
from recgauntlet.core.names import stored

KEYS = {
    "task": "tasks",
    "track": "tracks",
    "model": "models",
    "defense": "defenses",
    "threat": "threats",
    "tier": "tiers",
}
FORMATS = ("markdown", "latex", "html", "csv")


def selected(ctx: click.Context, parameter: click.Parameter, value: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """`KEY=VALUE`, repeated or with commas: what is wanted of each key."""
    chosen: dict[str, list[str]] = {}
    for part in value:
        for pair in part.split(","):
            key, equals, name = pair.partition("=")
            if not equals or key.strip() not in KEYS:
                raise click.BadParameter(f"{pair!r}: give KEY=VALUE, KEY being one of: {', '.join(KEYS)}")
            key, name = key.strip(), name.strip()
            chosen.setdefault(KEYS[key], []).append(stored(key, name))
    return {key: tuple(names) for key, names in chosen.items()}


def columns(ctx: click.Context, parameter: click.Parameter, value: str | None) -> tuple[str, ...] | None:
    """Names with commas."""
    return None if value is None else tuple(dict.fromkeys(name.strip() for name in value.split(",") if name.strip()))


@click.command("table", short_help="Print chosen rows as LaTeX, Markdown, HTML or CSV.")
@click.argument("release", default=CURRENT)
@click.option("--format", "form", type=click.Choice(FORMATS), default="markdown")
@click.option(
    "--select",
    "chosen",
    multiple=True,
    callback=selected,
    help="KEY=VALUE, repeated or with commas; KEY is task, track, model, defense, threat or tier. [tier=medium]",
)
@click.option(
    "--columns", "wanted", callback=columns, help="Names with commas. [rank, accuracies, FLOPs ratio; CSV: all]"
)
@click.option("--out", type=click.Path(dir_okay=False, path_type=Path), help="The file to write. [standard output]")
def table(
    release: str, form: str, chosen: dict[str, tuple[str, ...]], wanted: tuple[str, ...] | None, out: Path | None
) -> None:
    """Print the tables of RELEASE (name or directory; the current one if you name none) for a paper or a program.

    The numbers are those of the leaderboard: the same code computes both. The best of a column is marked, and what
    cannot be told from it; stars tell which defended rows differ from their undefended twins (the paired test of the
    ranks; see docs/results/citing.md). The caption names the release. LaTeX
    needs the package booktabs. CSV is unrounded and holds every tier unless you select one.

    \b
    Columns: rank, p_best, clean_accuracy, robust_accuracy, certified_accuracy, retained, attack_success, auc, gauc,
    impression_auc, mrr, ndcg@5, ndcg@10, training_seconds, training_seconds_ratio, training_flops,
    training_flops_ratio, training_forwards, training_backwards, peak_memory_bytes, parameters, inference_ms_per_1000,
    attack_seconds;
    auc_popular to ndcg@10_popular where unclicked candidates are also drawn by popularity; recall@10_catalog,
    ndcg@10_catalog and mrr_catalog among all items, where unclicked candidates are drawn. CSV has more.

    \b
    Examples:
      recgauntlet table 2026.5
      recgauntlet table 2026.5 --format latex --select task=video-watch --out video.tex
      recgauntlet table 2026.5 --select threat=history-perturbation,tier=low,tier=medium,tier=high
      recgauntlet table 2026.5 --format csv --columns clean_accuracy,robust_accuracy,p_twin --out rows.csv
    """
    from recgauntlet.core.escape import terminal
    from recgauntlet.core.files import write_atomically
    from recgauntlet.leaderboard.address import open_board
    from recgauntlet.leaderboard.paper_table import COLUMNS, DEFAULT, build_paper_tables
    from recgauntlet.leaderboard.paper_table_text import to_html, to_latex, to_markdown
    from recgauntlet.leaderboard.selection import Selection
    from recgauntlet.leaderboard.table_csv import csv_of

    if form != "csv" and (strange := [name for name in wanted or () if name not in COLUMNS]):
        raise click.BadParameter(f"there is no column {strange[0]!r}; there are: {', '.join(COLUMNS)}")
    board = open_board(release)
    for path, error in board.results.broken:
        click.echo(f"warning: {terminal(f'{path} is left out: {error.problem}')}", err=True)
    selection = Selection(**chosen)
    if form == "csv":
        content = csv_of(board, selection, wanted)
    else:
        writers = {"markdown": to_markdown, "latex": to_latex, "html": to_html}
        content = writers[form](build_paper_tables(board, selection, wanted or DEFAULT)).encode()
    if out is None:
        click.echo(content.decode(), nl=False)
    else:
        write_atomically(out, content)
        click.echo(f"{out}", err=True)
