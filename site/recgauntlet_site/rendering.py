"""Pages from templates, with the filters and functions that these use."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from functools import cache
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recgauntlet.core.card import RANKING_TIER, TIERS
from recgauntlet.leaderboard.paired import twin_of
from recgauntlet.leaderboard.schema import FailedCell
from recgauntlet_site import cells, words
from recgauntlet_site.pictures.security_curves import axis, budgets, curves, point_at


def rendered(template: str, common: Mapping[str, Any], **own: Any) -> bytes:
    """A page of the `template`, with what is `common` to all pages and its `own`. An unknown name is an error."""
    return _environment().get_template(template).render(common, **own).encode()


@cache
def _environment() -> Environment:
    """Jinja with autoescape. It knows nothing of any board, so it serves all, and compiles each template once."""
    environment = Environment(
        loader=PackageLoader("recgauntlet_site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_shown,
    )
    environment.filters.update(
        share=cells.share,
        within=cells.within,
        tally=cells.tally,
        point_at=point_at,
        counted=words.counted,
        percent=words.percent,
        points=words.points,
        times=words.times,
        seconds=words.seconds,
        size=words.size,
        scalar=words.scalar,
        joined=words.joined,
        budget=words.budget,
        queries=words.queries,
        limits=words.limits,
        reason=_reason,
        quoted=shlex.quote,
    )
    environment.globals.update(
        TIERS=TIERS,
        cells=cells,
        RANKING_TIER=RANKING_TIER,
        SURFACES=words.SURFACE_WORDS,
        GOALS=words.GOAL_WORDS,
        twin_of=twin_of,
        axis=axis,
        budgets=budgets,
        curves_under=curves,
    )
    return environment


def _shown(value: Any) -> Any:
    """What a template prints: foreign text cannot hide or reorder what stands around it."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return words.visible(value)


def _reason(cell: FailedCell) -> str:
    """The line of a failed cell's message that says what went wrong, after the kind of error."""
    lines = [line.strip() for line in cell.message.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if not line.startswith("what to do:")), "")
    return last if last.startswith(f"{cell.kind}:") else f"{cell.kind}: {last}"
