"""Splitting by time: what trains lies before what validates, and that before what tests."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from recgauntlet.core.card import Split
from recgauntlet.core.errors import CardError
from recgauntlet.core.types import IntArray


def boundaries(split: Split, times: IntArray, where: str) -> tuple[int, int]:
    """The first second of the validation period and of the test period.

    Dates are midnight UTC. A share s is the time of the interaction at place floor(s * n) in order of time, so that
    at most that share lies before it.

    Raises
    ------
    CardError
        Where a boundary is neither, or the test period does not begin after the validation period.
    """
    valid, test = (
        _boundary(getattr(split, name), times, where, f"split.{name}") for name in ("valid_from", "test_from")
    )
    if valid >= test:
        raise CardError(
            f"the test period ({split.test_from}) must begin after the validation period ({split.valid_from})",
            where=where,
            field="split.test_from",
            remedy="let test_from be later than valid_from",
        )
    return valid, test


def _boundary(text: str, times: IntArray, where: str, field: str) -> int:
    try:
        share = float(text)
    except ValueError:
        try:
            moment = datetime.fromisoformat(text)
        except ValueError as error:
            raise CardError(
                f"{text!r} is neither an ISO date nor a share",
                where=where,
                field=field,
                remedy='write a date ("2019-11-14") or a share of the interactions ("0.8")',
            ) from error
        return int((moment if moment.tzinfo else moment.replace(tzinfo=UTC)).timestamp())
    if not 0 < share < 1:
        raise CardError(
            f"the share {text} does not lie between 0 and 1", where=where, field=field, remedy='write "0.8"'
        )
    return int(np.sort(times)[int(share * len(times))])
