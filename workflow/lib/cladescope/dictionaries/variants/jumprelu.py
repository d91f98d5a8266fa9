"""JumpReLU sparse autoencoder (Rajamanoharan et al. 2024, arXiv 2407.14435).

Each latent has a threshold of its own. With pre = W_enc (x' − b_dec) + b_enc, H the step function
and L0 = E Σ_j H(pre_j − θ_j),

    z_j = pre_j H(pre_j − θ_j),    L = ‖x' − x̂'‖² / d + (L0 / target − 1)² + α AuxK,

AuxK as in `variants.topk`: it brings dead latents from more than half to a tenth.

The step's gradient by θ_j is that of a ramp of width ε (their section 4): where
|pre_j − θ_j| < ε/2, ∂H/∂θ_j = −1/ε and ∂z_j/∂θ_j = −pre_j/ε. θ is a plain float32 parameter: its
logarithm hardly moves under Adam. The penalty rises during warm-up. `sparsity` is the target.
"""

from collections.abc import Iterable
from functools import partial
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import Autoencoder

THRESHOLD = 0.03
"""First θ, as a share of a normalised activation's norm √d.

The paper's 0.001 is for runs a hundred times as long: in a thousand steps of Adam θ does not rise
from there to where L0 meets its target.
"""
BANDWIDTH = 0.5
"""ε, in the units of x' (variance 1 per dimension). From 0.1 to 1 FVE differs by .002."""


class JumpRelu(Autoencoder):
    """Latents fire above thresholds that are learnt."""

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        width, d = start.decoder.shape
        self.threshold = torch.nn.Parameter(torch.full((width,), THRESHOLD * d**0.5))

    def activate(self, pre: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Return pre where it exceeds its threshold, else 0."""
        return pre * (pre > 0) * Step.apply(pre, self.threshold)

    def penalty(self, pre: Float[Tensor, "batch width"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return (L0 / target − 1)²."""
        l0 = Step.apply(pre, self.threshold).sum(1).mean()
        return (l0 / self.sparsity - 1).square()

    def inference(self, sample: Iterable[Float[Tensor, "batch d"]]) -> dict[str, Any]:
        """Return the thresholds θ."""
        return {"threshold": self.threshold.detach().clamp(min=0).cpu().numpy()}


begin = partial(begin_on_device, JumpRelu)
train = partial(fit_trained, begin)


class Step(torch.autograd.Function):
    """H(pre − θ) with a rectangle for its derivative."""

    @staticmethod
    def forward(ctx: Any, pre: Tensor, threshold: Tensor) -> Tensor:
        """Return 1 where pre exceeds its threshold, else 0."""
        ctx.save_for_backward(pre, threshold)
        return (pre > threshold).to(pre.dtype)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[None, Tensor]:
        """Return the gradient by the thresholds."""
        pre, threshold = ctx.saved_tensors
        near = (pre - threshold).abs() < BANDWIDTH / 2
        return None, -(gradient * near).sum(0) / BANDWIDTH
