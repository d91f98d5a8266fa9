"""Tied TopK autoencoder: the encoder is the decoder (Cunningham et al. 2023, arXiv 2309.08600).

As `variants.topk`, but

    z = TopK_k(ReLU(D (x' − b_dec) + b_enc)),

so that a latent fires for likeness to its decoder row: it cannot learn to leave out what others
explain, but for its bias. `sparsity` is k.
"""

from functools import partial

from jaxtyping import Float
from torch import Tensor

from cladescope.dictionaries.dictionary import Dictionary
from cladescope.dictionaries.training.fit import fit_trained
from cladescope.dictionaries.training.gpu_step import begin_on_device
from cladescope.dictionaries.training.plain_step import TopK


class Tied(TopK):
    """TopK that reads by its decoder rows."""

    keeping = None

    def __init__(self, start: Dictionary, sparsity: float):
        super().__init__(start, sparsity)
        del self.encoder

    def encoder_rows(self) -> Float[Tensor, "width d"]:
        """Return the decoder."""
        return self.decoder


begin = partial(begin_on_device, Tied)
train = partial(fit_trained, begin)
