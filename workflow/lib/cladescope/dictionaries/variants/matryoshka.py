"""Matryoshka sparse autoencoder (Bussmann et al. 2025, arXiv 2503.17547).

The first latents must reconstruct on their own, so that early ones stay general. With z as in
`variants.batchtopk` and x̂'_m = W_dec[:m]ᵀ z[:m] + b_dec,

    L = mean over m in M of ‖x' − x̂'_m‖² / d + α AuxK,    M = {1/16, 1/8, 1/4, 1/2, 1} · width.

The paper sums over M; Adam is blind to the factor. `sparsity` is k.
"""

from functools import partial

import torch
from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.initial import Beginning
from cladescope.dictionaries.training.loop import Learner
from cladescope.dictionaries.training.plain_step import Keeping
from cladescope.dictionaries.training.spec import FitSpec
from cladescope.dictionaries.variants.batchtopk import BatchTopK

PREFIXES = (1 / 16, 1 / 8, 1 / 4, 1 / 2, 1)


def begin(beginning: Beginning, spec: FitSpec, steps: int, threads: int) -> Learner:
    """Return the autoencoder before the first of so many steps."""
    return begin_on_device(Matryoshka, beginning, spec, steps)


train = partial(fit_trained, begin)


def prefix_sizes(width: int) -> list[int]:
    """Return the number of latents of each prefix, each at least one."""
    return sorted({max(1, round(share * width)) for share in PREFIXES})


class Matryoshka(BatchTopK):
    """BatchTopK with a loss for every prefix of the dictionary."""

    keeping = Keeping(of_batch=True, ends=prefix_sizes)

    def loss(self, x: Float[Tensor, "batch d"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return the mean over the prefixes of the normalised squared error."""
        error = x - self.decoder_bias
        errors = []
        used = 0
        for size in prefix_sizes(z.shape[1]):
            error = error - z[:, used:size] @ self.decoder[used:size]
            errors.append(error.square().mean())
            used = size
        return torch.stack(errors).mean()
