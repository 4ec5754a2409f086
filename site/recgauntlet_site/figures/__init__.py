"""The figures of the leaderboard, drawn with matplotlib: a table in, figures out, one module a kind."""

from collections.abc import Callable
from functools import partial

from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.figures.accuracy_cost import accuracy_cost as accuracy_cost
from recgauntlet_site.figures.all_tasks import all_tasks as all_tasks
from recgauntlet_site.figures.clean_robust import clean_robust as clean_robust
from recgauntlet_site.figures.describe import Figure as Figure
from recgauntlet_site.figures.describe import SavedFigure as SavedFigure
from recgauntlet_site.figures.heat_map import heat_map as heat_map
from recgauntlet_site.figures.security_curves import CurveGrid as CurveGrid
from recgauntlet_site.figures.security_curves import curve_grid as curve_grid
from recgauntlet_site.figures.security_curves import security_curves as security_curves
from recgauntlet_site.figures.seed_spread import seed_spread as seed_spread
from recgauntlet_site.figures.style import SERIES as SERIES
from recgauntlet_site.figures.style import style_sheet as style_sheet


def figures_of(table: TaskTable, *, prefix: str = "") -> tuple[Figure, ...]:
    """All figures that the table has values for: the first two kinds for each threat, then those of all threats.

    Names begin with `prefix`, which must differ between tables of one task that a site shows together.
    """
    return tuple(figure for draw in drawers(table, prefix=prefix) if (figure := draw()) is not None)


def drawers(table: TaskTable, *, prefix: str = "") -> list[Callable[[], Figure | None]]:
    """What draws the figures of `figures_of`, one each, in any process."""
    of_threats = [
        partial(kind, table, column, prefix=prefix)
        for kind in (clean_robust, security_curves)
        for column in table.threats
    ]
    return [*of_threats, *(partial(kind, table, prefix=prefix) for kind in (accuracy_cost, heat_map, seed_spread))]


def saved(draw: Callable[[], Figure | None]) -> SavedFigure | None:
    """The figure that `draw` gives, with the content of its files; None where there is none."""
    figure = draw()
    return None if figure is None else figure.saved()
