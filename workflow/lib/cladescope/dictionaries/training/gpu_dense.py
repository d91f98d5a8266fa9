"""The dense training step on a GPU, for any `Autoencoder`: torch's gradients, nothing waits.

A ReLU fires half of its latents at first and a JumpReLU thousands, and a step that is to be
recorded has arrays of fixed size: what fires cannot be bounded, so that codes are batch × width
and products float32, as in `training.plain_step`, whose arithmetic this is. What differs is that
nothing is asked of the device within a step. AuxK works on a bounded number of columns that holds
all dead latents, and Adam reads its rates from the device.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.cost import dense_step_memory
from cladescope.dictionaries.training.expressions import take_adams_step
from cladescope.dictionaries.training.gpu_stretch import (
    PENALTY_AT,
    DeviceLearner,
    first_dead,
)
from cladescope.dictionaries.training.plain_step import (
    Autoencoder,
    finished_fields,
    keep_largest,
)
from cladescope.dictionaries.training.schedule import Pace, aux_latents
from cladescope.dictionaries.training.spec import FitSpec


class DenseLearner(DeviceLearner):
    """An autoencoder of any kind, in training on a torch device."""

    layout = "dense"

    def __init__(
        self,
        kind: type[Autoencoder],
        start: Dictionary,
        spec: FitSpec,
        pace: Pace,
        device: torch.device,
        graphs: bool = True,
    ):
        assert spec.sparsity
        memory = dense_step_memory(start.width, len(start.mean), pace.recipe.batch_size)
        super().__init__(kind, start, pace, device, memory, graphs)
        self.sae = kind(start, spec.sparsity).to(device)
        self.trained = {name: p for name, p in self.sae.named_parameters() if p.requires_grad}
        self.means = {name: torch.zeros_like(p) for name, p in self.trained.items()}
        self.squares = {name: torch.zeros_like(p) for name, p in self.trained.items()}

    def _step(self, capacity: int) -> None:
        sae, x = self.sae, self._x
        dead, dead_share = self._dead()
        pre = sae.pre_activations(x)
        z = sae.activate(pre)
        loss = sae.loss(x, z)
        residual = x - sae.decode(z.detach()).detach()
        aux = self._aux(residual, pre, dead, capacity) if capacity else torch.zeros_like(loss)
        penalty = sae.penalty(pre, z)
        total = loss + self.aux_coefficient * aux
        if penalty is not None:
            total = total + penalty * self._rates[PENALTY_AT]
        total.backward()
        sae.project_gradient()
        norm = self._take_adams_steps()
        sae.constrain()
        losses = [one.detach() for one in (loss, aux, penalty) if one is not None]
        firing = (z.detach() > 0).sum(0)
        self._close_step(losses, residual.square().sum(), norm, firing, dead_share)

    @torch.no_grad()
    def _take_adams_steps(self) -> Float[Tensor, ""]:
        """Update every parameter from its gradient; return the norm of all gradients."""
        squares = []
        for name, parameter in self.trained.items():
            assert parameter.grad is not None
            squares.append(parameter.grad.square().sum())
            moments = self.means[name], self.squares[name]
            take_adams_step(parameter, *moments, parameter.grad, self._rates)
            # The next step's lies elsewhere: a recorded one in memory that its graph has.
            parameter.grad = None
        return torch.stack(squares).sum().sqrt()

    def _aux(
        self,
        residual: Float[Tensor, "batch d"],
        pre: Float[Tensor, "batch width"],
        dead: Bool[Tensor, " width"],
        capacity: int,
    ) -> Float[Tensor, ""]:
        """Return AuxK's loss, of `capacity` latents that hold all dead ones; 0 if there is none."""
        chosen = first_dead(dead, capacity)
        is_dead = dead[chosen]
        k = min(aux_latents(residual.shape[1]), capacity)
        z = keep_largest(torch.where(is_dead, pre.index_select(1, chosen), 0), k)
        error = residual - z @ self.sae.decoder_rows().index_select(0, chosen)
        share = error.square().mean() / (residual - residual.mean(0)).square().mean()
        return share * is_dead.any()

    def _lift(self, latents: Bool[Tensor, " width"], by: Float[Tensor, ""]) -> None:
        self.sae.lift(latents, by)

    def _tensors(self) -> dict[str, Tensor]:
        means = {f"mean.{name}": tensor for name, tensor in self.means.items()}
        squares = {f"square.{name}": tensor for name, tensor in self.squares.items()}
        return {**self.trained, **means, **squares}

    def finished(self, sample: Iterable[np.ndarray]) -> dict[str, Any]:
        """Return the trained fields of the `Dictionary`; what recorded steps held is let go."""
        self._forget_recorded()
        return finished_fields(self.sae, sample)
