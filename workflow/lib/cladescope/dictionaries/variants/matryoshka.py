"""Matryoshka sparse autoencoder (Bussmann et al. 2025, arXiv 2503.17547).

The first latents must reconstruct on their own, so that early ones stay general. With z as in
`variants.batchtopk` and x̂'_m = W_dec[:m]ᵀ z[:m] + b_dec,

    L = mean over m in M of ‖x' − x̂'_m‖² / d + α AuxK,    M = {1/16, 1/8, 1/4, 1/2, 1} · width.

The paper sums over M; Adam is blind to the factor. `sparsity` is k; the option `prefixes` gives
other shares in M, besides 1.
"""

from collections.abc import Sequence
from functools import partial
from typing import ClassVar

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

PREFIXES = (1 / 16, 1 / 8, 1 / 4, 1 / 2)


def begin(beginning: Beginning, spec: FitSpec, steps: int, threads: int) -> Learner:
    """Return the autoencoder before the first of so many steps."""
    return begin_on_device(nested(spec.options.get("prefixes", PREFIXES)), beginning, spec, steps)


train = partial(fit_trained, begin)


def prefix_sizes(width: int, shares: Sequence[float] = PREFIXES) -> list[int]:
    """Return the number of latents of each prefix, each at least one; the last is the width."""
    return sorted({*(max(1, round(share * width)) for share in shares), width})


class Matryoshka(BatchTopK):
    """BatchTopK with a loss for every prefix of the dictionary."""

    keeping: ClassVar[Keeping] = Keeping(of_batch=True, ends=prefix_sizes)

    def loss(self, x: Float[Tensor, "batch d"], z: Float[Tensor, "batch width"]) -> Tensor:
        """Return the mean over the prefixes of the normalised squared error."""
        error = x - self.decoder_bias
        errors = []
        used = 0
        for size in self.keeping.ends(z.shape[1]):
            error = error - z[:, used:size] @ self.decoder[used:size]
            errors.append(error.square().mean())
            used = size
        return torch.stack(errors).mean()


def nested(shares: Sequence[float]) -> type[Matryoshka]:
    """Return the autoencoder whose prefixes are these shares of the width, and all of it."""

    class Nested(Matryoshka):
        keeping = Keeping(of_batch=True, ends=partial(prefix_sizes, shares=shares))

    return Nested
