from __future__ import annotations

import numpy as np
import pytest

from recgauntlet.core.card import Split
from recgauntlet.core.errors import CardError
from recgauntlet.data.split import boundaries

TIMES = np.arange(100, dtype=np.int64)[::-1].copy()


def test_a_share_is_a_time_that_at_most_this_share_lies_before() -> None:
    valid, test = boundaries(Split(valid_from="0.8", test_from="0.9"), TIMES, "toys")
    assert ((valid > TIMES).mean(), (test > TIMES).mean()) == (0.8, 0.9)


def test_a_date_is_midnight_utc() -> None:
    split = Split(valid_from="2019-11-13", test_from="2019-11-14T00:00:00+01:00")
    assert boundaries(split, TIMES, "toys") == (1573603200, 1573686000)


@pytest.mark.parametrize(
    ("valid", "test", "field"),
    [("0.9", "0.8", "split.test_from"), ("0.8", "0.8", "split.test_from"), ("soon", "0.8", "split.valid_from"),
     ("0.8", "1.2", "split.test_from"), ("0", "0.5", "split.valid_from")],
)  # fmt: skip
def test_a_contradictory_split_is_refused(valid: str, test: str, field: str) -> None:
    with pytest.raises(CardError) as caught:
        boundaries(Split(valid_from=valid, test_from=test), TIMES, "toys")
    assert caught.value.field == field
