"""Checks of a model's training, devices, saved weights and side effects."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Tokens
from recgauntlet.core.dataset import TaskData
from recgauntlet.core.recommender import Recommender, constructor_defaults, embedding_mask
from recgauntlet.core.types import IntArray
from recgauntlet.data.batches import pairs_to_batch
from recgauntlet.evaluation.setup import change
from recgauntlet.testing.check import CheckSkipped, require, require_nothing_left, rule
from recgauntlet.testing.constructor import require_search_space
from recgauntlet.testing.model_contract import require_same, single
from recgauntlet.testing.process import Globals, apart, live_tensors, scramble
from recgauntlet.testing.subjects import ModelSubject, require_single_precision, scores
from recgauntlet.testing.tiny import tiny_data, whole
from recgauntlet.testing.tiny_models import differing, reload, weights_of
from recgauntlet.threats.gradients import input_gradient
from recgauntlet.training.defense import model_scores

NEAR = 0.05
"""Largest difference of scores on another device or in another precision, in their own spread."""


@rule("keep every step from embeddings to score differentiable")
def gradient_flow(subject: ModelSubject) -> str:
    """Gradients with respect to both kinds of embeddings are finite and not zero; training changes weights."""
    model, batch = subject.model, subject.batch
    candidates, state = model.candidates(batch.items), model.encode_user(batch.users).select(batch.rows)
    state = state.detach()
    embedded = model.embed(candidates).detach().requires_grad_(True)
    mask = embedding_mask(candidates, embedded)
    if "embedding" in model.surfaces:
        _require_gradient(
            model.score(state, candidates, embedded),
            embedded,
            mask.any(dim=1),
            "the candidate's embeddings",
            "compute the score from `embeddings`, without detach, rounding or torch.no_grad",
        )
    if "history" in model.surfaces:
        past = model.embed_history(batch.users).detach().requires_grad_(True)
        _require_gradient(
            model.score(model.encode_user(batch.users, past).select(batch.rows), candidates),
            past,
            torch.ones(len(past), dtype=torch.bool),
            "the history's embeddings",
            "compute the user's state from `embeddings`, without detach, rounding or torch.no_grad",
        )
    first, trained = weights_of(subject.build(0)), subject.weights
    moved = differing(first, trained)
    require(bool(moved), "training moved no weight", "register layers and parameters as attributes of the module")
    bad = [name for name, value in trained.items() if value.is_floating_point() and not torch.isfinite(value).all()]
    require(not bad, f"after training {', '.join(bad)} are not finite", "lower the learning rate of the recipe")
    return f"training moves {len(moved)} of {len(first)} tensors"


def _require_gradient(score: Tensor, handle: Tensor, rows: Tensor, what: str, remedy: str) -> None:
    gradient = input_gradient(score, handle)
    require(bool(torch.isfinite(gradient).all()), f"the gradient with respect to {what} is not finite", remedy)
    flat = int((gradient.flatten(1).abs().amax(dim=1) == 0)[rows].sum())
    require(2 * flat <= int(rows.sum()), f"the gradient with respect to {what} is zero in {flat} rows", remedy)


@rule("see docs/extend/model.md for click_loss and auxiliary_loss")
def losses(subject: ModelSubject) -> str:
    """`click_loss` is a finite scalar with a gradient for any part of a batch in any order; `auxiliary_loss` is
    None or a finite scalar that draws from its generator only.
    """
    model, batch = subject.twin().train(), subject.batch
    reverse = batch.select(torch.arange(len(batch) - 1, -1, -1))
    for part, words in ((batch, "a batch"), (reverse, "a batch in reverse"), (single(batch, 0), "one example")):
        loss = model.click_loss(model_scores(model, part), part)
        require(_is_scalar(loss), f"click_loss of {words} is no finite scalar", "return the mean over the examples")
        require(
            loss.requires_grad,
            f"click_loss of {words} does not depend on the model",
            "compute it from the scores; an example whose partner is not there needs a loss too",
        )
    model.eval()  # dropout draws from the global generator, as it should
    scramble(1)
    first = model.auxiliary_loss(batch, torch.Generator().manual_seed(7))
    scramble(2)
    second = model.auxiliary_loss(batch, torch.Generator().manual_seed(7))
    if first is None or second is None:
        require(first is second, "auxiliary_loss is sometimes None")
        return "no auxiliary loss"
    require(_is_scalar(first), "auxiliary_loss is no finite scalar", "return the mean over what it counts")
    require(
        bool(torch.isclose(first.detach(), second.detach(), rtol=1e-4)),
        "auxiliary_loss differs although its generator was the same",
        "pass generator=generator to every draw",
    )
    return "with an auxiliary loss"


def _is_scalar(loss: object) -> bool:
    return isinstance(loss, Tensor) and loss.ndim == 0 and bool(torch.isfinite(loss))


@rule("see docs/extend/model.md for search_space", needs_run=False)
def search_space(subject: ModelSubject) -> str:
    """`search_space` names constructor arguments, with ranges or lists of their type."""
    return require_search_space(subject.plugin, constructor_defaults(subject.plugin))


@rule("draw from torch's generator alone, and only in the constructor and in training mode")
def determinism(subject: ModelSubject) -> None:
    """One seed gives the same first and trained weights, bit for bit; in evaluation scores do not vary."""
    scramble(1)
    different = differing(weights_of(subject.build(0)), weights_of(subject.build(0)))
    require(
        not different,
        f"built twice with one seed, {', '.join(different)} differ",
        "draw first weights with torch's own initializers, whose generator is seeded, not with numpy or random",
    )
    different = subject.unlike_again
    require(not different, f"trained twice with one seed, {', '.join(different)} differ")
    first, second = (scores(subject.model, subject.batch) for _ in range(2))
    require(
        torch.equal(first, second),
        f"scored twice, scores differ by {change(first, second):.2g} of their spread",
        "draw nothing in evaluation: use nn.Dropout, or look at self.training",
    )


@rule("register every tensor, and make new ones where the weights are")
def devices(subject: ModelSubject) -> str:
    """`.to` moves the whole model: double precision on the CPU, and to a GPU where there is one."""
    model = subject.twin()
    loose = sorted(_loose_tensors(model))
    require(
        not loose,
        f"{', '.join(loose)} is a tensor that .to does not move and a file does not hold",
        "register it: nn.Parameter, or self.register_buffer(name, tensor)",
    )
    before = scores(model, subject.batch)
    model.double()
    after = scores(model, subject.batch)
    require(
        change(before, after) <= NEAR,
        f"in double precision scores differ by {change(before, after):.2g} of their spread",
        "make tensors with the device and dtype of the weights",
    )
    if not torch.cuda.is_available():
        return "no GPU was found"
    model.float().to("cuda")
    after = scores(model, subject.batch)
    require(
        change(before, after) <= NEAR,
        f"on the GPU scores differ by {change(before, after):.2g} of their spread",
        "make tensors with the device and dtype of the weights",
    )
    return "on the CPU and on the GPU"


def _loose_tensors(model: Recommender) -> list[str]:
    """Attributes that are tensors, or plain containers of them, and registered nowhere."""
    found = []
    for prefix, module in model.named_modules():
        for name, value in vars(module).items():
            if name.startswith("_") and name in vars(nn.Module()):
                continue  # where torch keeps parameters, buffers and modules
            parts = list(value.values()) if isinstance(value, dict) else value
            parts = parts if isinstance(parts, list | tuple) else [parts]
            if any(isinstance(part, Tensor) for part in parts) and not isinstance(value, Tokens):
                found.append(f"{prefix}.{name}" if prefix else name)
    return found


@rule("set trains_in_bf16 to False, or compute norms in .float()")
def precision(subject: ModelSubject) -> None:
    """With `trains_in_bf16`, weights and scores are finite after a few steps under autocast."""
    if not subject.plugin.trains_in_bf16:
        raise CheckSkipped("the model does not say that it trains in bfloat16")
    model = subject.train(0, precision="bf16")
    require_single_precision(model)
    require(bool(torch.isfinite(scores(model, subject.batch)).all()), "trained in bfloat16, scores are not finite")


@rule("let losses be means over the batch's examples, or set trains_in_parallel to False")
def parts(subject: ModelSubject) -> None:
    """With `trains_in_parallel`, the gradient on a batch is the mean of those on its parts, weighed by their sizes."""
    if not subject.plugin.trains_in_parallel:
        raise CheckSkipped("the model does not say that it trains on several devices")
    model, rows = subject.twin().eval(), np.arange(12)
    whole_gradient, first, second = (_gradient(model, subject.data, part) for part in (rows, rows[:8], rows[8:]))
    apart = float((whole_gradient - (2 * first + second) / 3).norm() / whole_gradient.norm())
    require(apart < NEAR, f"the gradient on 12 pairs and the mean of those on 8 and 4 are {apart:.2g} of it apart")


def _gradient(model: Recommender, data: TaskData, rows: IntArray) -> Tensor:
    """That of the click loss on training pairs, for all weights that learn."""
    batch = pairs_to_batch(data.train, rows).to(model.device)
    learning = [weight for weight in model.parameters() if weight.requires_grad]
    loss = model.click_loss(model_scores(model, batch), batch)
    found = torch.autograd.grad(loss, learning, allow_unused=True, materialize_grads=True)
    return torch.cat([gradient.reshape(-1) for gradient in found])


@rule("register what the scores depend on: nn.Parameter, or self.register_buffer(name, tensor)")
def save_and_load(subject: ModelSubject) -> None:
    """Weights from a safetensors file, in a model of another seed, give the same scores, bit for bit."""
    loaded = reload(subject.model, subject.build(1))
    before, after = scores(subject.model, subject.batch), scores(loaded, subject.batch)
    require(torch.equal(before, after), f"scores differ by {change(before, after):.2g} of their spread after loading")


@rule("keep vocabularies on the object; what depends on nothing of a cell may be kept with functools.cache")
def no_leaks(subject: ModelSubject) -> None:
    """A model of another catalog in the same process does not change weights, scores, class attributes or module
    variables.
    """
    alone, repeatable = subject.model, not subject.unlike_again
    before = scores(alone, subject.batch)
    other = tiny_data(seed=1, size=28)
    scores(subject.train(1, other), whole(other.test))
    after = subject.train(0)
    changed = subject.globals_before.changed(Globals.of(subject.plugin))
    require(not changed, f"building and training changed {', '.join(changed)}, which the next cell will find")
    require_same(before, scores(alone, subject.batch), "before and after another model was built")
    # where it is not, the check `determinism` says so
    different = differing(weights_of(alone), weights_of(after)) if repeatable else []
    require(not different, f"after another model {', '.join(different)} differ from those of the model alone")


@rule("close files and pools, and put settings back, before a method returns")
def leaves_nothing(subject: ModelSubject) -> None:
    """Settings, environment, threads, open files and the working directory are unchanged afterwards."""
    require_nothing_left(lambda: scores(subject.train(0), subject.batch))


@rule("keep no tensors of batches that were scored")
def resources(subject: ModelSubject) -> str:
    """The size of the model; memory does not grow with every scored batch."""
    model = subject.model
    with apart():
        scores(model, subject.batch)
        held = live_tensors()
        for _ in range(4):
            scores(model, subject.batch)
        growth = (live_tensors() - held) / 4
    require(growth < 1, f"every batch leaves {growth:.1f} tensors behind")
    return f"{sum(value.numel() for value in model.parameters()):,} weights"
