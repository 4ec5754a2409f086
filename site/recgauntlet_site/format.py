"""Numbers, budgets and names as text on the page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from itertools import count

from recgauntlet.core import escape as escaping
from recgauntlet.core.card import TaskCard, Threat
from recgauntlet.core.names import shown
from recgauntlet.core.types import Scalar
from recgauntlet.leaderboard.paired import Quantity, beside, twin_of
from recgauntlet.leaderboard.schema import Row, TaskTable, ThreatColumn
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet.threats.registry import THREAT_MODELS, threat_model


def percent(share: float) -> str:
    """A share as a percentage with one decimal, without the sign: 0.6123 becomes "61.2"."""
    return f"{100 * share:.1f}"


def absent_mark(why: str) -> str:
    """The class of a cell without a number, by why it has none."""
    return {"not run": "none not-run", "failed": "none lost"}.get(why, "none")


def turned(success: Estimate) -> str:
    """Attack success as a short line: "32.1 % turned"."""
    return f"{percent(success.value)} % turned"


def points(difference: float) -> str:
    """A difference of two shares in points: -0.035 becomes "−3.5", with a true minus."""
    return f"{100 * difference:+.1f}".replace("-", "−")


def times(ratio: float | None) -> str:
    """A cost ratio: "1.37×", and "1×" for the undefended twin itself (None)."""
    return "1×" if ratio is None else f"{ratio:.2f}×"


def counted(number: float) -> str:
    """A whole number with commas: 1234567 becomes "1,234,567"."""
    return f"{number:,.0f}"


def scalar(value: Scalar) -> str:
    """A hyper-parameter's value."""
    return f"{value:g}" if isinstance(value, float) else str(value)


def joined(parts: Sequence[str]) -> str:
    """ "a", "a and b", "a, b and c"."""
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}" if parts else ""


def visible(text: str) -> str:
    """`text` with control and direction characters written as escapes; tabs and line breaks stay."""
    return escaping.visible(text, keep="\n\t")


def row_name(row: Row) -> str:
    """ "nrms + pgd"."""
    return f"{row.model.name} + {shown('defense', row.defense.name)}"


def distinct(names: Sequence[str]) -> list[str]:
    """`names`, each once: the second "a" becomes "a-2"."""
    found: list[str] = []
    for name in names:
        numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
        found.append(next(one for one in numbered if one not in found))
    return found


def budget(column: ThreatColumn, card: TaskCard | None) -> str:
    """The budget of a threat at its three tiers: "1 / 2 / 4 words"."""
    if not column.budgets:
        return "not applicable to any model in this table"
    return THREAT_MODELS[column.surface].budget_text(
        [tier.amount for tier in column.budgets],
        [tier.characters for tier in column.budgets],
        _card_of(column, card),
    )


def queries(column: ThreatColumn) -> str:
    """The limit of queries per example: one number where all tiers have the same."""
    caps = [f"{tier.queries:,}" for tier in column.budgets]
    return caps[0] if len(set(caps)) == 1 else " / ".join(caps)


def limits(column: ThreatColumn, card: TaskCard | None) -> list[str]:
    """The constraints of a threat besides its amount, from the card; empty where no card is installed."""
    threat = _card_of(column, card)
    return threat_model(threat).limits() if threat else []


def _card_of(column: ThreatColumn, card: TaskCard | None) -> Threat | None:
    """The threat as the card has it; None where no card is installed, or it has no such threat."""
    return next((threat for threat in card.threats if threat.id == column.id), None) if card else None


SURFACES = {
    "candidate-text": "the candidate’s text",
    "history": "the user’s history",
    "embedding": "the candidate’s embeddings",
}
GOALS = {
    "flip": "change any correct prediction",
    "promote": "get an unclicked candidate predicted as clicked",
}


def headline(table: TaskTable) -> str:
    """The best row of the table and its cost, in one or two sentences."""
    if not table.rows:
        return "No run of this task has finished yet."
    if not table.ranked:
        data = "simulated data" if table.simulated else "a small sample"
        return f"Demo track on {data}: it shows how the benchmark works. Rows are not ranked."
    best = [row for row in table.rows if row.rank == 1]
    if not best:
        return "No row can be ranked yet; see the flags of the rows."
    first = best[0]
    cell = first.worst_cell
    assert cell is not None  # a ranked row has one
    text, name = "", row_name(first)
    if len(best) > 1:
        rows = Counter(row_name(row) for row in best)
        names = [f"{name} ({copies} rows)" if copies > 1 else name for name, copies in rows.items()]
        text = f"{joined(names)} share rank 1: the paired test does not tell them apart. "
        name = f"The best of them, {name},"
    text += (
        f"{name} has {percent(cell.robust.value)} % robust accuracy under {first.worst} and "
        f"{percent(first.clean.value)} % clean accuracy, at {times(first.cost.seconds_ratio)} the training time of the "
        "undefended twin."
    )
    twin = twin_of(table, first)
    both = None if twin is None or twin.worst is None else beside(first, twin, Quantity(twin.worst))
    if twin is not None and both is not None:
        text += f" The twin has {percent(both[1])} % robust accuracy under {twin.worst}."
    return text


def signed(value: float) -> str:
    """A number with its sign and three decimals: a true minus."""
    return f"{value:+.3f}".replace("-", "−")
