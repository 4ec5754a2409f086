"""The Jinja environment: templates with the filters and functions that they use."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache, partial
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from recgauntlet.core.card import RANKING_TIER, TIERS
from recgauntlet.core.names import shown
from recgauntlet.core.quantities import seconds, size
from recgauntlet.leaderboard.absence import absence, absence_of_row, absence_of_worst
from recgauntlet.leaderboard.paired import CLEAN, Quantity, beside, twin_of
from recgauntlet.leaderboard.schema import FailedCell
from recgauntlet.metrics.groups import LEAST_PAIRS
from recgauntlet.records.naturalness import LARGEST_RATIO, LEAST_COSINE
from recgauntlet.records.user_groups import LEAST_USERS
from recgauntlet_site import format as text
from recgauntlet_site.filters import filter_values, filters_of

_FILTERS = (
    *(text.absent_mark, text.budget, text.counted, text.headline, text.joined, text.limits, text.percent, text.points),
    text.signed,
    *(text.queries, text.scalar, text.times, text.turned, seconds, size),
)


def rendered(template: str, common: Mapping[str, Any], **own: Any) -> bytes:
    """Render the `template` with the variables `common` to all pages and its `own`. An unknown variable is an error."""
    return _environment().get_template(template).render(common, **own).encode()


@cache
def _environment() -> Environment:
    """Jinja with autoescape; each template is compiled once."""
    environment = Environment(
        loader=PackageLoader("recgauntlet_site"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=_printable,
    )
    environment.filters.update({function.__name__: function for function in _FILTERS})
    environment.filters.update(reason=_reason)
    environment.filters.update(tier_name=partial(shown, "tier"), defense_name=partial(shown, "defense"))
    environment.globals.update(
        TIERS=TIERS,
        RANKING_TIER=RANKING_TIER,
        SURFACES=text.SURFACES,
        GOALS=text.GOALS,
        filter_values=filter_values,
        filters_of=filters_of,
        absence=absence,
        absence_of_row=absence_of_row,
        absence_of_worst=absence_of_worst,
        CLEAN=CLEAN,
        LARGEST_RATIO=LARGEST_RATIO,
        LEAST_PAIRS=LEAST_PAIRS,
        LEAST_USERS=LEAST_USERS,
        LEAST_COSINE=LEAST_COSINE,
        Quantity=Quantity,
        beside=beside,
        twin_of=twin_of,
    )
    return environment


def _printable(value: Any) -> Any:
    """The text that a template prints: control and direction characters are written as escapes."""
    if not isinstance(value, str) or isinstance(value, Markup) or value.isprintable():
        return value
    return text.visible(value)


def _reason(cell: FailedCell) -> str:
    """The kind of a failed cell's error and the last line of its message."""
    lines = [line.strip() for line in cell.message.splitlines() if line.strip()]
    last = next((line for line in reversed(lines) if not line.startswith("what to do:")), "")
    return last if last.startswith(f"{cell.kind}:") else f"{cell.kind}: {last}"
