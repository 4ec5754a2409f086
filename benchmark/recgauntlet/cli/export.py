"""`recgauntlet export`: a trained model as one file for another runtime, with its card."""

from __future__ import annotations

from pathlib import Path

import click

from recgauntlet.cli.options import PATH, DataOptions, data_options
from recgauntlet.cli.serving import open_checkpoint, results_option, trust_option
from recgauntlet.core.errors import OutputError
from recgauntlet.core.escape import terminal
from recgauntlet.serving.export import CARD, PAGE, Subject
from recgauntlet.serving.export import export as export_model
from recgauntlet.serving.formats import FORMATS, Format, require_packages


@click.command(short_help="Export a trained model to ONNX, torch.export or safetensors, with its card.")
@click.argument("checkpoint", type=PATH)
@click.option("--to", "kind", type=click.Choice(FORMATS), required=True, help="The format.")
@click.option("--out", type=PATH, required=True, metavar="DIR", help="The new directory for the file and its card.")
@click.option("--task", help="The path of the card, where the task is your own. [what the checkpoint was trained for]")
@results_option
@trust_option
@data_options
def export(
    checkpoint: Path,
    kind: Format,
    out: Path,
    task: str | None,
    results: Path | None,
    trust_plugins: bool,
    data: DataOptions,
) -> None:
    """Write the model of CHECKPOINT to the new directory DIR: the file, card.json and README.md.

    CHECKPOINT is a .safetensors file that `recgauntlet run` wrote, or the address of a cell,
    RELEASE/TASK/MODEL/DEFENSE/SEED. onnx and torch-export hold one graph that scores candidates of one user by their
    ids or tokens, with the defense where it acts on these; safetensors holds the weights. The scores of the file are
    compared with the model's on all test pairs. Where they differ, or the model cannot be exported, the exit code is 2
    and nothing is written. The card repeats the row of the model: what it keeps under which budget, and its flags.

    \b
    Examples:
      recgauntlet export demo/checkpoints/video-watch/demo/nrms-pgd-0.safetensors --to onnx --out nrms-pgd
      recgauntlet export results/mine/video-watch/bpr-mf/none/0 --to torch-export --out bpr-mf
    """
    require_packages(kind)
    if out.exists():
        raise OutputError("exists already", where=out, field="--out", remedy="name a new directory")
    opened = open_checkpoint(
        checkpoint,
        results=results,
        task=task,
        device="cpu",
        threads=1,
        data=data,
        trust_plugins=trust_plugins,
        needs_row=True,
    )
    subject = Subject(opened.model, opened.loaded.data, opened.card, opened.path.read_bytes(), opened.rebuilt)
    card = export_model(subject, kind, out)
    agreed = card.agreement
    click.echo(terminal(f"{out / card.file}: {card.bytes:,} bytes, SHA-256 {card.sha256}"))
    click.echo(
        f"scores of {agreed.examples:,} test examples differ by at most {agreed.largest_difference:.2g} of their "
        f"spread ({agreed.tolerance:g} is allowed), computed by {agreed.by}"
    )
    for spec in (*card.inputs, *card.outputs):
        click.echo(f"{spec.name}: {spec.dtype} [{', '.join(map(str, spec.shape))}]")
    if card.model.row is not None:
        click.echo(terminal(card.model.row.in_short))
    click.echo(terminal(f"card: {out / CARD} and {out / PAGE}"))
    if card.model.data.notice:
        click.echo(terminal(f"note: {card.model.data.notice}"), err=True)
