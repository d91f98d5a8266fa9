"""Adam, without what torch.optim brings along.

Constructing any optimiser of torch.optim imports torch's compiler, which costs about five seconds
of processor time: more than training a small autoencoder, in each of hundreds of jobs.
"""

import math
from collections.abc import Sequence

import torch
from torch import Tensor


class Adam:
    """Adam (Kingma & Ba 2015, arXiv 1412.6980, algorithm 1), equal to torch.optim.Adam.

    m ← β₁ m + (1−β₁) g,   v ← β₂ v + (1−β₂) g²,
    θ ← θ − η (m / (1−β₁ᵗ)) / (√(v / (1−β₂ᵗ)) + ε)
    """

    def __init__(
        self, parameters: Sequence[Tensor], betas: tuple[float, float], epsilon: float = 1e-8
    ):
        self.parameters = list(parameters)
        self.betas = betas
        self.epsilon = epsilon
        self.steps = 0
        self.means = [torch.zeros_like(parameter) for parameter in self.parameters]
        self.squares = [torch.zeros_like(parameter) for parameter in self.parameters]

    @torch.no_grad()
    def step(self, rate: float) -> None:
        """Update every parameter from its gradient with learning rate `rate`; clear gradients."""
        self.steps += 1
        first, second = self.betas
        step_size = rate / (1 - first**self.steps)
        correction = math.sqrt(1 - second**self.steps)
        for parameter, mean, square in zip(self.parameters, self.means, self.squares, strict=True):
            assert parameter.grad is not None
            mean.lerp_(parameter.grad, 1 - first)
            square.mul_(second).addcmul_(parameter.grad, parameter.grad, value=1 - second)
            scale = square.sqrt().div_(correction).add_(self.epsilon)
            parameter.addcdiv_(mean, scale, value=-step_size)
            parameter.grad = None
