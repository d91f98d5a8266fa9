"""Control: a TopK autoencoder that stays near its start (Korznikov et al. 2026, arXiv 2602.14111).

As `variants.topk`, but the decoder rows start as random directions u_j, those of
`variants.random`, and after every step a row d_j that has left the cone ⟨d_j, u_j⟩ ≥ c is moved to
the nearest direction within,

    d_j ← c u_j + √(1 − c²) v_j,    v_j the unit vector along d_j − ⟨d_j, u_j⟩ u_j,    c = 0.8.

`sparsity` is k.
"""

from functools import partial

import torch
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import TopK

LEAST_COSINE = 0.8
"""c, the paper's."""


class SoftFrozen(TopK):
    """TopK whose decoder rows stay within a cone around their start."""

    keeping = None
    data_share = 0
    first: Tensor
    """u, (width, d). A buffer: no part of a checkpoint, since it follows from the seed."""

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        self.register_buffer("first", self.decoder.detach().clone())

    @torch.no_grad()
    def constrain(self) -> None:
        """Give the rows unit norm, and move those outside their cone to its edge."""
        super().constrain()
        cosine = (self.decoder * self.first).sum(1, keepdim=True)
        across = self.decoder - cosine * self.first
        across /= across.norm(dim=1, keepdim=True).clamp(min=1e-12)
        edge = LEAST_COSINE * self.first + (1 - LEAST_COSINE**2) ** 0.5 * across
        self.decoder.copy_(torch.where(cosine < LEAST_COSINE, edge, self.decoder))


begin = partial(begin_on_device, SoftFrozen)
train = partial(fit_trained, begin)
