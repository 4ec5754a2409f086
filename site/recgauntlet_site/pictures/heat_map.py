"""Every row under every threat: a grid of tinted cells, each with its value in it."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

from recgauntlet.core.card import RANKING_TIER, Tier
from recgauntlet.core.escape import visible
from recgauntlet.leaderboard.schema import TaskTable, ThreatColumn
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.format import percent
from recgauntlet_site.pictures.drawing import LINE, SMALL, WIDTH, Drawing, Pen, Point, box
from recgauntlet_site.pictures.legend import Key, draw_keys
from recgauntlet_site.pictures.lettering import fitted, width
from recgauntlet_site.pictures.looks import Look, Looks, looks_of, picture_name
from recgauntlet_site.pictures.palette import MOST_OPAQUE, TINT
from recgauntlet_site.pictures.picture import Picture, nothing
from recgauntlet_site.pictures.telling import HEADER, identity, interval, naming, value_range

KIND = "heat-map"
MOST_ROWS = 60
_CELL = 27.0
"""The narrowest column that holds "61.2"."""
_WIDEST = 52.0
_NAMES = 112.0
"""The least room for ranks and names."""
_BROADEST = 444.0
"""The sheet grows a little where names are long."""
_RANK = 18.0
_HIGH = 17.0
_GAP = 6.0
_SHADES = 10


@dataclass(frozen=True)
class _Column:
    """A column of the grid: clean accuracy (`threat` None), or a threat at a tier."""

    threat: ThreatColumn | None
    tier: Tier = RANKING_TIER

    def of(self, look: Look) -> Estimate | None:
        """The row's value here."""
        if self.threat is None:
            return look.row.clean
        cells = look.row.under(self.threat.id)
        cell = cells.at(self.tier) if cells else None
        return cell.robust if cell else None

    def unread(self, look: Look) -> bool:
        """Whether the row's model does not read what the threat changes."""
        cells = None if self.threat is None else look.row.under(self.threat.id)
        return cells is not None and not cells.applicable

    @property
    def title(self) -> str:
        """Its heading in the data table."""
        return "clean, %" if self.threat is None else f"{visible(self.threat.id)}, {self.tier}, %"


def heat_map(table: TaskTable, *, prefix: str = "") -> Picture:
    """Rows in the table's order, at most MOST_ROWS of them (the others are named below), against all threats, with all
    tiers where there is room for them."""
    looks = looks_of(table)
    shown = looks.all[:MOST_ROWS]
    columns = [_Column(None), *(_Column(threat, tier) for threat in table.threats for tier in _tiers(threat))]
    why = "Nothing to show: no row has finished."
    return Picture(
        name=picture_name(table, prefix, KIND),
        kind=KIND,
        threat="",
        title="Every row under every threat",
        description=_describe(looks.all, table) if looks.all else why,
        header=(*HEADER, *(title for column in columns for title in (column.title, "95 % interval"))),
        rows=tuple((*identity(look), *_told(look, columns)) for look in looks.all),
        drawing=_draw(shown, looks, table) if looks.all else nothing(why),
    )


def _tiers(threat: ThreatColumn) -> list[Tier]:
    """The tiers of a threat, the ranking one alone where no model reads what it changes."""
    return [budget.tier for budget in threat.budgets] or [RANKING_TIER]


def _told(look: Look, columns: Sequence[_Column]) -> list[str]:
    texts: list[str] = []
    for column in columns:
        value = column.of(look)
        if value is None:
            texts += ["not applicable" if column.unread(look) else "no result", ""]
        else:
            texts += [percent(value.value), interval(value)]
    return texts


def _describe(looks: Sequence[Look], table: TaskTable) -> str:
    parts = []
    for threat in table.threats:
        column = _Column(threat)
        found = [(value.value, look.told) for look in looks if (value := column.of(look)) is not None]
        if not found:
            parts.append(f"under {visible(threat.id)} no row has a value")
            continue
        (low, lowest), (high, highest) = min(found), max(found)
        told = f"under {visible(threat.id)} {value_range([low, high])}"
        parts.append(f"{told} (lowest {lowest}, highest {highest})" if low < high else told)
    more = f" The figure shows the first {MOST_ROWS}." if len(looks) > MOST_ROWS else ""
    count = "one row" if len(looks) == 1 else f"{len(looks)} rows"
    clean = value_range([look.row.clean.value for look in looks])
    return f"Robust accuracy of {count} at the {RANKING_TIER} tier: {'; '.join([*parts, f'clean {clean}'])}.{more}"


