"""The figures of the leaderboard, drawn with matplotlib: a table in, figures out, one module a kind."""

from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.figures.accuracy_cost import accuracy_cost as accuracy_cost
from recgauntlet_site.figures.clean_robust import clean_robust as clean_robust
from recgauntlet_site.figures.describe import Figure as Figure
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
    found = (
        *(clean_robust(table, column, prefix=prefix) for column in table.threats),
        *(security_curves(table, column, prefix=prefix) for column in table.threats),
        accuracy_cost(table, prefix=prefix),
        heat_map(table, prefix=prefix),
        seed_spread(table, prefix=prefix),
    )
    return tuple(figure for figure in found if figure is not None)
