"""All fakes of the audit, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet.core.dataset import TaskData
from recgauntlet.core.errors import PluginError
from recgauntlet.testing.audit.gradients import BrokenGradients, DetachedGradients, FlippedGradients, ShuffledGradients
from recgauntlet.testing.audit.inputs import (
    DeafEmbeddings,
    InferenceOptimization,
    InflatedRow,
    KnownWordsOnly,
    NoisyEmbeddings,
    QuantizedEmbeddings,
    ScaledEmbeddings,
    SilentTokens,
)
from recgauntlet.testing.audit.logits import (
    BatchNormalizedLogits,
    Biased,
    ClippedLogits,
    Constant,
    NoisyLogits,
    SaturatedLogits,
    ScaledLogits,
    TinyLogits,
    TinyNoisyLogits,
)
from recgauntlet.testing.audit.memory import (
    FirstAnswers,
    MemorizedInputs,
    MemorizedPairs,
    OriginalHistories,
    OriginalTexts,
    RestoredTexts,
)
from recgauntlet.testing.audit.serving import Fake

KINDS: tuple[type[Fake], ...] = (
    ScaledLogits,
    TinyLogits,
    SaturatedLogits,
    ClippedLogits,
    DetachedGradients,
    FlippedGradients,
    ShuffledGradients,
    BrokenGradients,
    QuantizedEmbeddings,
    NoisyEmbeddings,
    NoisyLogits,
    TinyNoisyLogits,
    InferenceOptimization,
    BatchNormalizedLogits,
    Constant,
    Biased,
    ScaledEmbeddings,
    InflatedRow,
    SilentTokens,
    DeafEmbeddings,
    KnownWordsOnly,
    OriginalTexts,
    RestoredTexts,
    OriginalHistories,
    MemorizedInputs,
    MemorizedPairs,
    FirstAnswers,
)


def fake_names() -> tuple[str, ...]:
    """Every fake's name."""
    return tuple(kind.name for kind in KINDS)


def check_names(names: Sequence[str]) -> None:
    """PluginError where one of `names` is no fake's."""
    for name in names:
        if name not in fake_names():
            raise PluginError(
                f"there is no fake named {name!r}", field="--fake", remedy=f"choose among: {', '.join(fake_names())}"
            )


def zoo(data: TaskData, names: Sequence[str] = ()) -> tuple[Fake, ...]:
    """The fakes `names` in the order of the table, or all of them: each a defense whose `wrap` is the mask.

    Raises
    ------
    PluginError
        Where there is no fake of a name.
    """
    check_names(names)
    return tuple(kind.from_data(data) for kind in KINDS if not names or kind.name in names)
