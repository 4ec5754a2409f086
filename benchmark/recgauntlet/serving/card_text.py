"""The card of an export as a page of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from recgauntlet.core.card import RANKING_TIER
from recgauntlet.core.escape import markdown
from recgauntlet.core.names import shown
from recgauntlet.core.types import Scalar
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.serving.card import ModelCard, RowCard

if TYPE_CHECKING:
    from recgauntlet.serving.export import ExportCard

_USE = {
    "onnx": "`onnxruntime.InferenceSession({file!r}).run(None, {{name: array, ...}})`",
    "torch-export": "`torch.export.load({file!r}).module()(**tensors)`",
    "safetensors": "`recgauntlet attack {file}` reads it; its header names task, model, defense and options. A "
    "model is built from them and the catalog of the task, then takes these tensors.",
}


def card_page(card: ExportCard) -> str:
    """The page: what the file is, its inputs and outputs, what the model keeps under attack, its data."""
    model = card.model
    names = (model.model, model.defense, model.task, model.track, str(model.seed))
    heading = "{} ({}) for {} ({} track), seed {}".format(*map(markdown, names))
    lines = [f"# {heading}", ""]
    if model.row is not None:
        lines += [markdown(model.row.in_short), ""]
    agreed = card.agreement
    lines += [
        f"`{card.file}` ({card.format}, {card.bytes:,} bytes, SHA-256 `{card.sha256}`). Its scores of "
        f"{agreed.examples:,} test examples, computed by {agreed.by}, differ from the model's by at most "
        f"{agreed.largest_difference:.2g} of their spread ({agreed.tolerance:g} is allowed); {agreed.other_decisions} "
        "are on the other side of 0.",
        "",
        _USE[card.format].format(file=card.file),
        "",
    ]
    if card.inputs:
        rows = [
            (f"`{spec.name}`", side, spec.dtype, f"[{', '.join(map(str, spec.shape))}]", markdown(spec.meaning))
            for side, specs in (("input", card.inputs), ("output", card.outputs))
            for spec in specs
        ]
        lines += ["## Inputs and outputs", "", *_table(("name", "", "dtype", "shape", "meaning"), rows), ""]
        lines += [
            "A catalog index is the place of an item among the task's items in order of their ids. Item ids, texts and "
            "the tokenizer are not in the file: `recgauntlet.load_data` has the catalog, `recgauntlet.load_model` the "
            "model with its `tokenize`.",
            "",
        ]
    if model.row is not None:
        lines += _row(model.row)
    return "\n".join([*lines, *_origin(model)]) + "\n"


def _row(row: RowCard) -> list[str]:
    tested = f"{len(row.seeds)} seed{'s' if len(row.seeds) > 1 else ''}"
    lines = [
        "## What it keeps under attack",
        "",
        f"Shares of {row.examples:,} test examples that are right, over {tested}, with 95 % intervals. Clean: "
        f"{_share(row.clean)}; with these weights {row.clean_of_these_weights:.1%}. "
        f"{f'Rank {row.rank}.' if row.rank is not None else 'Not ranked.'}",
        "",
    ]
    rows = []
    for under in row.threats:
        name = markdown(under.threat) + ("" if under.ranked else " (not ranked)")
        if not under.applicable:
            rows.append((name, "", "", "does not read what this threat changes", "", ""))
        for kept in under.tiers:
            tier = shown("tier", kept.tier)
            marked = f"**{tier}**" if kept.tier == RANKING_TIER and under.ranked else tier
            own = f"{kept.robust_of_these_weights:.1%}"
            rows.append((name, marked, kept.budget, _share(kept.robust), _share(kept.retained), own))
    lines += _table(("threat", "tier", "budget", "right", "of the clean accuracy", "these weights"), rows)
    if row.policy:
        lines += [
            "",
            f"The defense {markdown(row.policy)}: what it keeps under text threats is a policy, not robustness.",
        ]
    lines += ["", "## Flags", ""]
    lines += [
        f"- **{markdown(flag.title)}**{' (keeps the row from being ranked)' if flag.blocks_rank else ''}: "
        f"{markdown(flag.explanation)}"
        for flag in row.flags
    ] or ["None."]
    return [*lines, ""]


def _origin(model: ModelCard) -> list[str]:
    data = model.data
    return [
        "## Data and weights",
        "",
        f"{markdown(data.name)} ({markdown(data.url)}). Licence: {markdown(data.licence)}."
        f"{' Simulated data.' if data.simulated else ''} {markdown(data.notice)}".rstrip(),
        "",
        *_table(
            ("", ""),
            [
                ("data fingerprint", f"`{model.data_fingerprint}`"),
                ("task fingerprint", f"`{model.task_fingerprint}`"),
                ("weights (SHA-256)", f"`{model.weights_sha256}`"),
                ("model options", _options(model.model_options)),
                ("defense options", _options(model.defense_options)),
                *([("row", markdown(model.row.address)), ("record", f"`{model.row.record}`")] if model.row else []),
            ],
        ),
    ]


def _options(options: Mapping[str, Scalar]) -> str:
    return markdown(", ".join(f"{name}={value!r}" for name, value in options.items()) or "none")


def _share(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} ({100 * estimate.low:.1f} to {100 * estimate.high:.1f})"


def _table(headings: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    lines = [tuple(headings), *map(tuple, rows)]
    made = ["| " + " | ".join(line) + " |" for line in lines]
    return [made[0], "|" + "---|" * len(lines[0]), *made[1:]]