def _draw(shown: Sequence[Look], looks: Looks, table: TaskTable) -> Drawing:
    groups = _groups(table)
    columns = [column for group in groups for column in group]
    gaps = _GAP * (len(groups) - 1)
    names = max(_NAMES, _RANK + 5 + max(width(look.label, SMALL) for look in shown))
    wide = min(_WIDEST, max(_CELL, (WIDTH - names - gaps) / len(columns)))
    sheet = min(_BROADEST, max(WIDTH, names + wide * len(columns) + gaps))
    left = sheet - wide * len(columns) - gaps
    edges = _edges(groups, left, wide)
    pen = Pen()
    top = _headings(pen, groups, edges, wide)
    _cells(pen, shown, columns, edges, wide, top)
    _names(pen, shown, left, top)
    bottom = top + _HIGH * len(shown)
    y = draw_keys(pen, _keys(shown, columns), bottom + 22)
    for note in _notes(looks, groups, table):
        y = pen.paragraph(y + 2, note)
    left_out = looks.all[MOST_ROWS:]
    y = pen.pieces(y + 2, naming("Rows not drawn:", left_out)) if left_out else y
    return pen.finished(y + 6, sheet)


def _groups(table: TaskTable) -> list[list[_Column]]:
    """The columns, a group a threat: all tiers where they fit, else the ranking tier of as many threats as fit."""
    full = [[_Column(None)], *([_Column(threat, tier) for tier in _tiers(threat)] for threat in table.threats)]
    if _fits(full):
        return full
    short = [[_Column(None)], *([_Column(threat)] for threat in table.threats)]
    while not _fits(short):
        short.pop()
    return short


def _fits(groups: Sequence[Sequence[_Column]]) -> bool:
    return _CELL * sum(map(len, groups)) + _GAP * (len(groups) - 1) <= WIDTH - _NAMES


def _edges(groups: Sequence[Sequence[_Column]], left: float, wide: float) -> list[float]:
    """The left edge of every column."""
    edges = []
    for group in groups:
        for _ in group:
            edges.append(left)
            left += wide
        left += _GAP
    return edges


def _headings(pen: Pen, groups: Sequence[Sequence[_Column]], edges: Sequence[float], wide: float) -> float:
    """Names of threats above the amounts of their tiers; gives the upper edge of the grid."""
    rooms = [wide * len(group) + _GAP - 2 for group in groups]
    names = ["clean" if group[0].threat is None else visible(group[0].threat.id) for group in groups]
    ranked = [group[0].threat is not None and group[0].threat.ranked for group in groups]
    lines = [_broken(name, room, bold) for name, room, bold in zip(names, rooms, ranked, strict=True)]
    tallest = max(map(len, lines))
    below = (LINE - 2) * tallest + 2
    place = 0
    for group, words, bold in zip(groups, lines, ranked, strict=True):
        left, right = edges[place], edges[place + len(group) - 1] + wide
        for number, word in enumerate(words):
            y = below - 2 - (LINE - 2) * (len(words) - 1 - number)
            pen.text((left + right) / 2, y, word, size=SMALL, anchor="middle", bold=bold)
        pen.line([(left + 1, below + 3), (right - 1, below + 3)], "ink" if bold else "faint", 1.2 if bold else 0.7)
        for column in group:
            pen.text(
                edges[place] + wide / 2,
                below + 15,
                _amount(column),
                size=SMALL,
                anchor="middle",
                bold=column.tier == RANKING_TIER and column.threat is not None,
                colour="ink" if column.tier == RANKING_TIER else "faint",
            )
            place += 1
    return below + 20


def _broken(name: str, room: float, bold: bool) -> list[str]:
    """A name in lines, broken behind its hyphens."""
    pieces = [piece + ("-" if n < name.count("-") else "") for n, piece in enumerate(name.split("-"))]
    lines: list[str] = []
    for piece in pieces:
        if lines and width(lines[-1] + piece, SMALL, bold) <= room:
            lines[-1] += piece
        else:
            lines.append(piece)
    lines = [fitted(line, SMALL, room, bold) for line in lines if line]
    if len(lines) > 3:
        lines[2:] = [fitted("".join(lines[2:]), SMALL, room, bold)]
    return lines or [""]


