"""Cells of numbers, of which a page has tens of thousands: a template's macro takes ten times as long for one.

They hold formatted numbers alone, so nothing in them needs escaping.
"""

from __future__ import annotations

from markupsafe import Markup

from recgauntlet.leaderboard.schema import AttackTally
from recgauntlet.metrics.bootstrap import Estimate
from recgauntlet_site.words import counted, percent, seconds

_AFTER = '<span class="hidden">95 % interval after the attack </span>'


def share(value: Estimate) -> Markup:
    """A share in per cent with its interval."""
    return _cell(percent(value.value), f"{percent(value.low)}–{percent(value.high)}")


def within(value: Estimate) -> Markup:
    """A share in per cent with its interval, in a line of text."""
    return Markup(f"{percent(value.value)} <i>{percent(value.low)}–{percent(value.high)}</i>")


def tally(attack: AttackTally) -> Markup:
    """What an attack did: examples attacked, broken and refused, passes, and time."""
    passes = attack.forwards + attack.backwards
    numbers = [counted(number) for number in (attack.attacked, attack.broken, attack.violations, passes)]
    return Markup("".join(f'<td class="number">{text}</td>' for text in (*numbers, seconds(attack.seconds))))


def one(value: Estimate, form: str) -> Markup:
    """A number in the format `form` (`"%.3f"`) with its interval."""
    return _cell(form % value.value, f"{form % value.low}–{form % value.high}")


def share_change(before: Estimate, after: Estimate) -> Markup:
    """A share in per cent before and after an attack, with the interval of the latter."""
    changed = f"{percent(before.value)} → {percent(after.value)}"
    return _cell(changed, f"{_AFTER}{percent(after.low)}–{percent(after.high)}")


def change(before: Estimate, after: Estimate, form: str) -> Markup:
    """A number before and after an attack, with the interval of the latter."""
    return _cell(f"{form % before.value} → {form % after.value}", f"{_AFTER}{form % after.low}–{form % after.high}")


def _cell(value: str, interval: str) -> Markup:
    return Markup(
        f'<td class="number"><span class="value">{value}</span> <span class="interval">{interval}</span></td>\n'
    )
