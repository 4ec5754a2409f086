"""Layers of sets of examples have the shares and intervals of the outcomes that they stand for."""

from __future__ import annotations

import numpy as np
import pytest

from recgauntlet.core.errors import RecordError
from recgauntlet.metrics.bootstrap import Resampled, resampled
from recgauntlet.metrics.example_sets import to_set
from recgauntlet.metrics.layers import Layers
from recgauntlet.records.columns import BitColumn, Columns, FloatColumn

COUNT = 60


def drawn(seeds: int) -> np.ndarray:
    """`[S, N, 3]`: three layers, each within the one before."""
    rng = np.random.default_rng(seeds)
    first = rng.random((seeds, COUNT)) < 0.8
    second = first & (rng.random((seeds, COUNT)) < 0.7)
    return np.stack([first, second, second & (rng.random((seeds, COUNT)) < 0.5)], axis=2)


@pytest.mark.parametrize("paired", [False, True])
@pytest.mark.parametrize("seeds", [1, 3])
def test_a_layer_has_the_interval_of_its_outcomes(paired: bool, seeds: int) -> None:
    bits = drawn(seeds)
    sets = [tuple(to_set(row) for row in bits[:, :, n]) for n in range(3)]
    layers = Layers([*sets, sets[0]], COUNT, paired=paired)
    outcomes = bits.astype(float)
    if paired:
        outcomes = outcomes.reshape(seeds, COUNT // 2, 2, 3).mean(axis=2)
    found = resampled(outcomes)
    assert [layers.estimate(layer) for layer in sets] == found.estimates(outcomes.mean(axis=(0, 1)).tolist())
    assert [layers.by_seed(layer) for layer in sets] == [tuple(bits[:, :, n].mean(axis=1)) for n in range(3)]
    means = found.means()
    shares = Resampled(means[:, 1:] / means[:, :1], 1).estimates(
        [bits[..., n].sum() / bits[..., 0].sum() for n in (1, 2)]
    )
    retained = layers.shares_of(sets[0], sets[1:])
    assert [retained[layer].low for layer in sets[1:]] == [one.low for one in shares]
    assert [retained[layer].high for layer in sets[1:]] == [one.high for one in shares]
    assert [retained[layer].value for layer in sets[1:]] == pytest.approx([one.value for one in shares])


def test_a_share_of_nothing_is_0() -> None:
    nothing, some = (0,), (5,)
    found = Layers([nothing, some], COUNT).shares_of(nothing, [some])[some]
    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_a_column_is_decoded_once() -> None:
    columns, bits = Columns(), np.arange(16) % 3 == 0
    column = BitColumn.of(bits)
    alike = BitColumn(kind="bits", n=16, data=column.data)
    assert columns.examples(column) == columns.examples(alike) == to_set(bits)
    with pytest.raises(RecordError):
        columns.examples(BitColumn(kind="bits", n=24, data=column.data))
    halves = FloatColumn.of(np.arange(8.0))
    assert columns.halves(halves).view(np.float16).tolist() == list(range(8))
    with pytest.raises(RecordError):
        columns.halves(FloatColumn(kind="f2", n=9, data=halves.data))
