"""Records with candidates drawn by popularity, whose ranking metrics are known in closed form."""

from __future__ import annotations

import numpy as np

from recgauntlet.records.columns import BitColumn, FloatColumn
from recgauntlet.records.schema import PopularImpressions, RunRecord

SIZE = 4


def with_popular(record: RunRecord, *, above: int = 2, **changes: object) -> RunRecord:
    """The record with lists of four, in which the click scores below `above` of the three others."""
    assert record.clean is not None
    count = len(record.clean.impression_sizes)
    popular = PopularImpressions(
        sizes=(SIZE,) * count,
        labels=BitColumn.of(np.tile([True, False, False, False], count)),
        scores=FloatColumn.of(np.tile([0.0, *np.where(np.arange(3) < above, 1.0, -1.0)], count)),
    ).model_copy(update=changes)
    return record.model_copy(update={"clean": record.clean.model_copy(update={"popular": popular}), "digest": ""})
