"""Aligned TopK autoencoder (arXiv 2605.18629, May 2026).

As `variants.topk`, but each encoder row has a product of 1 with its decoder row, of unit norm:

    e_j = w_j + (1 − ⟨w_j, d_j⟩) d_j,    ⟨e_j, d_j⟩ = 1,

with w_j the parameter. What a latent writes it reads back in full; across d_j the encoder is free,
so that it may still leave out what others explain (`variants.tied` may not). `sparsity` is k.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import TopK


class Aligned(TopK):
    """TopK whose encoder rows have a product of 1 with their decoder rows."""

    keeping = None

    def encoder_rows(self) -> Float[Tensor, "width d"]:
        """Return e."""
        product = (self.encoder * self.decoder).sum(1, keepdim=True)
        return self.encoder + (1 - product) * self.decoder


begin = partial(begin_on_device, Aligned)
train = partial(fit_trained, begin)
