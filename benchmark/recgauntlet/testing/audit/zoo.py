"""All fakes of the audit, in the order of the table."""

from __future__ import annotations

from collections.abc import Sequence

from recgauntlet.core.errors import PluginError
from recgauntlet.testing.audit import codebooks, gradients, inputs, logits, memory, originals, repeats
from recgauntlet.testing.audit.accounts import ACCOUNT_FAKES, AccountFake
from recgauntlet.testing.audit.fake import Fake

FAKES: tuple[type[Fake], ...] = (
    logits.ScaledLogits,
    logits.TinyLogits,
    logits.SaturatedLogits,
    logits.ClippedLogits,
    gradients.DetachedGradients,
    gradients.FlippedGradients,
    gradients.ShuffledGradients,
    gradients.BrokenGradients,
    inputs.QuantizedEmbeddings,
    inputs.NoisyEmbeddings,
    logits.NoisyLogits,
    logits.TinyNoisyLogits,
    inputs.InferenceOptimization,
    logits.BatchNormalizedLogits,
    logits.Constant,
    logits.Biased,
    inputs.ScaledEmbeddings,
    inputs.InflatedRow,
    inputs.SilentTokens,
    inputs.DeafEmbeddings,
    inputs.KnownWordsOnly,
    memory.OriginalTexts,
    memory.RestoredTexts,
    memory.OriginalHistories,
    memory.MemorizedInputs,
    memory.MemorizedPairs,
    memory.FirstAnswers,
    repeats.RepeatedAnswers,
    repeats.RepeatedToHistories,
    repeats.HardensLater,
    repeats.LargeBatches,
    repeats.SharedMemory,
    repeats.SharedMemoryOfSome,
    repeats.BoundedDrift,
    repeats.RunningMeans,
    repeats.KeptStates,
    originals.OriginalsById,
    originals.NearestTexts,
    originals.RefusedEdits,
    originals.TrustedHistories,
    originals.ShrunkenChanges,
    originals.CallStack,
    codebooks.SoftCodebook,
    codebooks.TrainedCodebook,
)


def fake_names() -> tuple[str, ...]:
    """Every fake's name."""
    return tuple(fake.name for fake in FAKES)


def zoo(names: Sequence[str] = ()) -> tuple[type[Fake], ...]:
    """The fakes `names` in the order of the table, or all of them; those against poisoning left out.

    Raises
    ------
    PluginError
        Where there is no fake of a name.
    """
    _check(names)
    return tuple(fake for fake in FAKES if not names or fake.name in names)


def account_zoo(names: Sequence[str] = ()) -> tuple[type[AccountFake], ...]:
    """The same of the fakes against poisoning."""
    _check(names)
    return tuple(fake for fake in ACCOUNT_FAKES if not names or fake.name in names)


def _check(names: Sequence[str]) -> None:
    known = (*fake_names(), *(fake.name for fake in ACCOUNT_FAKES))
    for name in names:
        if name not in known:
            raise PluginError(
                f"there is no fake named {name!r}", field="--fake", remedy=f"choose among: {', '.join(known)}"
            )
