"""Checks of a defense's contract: arguments, return values and training."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from recgauntlet.core.dataset import Pairs
from recgauntlet.core.recommender import Recommender, constructor_defaults
from recgauntlet.core.rng import Randomness
from recgauntlet.testing.check import require, rule
from recgauntlet.testing.constructor import require_constructor, require_hyperparameters, require_search_space
from recgauntlet.testing.subjects import DefenseSubject, require_single_precision, scores
from recgauntlet.testing.tiny_models import TinyItems, trainer_at
from recgauntlet.training.defense import Defense, TrainingContext


@rule("see docs/extend/defense.md: one class, keyword-only arguments with plain defaults", needs_run=False)
def constructor(subject: DefenseSubject) -> None:
    """A subclass of Defense; keyword-only arguments with plain defaults, no **kwargs."""
    require(
        isinstance(subject.plugin, type) and issubclass(subject.plugin, Defense),
        f"{subject.plugin!r} is no subclass of Defense",
        "let the class inherit from recgauntlet.Defense, and the entry point name the class",
    )
    require_constructor(subject.plugin)
    subject.make()


@rule("mend the error: the last place that is named is where it was raised", needs_run=False)
def runs(subject: DefenseSubject) -> None:
    """A tiny model is trained from the first step to the last and served, without an error."""
    if subject.failure is not None:
        raise subject.failure


@rule("write self.NAME = NAME for every argument")
def hyper_parameters(subject: DefenseSubject) -> None:
    """Every constructor argument is an attribute of the same name with the given value; the record reads it."""
    require_hyperparameters(subject.make, constructor_defaults(subject.plugin) | dict(subject.options))


@rule("compute a value that changes from context.progress and keep it in a local variable")
def constant_hyper_parameters(subject: DefenseSubject) -> None:
    """Training does not change the hyper-parameters: the record is written after it."""
    defense = subject.make()
    before = defense.hyperparameters()
    subject.take_steps(defense, subject.model())
    after = defense.hyperparameters()
    changed = [name for name in before if before[name] != after[name]]
    require(not changed, f"training changed {', '.join(changed)}: the record would hold values that were not chosen")


@rule("see docs/extend/defense.md for search_space", needs_run=False)
def search_space(subject: DefenseSubject) -> str:
    """`search_space` names constructor arguments, with ranges or lists of their type."""
    return require_search_space(subject.plugin, constructor_defaults(subject.plugin))


@rule("see docs/extend/defense.md for what each method gives")
def returns(subject: DefenseSubject) -> None:
    """The loss is a finite scalar at any progress, `step` returns a loss, `ready` a bool that ends True."""
    for progress in (0.0, 0.5, 1.0):
        model, defense = subject.model(), subject.make()
        context = TrainingContext(round(20 * progress), progress, Randomness(0, "conformance"))
        loss: Any = defense.training_loss(model, subject.train_batch, context)
        require(
            isinstance(loss, Tensor) and loss.ndim == 0 and bool(torch.isfinite(loss.detach())),
            f"training_loss gives {_shown(loss)} at progress {progress}",
            "return one finite number: the mean over the batch",
        )
        ready: Any = defense.ready(context)
        require(isinstance(ready, bool), f"ready gives {_shown(ready)}", "return True or False")
        require(
            ready or progress < 1.0,
            "ready is false at the end of training: no weights would ever be kept as the best",
            "end the warm-up before progress 1",
        )
    stepped: Any = subject.make().step(trainer_at(subject.model()), subject.train_batch)
    require(
        isinstance(stepped, float) or (isinstance(stepped, Tensor) and stepped.numel() == 1),
        f"step gives {_shown(stepped)}",
        "return the loss of the step, detached",
    )


@rule("return whole pairs of those that were given")
def filter_(subject: DefenseSubject) -> None:
    """`filter` returns at least one pair, all of the catalog, histories of unchanged width."""
    data = subject.data
    defense = subject.make()
    found: Any = defense.filter(data.train)
    require(isinstance(found, Pairs), f"filter gives {_shown(found)}", "return a recgauntlet.Pairs")
    arrays = {name: np.asarray(getattr(found, name)) for name in ("users", "histories", "clicked", "unclicked")}
    count = len(arrays["users"])
    require(count > 0, "filter left nothing to learn from", "keep at least one pair")
    wrong = [name for name, array in arrays.items() if len(array) != count or array.dtype.kind != "i"]
    require(not wrong, f"filter gives {', '.join(wrong)} of another length or type", "select whole pairs by their rows")
    require(
        arrays["histories"].shape == (count, data.train.histories.shape[1]),
        f"filter gives histories of shape {arrays['histories'].shape}",
        "keep the width of the histories; -1 stands in empty places, in front",
    )
    again: Any = defense.filter(data.train)
    require(
        all(np.array_equal(array, np.asarray(getattr(again, name))) for name, array in arrays.items()),
        "filter gives other pairs the second time",
        "let it depend on the pairs alone: it is called again where weights are loaded",
    )
    for name, least in (("clicked", 0), ("unclicked", 0), ("histories", -1)):
        require(
            bool((arrays[name] >= least).all() and (arrays[name] < len(data.catalog)).all()),
            f"filter gives {name} that are not in the catalog",
            "keep to the items that there are",
        )


@rule("return a recgauntlet.Recommender")
def wrap(subject: DefenseSubject) -> None:
    """`wrap` returns a Recommender with known surfaces and one finite logit per candidate."""
    served: Any = subject.make().wrap(subject.model().eval())
    require(isinstance(served, Recommender), f"wrap gives {_shown(served)}", "return a recgauntlet.Recommender")
    require(
        set(served.surfaces) <= {"candidate-text", "history", "embedding"},
        f"the wrapped model reads {sorted(served.surfaces)}",
        "pass on the surfaces of the model inside",
    )
    served.eval().requires_grad_(False)
    found = scores(served, subject.batch)
    require(bool(torch.isfinite(found).all()), "the wrapped model's scores are not finite", "look for a division by 0")


@rule("compute the loss from the model's scores; detach the perturbation alone, not states or embeddings")
def gradient_flow(subject: DefenseSubject) -> None:
    """The weights that plain training changes are changed under the defense too, once its warm-up is over."""
    expected = subject.take_steps(Defense(), subject.model())
    model = subject.model()
    moved = subject.take_steps(subject.make(), model)
    bad = [name for name, value in model.named_parameters() if not torch.isfinite(value).all()]
    require(not bad, f"after two steps {', '.join(bad)} are not finite", "lower the radius or the weight of the loss")
    still = [name for name in expected if name not in moved]
    require(not still, f"plain training moves {', '.join(still)}, the defense does not")


@rule("use recgauntlet.core.recommender.embedding_mask instead of the tokens' mask; shapes are those of embed")
def any_model(subject: DefenseSubject) -> None:
    """A model of item ids is trained too: embeddings [B, 1, D], whatever the number of tokens."""
    moved = subject.take_steps(subject.make(), subject.model(TinyItems))
    require(bool(moved), "nothing of a model of item ids moves")


@rule("compute norms and divisions in .float(), and clamp what you divide by")
def precision(subject: DefenseSubject) -> None:
    """Under bfloat16 autocast (`--precision bf16`) the weights stay finite and in single precision."""
    require_single_precision(subject.train(0, precision="bf16"))


@rule("make tensors with device and dtype of the embeddings (torch.zeros_like, .new_zeros, .to(embedded))")
def devices(subject: DefenseSubject) -> str | None:
    """Tensors are created where the model is: double precision on the CPU, and on a GPU where there is one."""
    model = subject.model().double()
    subject.take_steps(subject.make(), model)
    other = {str(value.dtype) for value in model.parameters()}
    require(other == {"torch.float64"}, f"a step on a model in double precision leaves weights in {', '.join(other)}")
    if not torch.cuda.is_available():
        return "no GPU was found"
    model = subject.model().to("cuda")
    subject.take_steps(subject.make(), model)
    require(all(value.is_cuda for value in model.parameters()), "a step moves weights from the GPU")
    require(all(bool(torch.isfinite(value).all()) for value in model.parameters()), "weights on the GPU are not finite")
    return "on the CPU and on the GPU"


def _shown(value: object) -> str:
    return f"a tensor of shape {tuple(value.shape)}" if isinstance(value, Tensor) else f"{value!r:.80}"