def _amount(column: _Column) -> str:
    if column.threat is None:
        return ""
    budget = next((budget for budget in column.threat.budgets if budget.tier == column.tier), None)
    return "" if budget is None else f"{budget.amount or budget.characters:g}"


def _cells(
    pen: Pen, shown: Sequence[Look], columns: Sequence[_Column], edges: Sequence[float], wide: float, top: float
) -> None:
    tints: dict[int, list[tuple[Point, ...]]] = defaultdict(list)
    hatches: list[tuple[Point, Point]] = []
    texts: list[tuple[float, float, str, float]] = []
    for number, look in enumerate(shown):
        upper = top + _HIGH * number
        for column, left in zip(columns, edges, strict=True):
            cell = (left + 0.6, upper + 0.6, left + wide - 0.6, upper + _HIGH - 0.6)
            value = column.of(look)
            if value is not None:
                tints[round(_SHADES * value.value)].append(box(*cell))
                text = percent(value.value)
                size = min(SMALL, SMALL * (wide - 1) / width(text, SMALL))
                texts.append((left + wide / 2, upper + _HIGH - 4.8, text, size))
            elif column.unread(look):
                hatches += hatched(*cell)
            else:
                texts.append((left + wide / 2, upper + _HIGH - 4.8, "–", SMALL))
    for shade, boxes in sorted(tints.items()):
        pen.areas(boxes, f"s{TINT}", opacity_of(shade / _SHADES))
    pen.lines(hatches, "faint", 0.7)
    for x, y, text, size in texts:
        pen.text(x, y, text, size=size, anchor="middle")


def opacity_of(share: float) -> float:
    """How opaque the tint of an accuracy is."""
    return 0.03 + (MOST_OPAQUE - 0.03) * share


def hatched(left: float, top: float, right: float, bottom: float) -> list[tuple[Point, Point]]:
    """Slanting lines across a rectangle."""
    lines: list[tuple[Point, Point]] = []
    high = bottom - top
    offset = 3.0
    while offset < right - left + high - 1:
        start = (left + min(offset, right - left), top + max(0.0, offset - (right - left)))
        end = (left + max(0.0, offset - high), top + min(offset, high))
        lines.append((start, end))
        offset += 6.0
    return lines


def _names(pen: Pen, shown: Sequence[Look], left: float, top: float) -> None:
    for number, look in enumerate(shown):
        y = top + _HIGH * number + _HIGH - 4.8
        rank, colour = "–" if look.row.rank is None else str(look.row.rank), "faint" if look.hollow else "ink"
        pen.text(_RANK - 5, y, rank, size=SMALL, anchor="end", colour="faint")
        pen.text(_RANK, y, fitted(look.label, SMALL, left - _RANK - 4), size=SMALL, colour=colour)


def _keys(shown: Sequence[Look], columns: Sequence[_Column]) -> list[Key]:
    def ramp(pen: Pen, x: float, y: float) -> None:
        for shade in range(_SHADES + 1):
            pen.areas([box(x + 6 * shade, y - 5, x + 6 * shade + 6, y + 5)], f"s{TINT}", opacity_of(shade / _SHADES))

    keys = [Key(ramp, 66, "0 to 100 % right")]
    cells = [(column.of(look), column.unread(look)) for look in shown for column in columns]
    if any(value is None and unread for value, unread in cells):
        keys.append(
            Key(
                lambda pen, x, y: pen.lines(hatched(x, y - 6, x + 24, y + 6), "faint", 0.7), 24, "not read by the model"
            )
        )
    if any(value is None and not unread for value, unread in cells):
        keys.append(Key(lambda pen, x, y: pen.text(x, y + 3.6, "–", size=SMALL), 6, "no result"))
    return keys


def _notes(looks: Looks, groups: Sequence[Sequence[_Column]], table: TaskTable) -> list[str]:
    drawn = {column.threat.id for group in groups for column in group if column.threat is not None}
    tiers = any(len(group) > 1 for group in groups)
    missing = [visible(threat.id) for threat in table.threats if threat.id not in drawn]
    told = [
        "Under each threat its low, standard (bold) and high budget."
        if tiers
        else "Each threat at its standard budget.",
        looks.note,
        f"Threats not drawn: {', '.join(missing)}." if missing else "",
    ]
    return [note for note in told if note]
