"""Layer-wise adversarial training: the adversarial loss trains one block of the model at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar

import torch
from torch import Tensor, nn

from recgauntlet.core.batch import Batch
from recgauntlet.core.references import bibtex
from recgauntlet.core.search_space import Between, OneOf, SearchSpace
from recgauntlet.training.defense import Trainer
from recgauntlet_baselines.defenses.gradient_scaling import scaled_sum
from recgauntlet_baselines.defenses.pgd import PGD


@dataclass(kw_only=True, eq=False)
class LayerWise(PGD):
    """`g_k = g_clean,k + lam * g_adv,k` for the parameters k of the block whose turn it is, `g_k = g_clean,k` for all
    others, on the adversarial examples of `pgd`.

    Blocks follow each other from the input side to the output side as training goes on, `sweeps` times over the whole
    of it. The adversarial backward pass ends at the first parameter of its block, so a block near the output costs
    little; a block at the input costs a whole pass beside the clean one, where `pgd` shares the user side of both.

    The idea is that of the article on adversarial training for large-model recommenders, which has no equation. Ours
    are the definition of a block for any model (see `blocks_of`), the order, several sweeps (an early stop would
    otherwise leave the output side without its turn), and that all other parameters keep on learning from the clean
    loss.

    With one block it is `pgd`, but for the rounding of a sum of two gradients.

    Parameters
    ----------
    blocks
        Into how many blocks the model is cut; fewer where it has fewer parts.
    sweeps
        How often the blocks are gone through over the most steps there can be.
    """

    citation = bibtex("madry2018towards")
    search_space: ClassVar[SearchSpace] = {
        "epsilon": Between(0.05, 1.0, log=True),
        "lam": Between(0.1, 4.0, log=True),
        "blocks": OneOf((2, 3, 4)),
    }

    blocks: int = 3
    sweeps: int = 12

    def step(self, trainer: Trainer, batch: Batch) -> Tensor:
        sides = self.sides(trainer.model, batch, trainer.context)
        clean, adversarial = sides.clean_loss, sides.adversarial_loss
        if adversarial is None:
            trainer.minimize(clean)
            return clean.detach()
        blocks = blocks_of(trainer.model, self.blocks)
        active = blocks[self.turn(trainer.context.progress, len(blocks))]
        # autograd goes no deeper than these parameters
        found = torch.autograd.grad(adversarial, active, retain_graph=True, allow_unused=True)
        further = {id(parameter): gradient for parameter, gradient in zip(active, found, strict=True)}
        pairs = zip(trainer.parameters, trainer.gradients(clean), strict=True)
        trainer.apply([scaled_sum(own, further.get(id(parameter)), self.lam) for parameter, own in pairs])
        return (clean + self.lam * adversarial).detach()

    def turn(self, progress: float, blocks: int) -> int:
        """Whose turn it is."""
        return int(progress * self.sweeps * blocks) % blocks


def blocks_of(model: nn.Module, count: int) -> list[list[nn.Parameter]]:
    """The trained parameters of a model in at most `count` groups, from the input side to the output side.

    Parts are the model's children in the order in which they were made, which is that of the computation by custom, and
    what the model holds itself (offsets, positions) as the last part. As long as there are fewer parts than `count`,
    the one with the most parameters that has parts of its own is opened. Then neighbours are put together, as many
    parts a block as even numbers allow.
    """
    parts: list[tuple[nn.Module, list[nn.Parameter]]] = _parts(model)
    while len(parts) < count:
        closed = [(sum(p.numel() for p in own), -i) for i, (part, own) in enumerate(parts) if len(_parts(part)) > 1]
        if not closed:
            break
        place = -max(closed)[1]
        parts[place : place + 1] = _parts(parts[place][0])
    groups = min(count, len(parts))
    bounds = [len(parts) * group // groups for group in range(groups + 1)]
    return [[parameter for _, own in parts[low:high] for parameter in own] for low, high in pairwise(bounds)]


def _parts(module: nn.Module) -> list[tuple[nn.Module, list[nn.Parameter]]]:
    """Each child that trains something with what it trains, then what `module` trains itself."""
    seen: set[int] = set()
    parts = [(child, _new(list(child.parameters()), seen)) for child in module.children()]
    # a module without children stands for what the parent holds itself
    parts.append((nn.Module(), _new(list(module.parameters(recurse=False)), seen)))
    return [(part, own) for part, own in parts if own]


def _new(parameters: Sequence[nn.Parameter], seen: set[int]) -> list[nn.Parameter]:
    """Those that are trained and no part has yet: two parts may share one."""
    own = [p for p in parameters if p.requires_grad and id(p) not in seen]
    seen.update(map(id, own))
    return own
