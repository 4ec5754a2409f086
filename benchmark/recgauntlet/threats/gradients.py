"""Single passes of a model: batches in chunks, input gradients, and detection of memory errors."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor

from recgauntlet.core.batch import Batch, Users, UserState
from recgauntlet.core.recommender import Recommender
from recgauntlet.core.scoring import fit


def mean_gradient(
    samples: int, embed: Callable[[], Tensor], score: Callable[[Tensor], Tensor]
) -> tuple[Tensor, Tensor, Tensor]:
    """The scores of what `embed` gives, their gradient with respect to it, both the means of `samples` passes, and that
    itself (of the last pass)."""
    logits, gradients, embedded = [], [], torch.empty(0)
    for _ in range(samples):
        with torch.no_grad():
            embedded = embed()
        with torch.enable_grad():
            handle = embedded.detach().requires_grad_(True)
            out = score(handle)
            gradients.append(input_gradient(out, handle))
        logits.append(out.detach())
    if samples == 1:
        return logits[0], gradients[0], embedded
    return torch.stack(logits).mean(dim=0), torch.stack(gradients).mean(dim=0), embedded


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that the memory does not suffice, on a device or on the CPU."""
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def input_gradient(score: Tensor, handle: Tensor) -> Tensor:
    """The gradient of `score.sum()` with respect to `handle`, zero where the graph does not reach it."""
    if not score.requires_grad:
        return torch.zeros_like(handle)
    (gradient,) = torch.autograd.grad(score.sum(), handle, allow_unused=True)
    return torch.zeros_like(handle) if gradient is None else gradient


def in_chunks(batch: Batch, size: int, shared: Users) -> list[Batch]:
    """`batch` in chunks of `size` inputs. Each chunk carries its own users only, unless they are `shared`, whose states
    are encoded already."""
    parts = []
    for start in range(0, len(batch), size):
        whole = start == 0 and len(batch) <= size
        index = torch.arange(start, min(start + size, len(batch)), device=batch.items.device)
        part = batch if whole else batch.select(index)
        if part.users is not shared:
            kept, rows = torch.unique(part.rows, return_inverse=True)
            if len(kept) < len(part.users):
                part = replace(part, users=part.users.select(kept), rows=rows)
        parts.append(part)
    return parts


@torch.no_grad()
def encode_in_chunks(model: Recommender, users: Users, size: int) -> UserState:
    """The states of all `users`, encoded `size` at a time."""
    parts = []
    for start in range(0, len(users), size):
        rows = torch.arange(start, min(start + size, len(users)), device=users.ids.device)
        parts.append(model.encode_user(users.select(rows)))
    return parts[0].joined(*parts[1:]) if parts else UserState(())


def by_length(batch: Batch) -> Tensor:
    """An order in which texts of like length stand together, so that chunks hold little padding."""
    if batch.texts is None:
        return torch.arange(len(batch), device=batch.items.device)
    lengths = torch.tensor([len(text) for text in batch.texts], device=batch.items.device)
    return torch.argsort(lengths, stable=True)


def joined(parts: Sequence[Tensor]) -> Tensor:
    """Chunks `[b, L, ...]` one after the other, as wide as the widest."""
    width = max(part.shape[1] for part in parts)
    return torch.cat([fit(part, width) for part in parts])


def by_word(words: Tensor, gradient: Tensor, embedded: Tensor) -> tuple[Tensor, Tensor]:
    """On the CPU: the sum `[B, W, D]` of the tokens' gradients `[B, L, D]` over each word of a text, and its product
    `[B, W]` with the word as it stands, of tokens that are of the words `words [B, L]`, in all texts at most `W`."""
    gradient = torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)
    count = max(1, int(words.max()) + 1) if words.numel() else 1
    place = torch.where(words < 0, count, words)  # special tokens and padding are gathered past the end
    slope = gradient.new_zeros((len(gradient), count + 1, gradient.shape[2]))
    slope.scatter_add_(1, place.unsqueeze(-1).expand_as(gradient), gradient)
    product = gradient.new_zeros((len(gradient), count + 1))
    product.scatter_add_(1, place, (gradient * embedded).sum(dim=2))
    return slope[:, :count].float().cpu(), product[:, :count].float().cpu()
