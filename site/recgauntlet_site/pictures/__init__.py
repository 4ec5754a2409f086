"""The figures of the leaderboard: a table in, pictures out, one module a kind.

`pictures_of` gives all that a table has something for; each kind can be asked for by itself.
"""

from recgauntlet.leaderboard.schema import TaskTable
from recgauntlet_site.pictures.accuracy_cost import accuracy_cost as accuracy_cost
from recgauntlet_site.pictures.clean_robust import clean_robust as clean_robust
from recgauntlet_site.pictures.heat_map import heat_map as heat_map
from recgauntlet_site.pictures.palette import style_sheet as style_sheet
from recgauntlet_site.pictures.picture import Picture as Picture
from recgauntlet_site.pictures.security_curves import security_curves as security_curves
from recgauntlet_site.pictures.seed_spread import seed_spread as seed_spread


def pictures_of(table: TaskTable, *, prefix: str = "") -> tuple[Picture, ...]:
    """All pictures of a table that show something: the first two kinds for each threat, then those of all threats.

    `prefix` begins their names; where several tables of one task are on one page, give each its own.
    """
    found = (
        *(clean_robust(table, column, prefix=prefix) for column in table.threats),
        *(security_curves(table, column, prefix=prefix) for column in table.threats),
        accuracy_cost(table, prefix=prefix),
        heat_map(table, prefix=prefix),
        seed_spread(table, prefix=prefix),
    )
    return tuple(picture for picture in found if picture.rows)
