"""Input gradients of single passes, padding to one width, and detection of memory errors."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor


def gradient_once(embed: Callable[[], Tensor], score: Callable[[Tensor], Tensor]) -> tuple[Tensor, Tensor, Tensor]:
    """The scores of what `embed` gives, their gradient with respect to it, and that itself."""
    with torch.no_grad():
        embedded = embed()
    with torch.enable_grad():
        handle = embedded.detach().requires_grad_(True)
        out = score(handle)
        gradient = input_gradient(out, handle)
    return out.detach(), gradient, embedded


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
